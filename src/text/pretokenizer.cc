// Each step makes a new list of pieces from the one before.
#include "text/pretokenizer.h"

#include <algorithm>

#include "base/status_macros.h"
#include "base/utf8.h"
#include "text/bert_categories.h"
#include "text/unicode_scripts.h"

namespace octavo::text {

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

// What stands before the first script, which can only be what has none, is lost.
Status run(ScriptsStep, const Piece& piece, Pieces&, std::vector<Piece>& out) {
  size_t begin = 0;
  int previous = kAnyScript;
  for (size_t i = 0; i < piece.text.size();) {
    int length = 0;
    const int script = script_class(decode_valid(piece.text.data() + i, length));
    if (script != kAnyScript && script != previous) {
      if (previous != kAnyScript) add_piece(piece, begin, i, out);
      begin = i;
      previous = script;
    }
    i += length;
  }
  if (previous != kAnyScript) add_piece(piece, begin, piece.text.size(), out);
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
