// The scanners first, then the general steps. A scanner reads one character at a time and decides
// by its class which branch of the alternation applies; none looks further than the end of its
// piece, but for white space, where a run is read at most twice. Throughout, "other" is a character
// that is neither letter, number nor space: the regular expressions' [^\s\p{L}\p{N}].
#include "text/pretokenizer.h"

#include <algorithm>

#include "base/status_macros.h"
#include "base/utf8.h"
#include "text/bert_categories.h"

namespace octavo::text {
namespace {

constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr uint8_t kKnownClasses = kLetter | kNumber | kSpace;

bool newline(char c) {
  return c == '\r' || c == '\n';
}

// Bytes of the contraction ('s, 't, 're, …) that begins with the apostrophe at `pos`, or 0.
size_t contraction(std::string_view text, size_t pos, bool any_case) {
  const auto letter = [&](size_t i) -> char {
    if (i >= text.size()) return 0;
    const char c = text[i];
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  const char a = letter(pos + 1), b = letter(pos + 2);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
  // Without regard to case, the long s (U+017F) is an s.
  if (any_case && text.substr(pos + 1, 2) == "\xC5\xBF") return 3;
  return 0;
}

}  // namespace

std::optional<KnownPattern> find_known_pattern(std::string_view regex) {
  for (const auto pattern : {KnownPattern::kGpt2, KnownPattern::kLlama3, KnownPattern::kQwen2}) {
    if (regex == pattern_regex(pattern)) return pattern;
  }
  return std::nullopt;
}

std::string_view pattern_regex(KnownPattern pattern) {
  switch (pattern) {
    case KnownPattern::kGpt2:
      return kGpt2Regex;
    case KnownPattern::kLlama3:
      return kLlama3Regex;
    case KnownPattern::kQwen2:
      return kQwen2Regex;
  }
  return {};
}

inline PatternScanner::Char PatternScanner::at(std::string_view text, size_t pos) const {
  if (pos >= text.size()) return {0, 0};
  const auto lead = static_cast<unsigned char>(text[pos]);
  if (lead < 0x80) return {table_->ascii_classes(lead), 1};
  int length = 0;
  const char32_t c = decode_valid(text.data() + pos, length);
  return {table_->classes(c), length};
}

// End of the run of characters that have one of the class bits.
inline size_t PatternScanner::skip(std::string_view text, size_t pos, uint8_t mask) const {
  for (Char c = at(text, pos); (c.classes & mask) != 0; c = at(text, pos)) pos += c.length;
  return pos;
}

inline size_t PatternScanner::skip_other(std::string_view text, size_t pos) const {
  for (Char c = at(text, pos); c.length > 0 && (c.classes & kKnownClasses) == 0;
       c = at(text, pos)) {
    pos += c.length;
  }
  return pos;
}

// `\s*[\r\n]+|\s+(?!\S)|\s+` (the first only with cut_after_newline), at a space.
size_t PatternScanner::end_of_spaces(std::string_view text, size_t pos,
                                     bool cut_after_newline) const {
  const size_t end = skip(text, pos, kSpace);
  if (cut_after_newline) {
    for (size_t i = end; i > pos; --i) {
      if (newline(text[i - 1])) return i;
    }
  }
  if (end == text.size()) return end;
  const size_t last = previous_char(text, end);  // the last space goes with the word after it
  return last > pos ? last : end;
}

size_t PatternScanner::next_gpt2(std::string_view text, size_t pos) const {
  if (text[pos] == '\'') {
    if (const size_t n = contraction(text, pos, false)) return pos + n;
  }
  const size_t body = text[pos] == ' ' ? pos + 1 : pos;
  const Char c = at(text, body);
  if (c.classes & kLetter) return skip(text, body + c.length, kLetter);
  if (c.classes & kNumber) return skip(text, body + c.length, kNumber);
  if (c.length > 0 && !(c.classes & kSpace)) return skip_other(text, body + c.length);
  return end_of_spaces(text, pos, false);
}

size_t PatternScanner::next_llama3(std::string_view text, size_t pos, int max_digits) const {
  const Char first = at(text, pos);
  if (first.classes & kLetter) return skip(text, pos + first.length, kLetter);
  if (first.classes & kNumber) {
    size_t end = pos + first.length;
    for (int n = 1; n < max_digits; ++n) {
      const Char c = at(text, end);
      if (!(c.classes & kNumber)) break;
      end += c.length;
    }
    return end;
  }
  if (text[pos] == '\'') {
    if (const size_t n = contraction(text, pos, true)) return pos + n;
  }
  const size_t after = pos + first.length;
  const Char second = at(text, after);
  if ((second.classes & kLetter) && !newline(text[pos])) {
    return skip(text, after + second.length, kLetter);
  }
  const bool space = (first.classes & kSpace) != 0;
  if (!space || (text[pos] == ' ' && second.length > 0 && !(second.classes & kKnownClasses))) {
    size_t end = skip_other(text, after);
    while (end < text.size() && newline(text[end])) ++end;
    return end;
  }
  return end_of_spaces(text, pos, true);
}

size_t PatternScanner::next(std::string_view text, size_t pos) const {
  switch (pattern_) {
    case KnownPattern::kGpt2:
      return next_gpt2(text, pos);
    case KnownPattern::kLlama3:
      return next_llama3(text, pos, 3);
    case KnownPattern::kQwen2:
      return next_llama3(text, pos, 1);
  }
  return text.size();
}

StatusOr<bool> Pattern::find(std::string_view text, size_t from, size_t& begin, size_t& end) const {
  if (regex != nullptr) return regex->find(text, from, begin, end);
  if (literal.empty()) return false;
  const size_t found = text.find(literal, from);
  if (found == std::string_view::npos) return false;
  begin = found;
  end = found + literal.size();
  return true;
}

namespace {

using Piece = Pretokenizer::Piece;
using Pieces = Pretokenizer::Pieces;

struct Range {
  size_t begin, end;
  bool match;
};

// The text as a list of matches and what lies between them.
Status match_ranges(const SplitStep& step, std::string_view text, std::vector<Range>& ranges) {
  ranges.clear();
  size_t done = 0;
  for (size_t from = 0; from <= text.size();) {
    size_t begin = 0, end = 0;
    ASSIGN_OR_RETURN(const bool found, step.pattern.find(text, from, begin, end));
    if (!found) break;
    if (end == begin &&
        begin < text.size()) {  // an empty match cuts, and the search goes on behind it
      int length = 0;
      decode_valid(text.data() + begin, length);
      from = begin + length;
      if (begin == done) continue;
    } else if (end == begin) {
      break;
    } else {
      from = end;
    }
    if (begin > done) ranges.push_back({done, begin, step.invert});
    ranges.push_back({begin, end, !step.invert});
    done = end;
  }
  if (done < text.size()) ranges.push_back({done, text.size(), step.invert});
  return ok_status();
}

// Joins or drops ranges as `behavior` says; what remains are pieces. (tokenizers,
// NormalizedString::split.)
void apply_behavior(SplitBehavior behavior, std::vector<Range>& ranges) {
  std::vector<Range> out;
  bool previous_match = false;
  switch (behavior) {
    case SplitBehavior::kIsolated:
      return;
    case SplitBehavior::kRemoved:
      std::erase_if(ranges, [](const Range& r) { return r.match; });
      return;
    case SplitBehavior::kContiguous:
      for (const Range& r : ranges) {
        if (!out.empty() && out.back().match == r.match) {
          out.back().end = r.end;
        } else {
          out.push_back(r);
        }
      }
      break;
    case SplitBehavior::kMergedWithPrevious:
      for (const Range& r : ranges) {
        if (r.match && !previous_match && !out.empty()) {
          out.back().end = r.end;
        } else {
          out.push_back(r);
        }
        previous_match = r.match;
      }
      break;
    case SplitBehavior::kMergedWithNext:
      for (size_t i = ranges.size(); i-- > 0;) {
        const Range& r = ranges[i];
        if (r.match && !previous_match && !out.empty()) {
          out.back().begin = r.begin;
        } else {
          out.push_back(r);
        }
        previous_match = r.match;
      }
      std::reverse(out.begin(), out.end());
      break;
  }
  ranges = std::move(out);
}

void add_piece(const Piece& from, size_t begin, size_t end, std::vector<Piece>& out) {
  if (end > begin)
    out.push_back({from.text.substr(begin, end - begin), from.at_start && begin == 0});
}

void scan(KnownPattern pattern, const Piece& piece, std::vector<Piece>& out) {
  const PatternScanner scanner(pattern);
  for (size_t pos = 0; pos < piece.text.size();) {
    const size_t end = scanner.next(piece.text, pos);
    add_piece(piece, pos, end, out);
    pos = end;
  }
}

Status run(const SplitStep& step, const Piece& piece, Pieces&, std::vector<Piece>& out) {
  if (step.known) {
    scan(*step.known, piece, out);
    return ok_status();
  }
  std::vector<Range> ranges;
  RETURN_IF_ERROR(match_ranges(step, piece.text, ranges));
  apply_behavior(step.behavior, ranges);
  for (const Range& r : ranges) add_piece(piece, r.begin, r.end, out);
  return ok_status();
}

Status run(const ByteLevelStep& step, const Piece& piece, Pieces& pieces, std::vector<Piece>& out) {
  Piece prefixed = piece;
  if (step.add_prefix_space && piece.text.front() != ' ') {
    prefixed.text = pieces.storage.emplace_back(1, ' ').append(piece.text);
  }
  if (step.use_regex) {
    scan(KnownPattern::kGpt2, prefixed, out);
  } else {
    out.push_back(prefixed);
  }
  return ok_status();
}

Status run(const DigitsStep& step, const Piece& piece, Pieces&, std::vector<Piece>& out) {
  const CharTable& table = CharTable::get();
  size_t begin = 0;
  bool previous = false;
  for (size_t i = 0; i < piece.text.size();) {
    int length = 0;
    const bool digit = table.is(decode_valid(piece.text.data() + i, length), kNumber);
    if (i > 0 && (digit != previous || (digit && step.individual))) {
      add_piece(piece, begin, i, out);
      begin = i;
    }
    previous = digit;
    i += length;
  }
  add_piece(piece, begin, piece.text.size(), out);
  return ok_status();
}

Status run(const MetaspaceStep& step, const Piece& piece, Pieces& pieces, std::vector<Piece>& out) {
  std::string text;
  text.reserve(piece.text.size() * 5 / 4 + step.replacement.size());
  const bool marked = piece.text.starts_with(' ') || piece.text.starts_with(step.replacement);
  const bool wanted = step.prepend == MetaspaceStep::Prepend::kAlways ||
                      (step.prepend == MetaspaceStep::Prepend::kFirst && piece.at_start);
  if (wanted && !marked) text += step.replacement;
  for (const char c : piece.text) {
    if (c == ' ') {
      text += step.replacement;
    } else {
      text.push_back(c);
    }
  }
  const Piece whole{pieces.storage.emplace_back(std::move(text)), piece.at_start};
  if (!step.split) {
    out.push_back(whole);
    return ok_status();
  }
  SplitStep cut;
  cut.pattern.literal = step.replacement;
  cut.behavior = SplitBehavior::kMergedWithNext;
  return run(cut, whole, pieces, out);
}

bool is_cut(const CharSplitStep& step, char32_t c) {
  switch (step.kind) {
    case CharSplitStep::Kind::kSpace:
      return CharTable::get().is(c, kSpace);
    case CharSplitStep::Kind::kPunctuation:
      return is_punctuation(c);
    case CharSplitStep::Kind::kDelimiter:
      return c == step.delimiter;
  }
  return false;
}

Status run(const CharSplitStep& step, const Piece& piece, Pieces&, std::vector<Piece>& out) {
  std::vector<Range> ranges;
  for (size_t i = 0; i < piece.text.size();) {
    int length = 0;
    const bool cut = is_cut(step, decode_valid(piece.text.data() + i, length));
    if (cut || ranges.empty() || ranges.back().match) {
      ranges.push_back({i, i + length, cut});
    } else {
      ranges.back().end = i + length;
    }
    i += length;
  }
  apply_behavior(step.behavior, ranges);
  for (const Range& r : ranges) add_piece(piece, r.begin, r.end, out);
  return ok_status();
}

Status run(WordsStep, const Piece& piece, Pieces&, std::vector<Piece>& out) {
  const CharTable& table = CharTable::get();
  const auto kind = [&](size_t at, int& length) -> uint8_t {
    const uint8_t classes = table.classes(decode_valid(piece.text.data() + at, length));
    return (classes & kWord) != 0 ? kWord : classes & kSpace;  // 0: neither
  };
  for (size_t begin = 0; begin < piece.text.size();) {
    int length = 0;
    const uint8_t first = kind(begin, length);
    size_t end = begin + length;
    while (end < piece.text.size() && kind(end, length) == first) end += length;
    if (first != kSpace) add_piece(piece, begin, end, out);
    begin = end;
  }
  return ok_status();
}

Status run(const FixedLengthStep& step, const Piece& piece, Pieces&, std::vector<Piece>& out) {
  for (size_t begin = 0; begin < piece.text.size();) {
    size_t end = begin;
    for (size_t n = 0; n < step.chars && end < piece.text.size(); ++n) {
      int length = 0;
      decode_valid(piece.text.data() + end, length);
      end += length;
    }
    add_piece(piece, begin, end, out);
    begin = end;
  }
  return ok_status();
}

}  // namespace

Pretokenizer::Pretokenizer(std::vector<PretokenizerStep> steps) : steps_(std::move(steps)) {
  if (steps_.empty()) return;
  const auto* bytes = std::get_if<ByteLevelStep>(&steps_.back());
  byte_level_ = bytes != nullptr;
  if (bytes == nullptr || bytes->add_prefix_space) return;
  if (steps_.size() == 1 && bytes->use_regex) sole_pattern_.emplace(KnownPattern::kGpt2);
  if (steps_.size() == 2 && !bytes->use_regex) {
    const auto* split = std::get_if<SplitStep>(&steps_.front());
    if (split != nullptr && split->known) sole_pattern_.emplace(*split->known);
  }
}

Status Pretokenizer::split(std::string_view text, bool at_start, Pieces& pieces) const {
  pieces.list.clear();
  pieces.storage.clear();
  if (text.empty()) return ok_status();
  pieces.list.push_back({text, at_start});
  std::vector<Piece> next;
  for (const PretokenizerStep& step : steps_) {
    next.clear();
    for (const Piece& piece : pieces.list) {
      RETURN_IF_ERROR(std::visit([&](const auto& s) { return run(s, piece, pieces, next); }, step));
    }
    pieces.list.swap(next);
  }
  return ok_status();
}

}  // namespace octavo::text
