// A scanner reads one character at a time and decides by its class which branch of the alternation
// applies; none looks further than the end of its piece but for two: a run of white space is read
// at most twice, and a run of capitals whose last small letter lies before its end. Throughout,
// "other" is a character that is neither letter, number nor space: [^\s\p{L}\p{N}].
#include "text/pattern_scanner.h"

namespace octavo::text {
namespace {

constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kO200kRegex =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepseekDigitsRegex = R"(\p{N}{1,3})";
constexpr std::string_view kDeepseekCjkRegex = R"([一-龥぀-ゟ゠-ヿ]+)";
constexpr std::string_view kDeepseekWordsRegex =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr KnownPattern kPatterns[] = {KnownPattern::kGpt2,           KnownPattern::kLlama3,
                                      KnownPattern::kQwen2,          KnownPattern::kO200k,
                                      KnownPattern::kDeepseekDigits, KnownPattern::kDeepseekCjk,
                                      KnownPattern::kDeepseekWords};

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

bool ascii_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// [一-龥぀-ゟ゠-ヿ]
bool is_cjk(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
}

// The classes of [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and of [\p{Ll}\p{Lm}\p{Lo}\p{M}].
bool as_upper(uint8_t classes) {
  return (classes & (kLetter | kCombining)) != 0 && (classes & kLower) == 0;
}
bool as_lower(uint8_t classes) {
  return (classes & (kLetter | kCombining)) != 0 && (classes & kUpper) == 0;
}

}  // namespace

std::optional<KnownPattern> find_known_pattern(std::string_view regex) {
  for (const KnownPattern pattern : kPatterns) {
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
    case KnownPattern::kO200k:
      return kO200kRegex;
    case KnownPattern::kDeepseekDigits:
      return kDeepseekDigitsRegex;
    case KnownPattern::kDeepseekCjk:
      return kDeepseekCjkRegex;
    case KnownPattern::kDeepseekWords:
      return kDeepseekWordsRegex;
  }
  return {};
}

bool covers_text(KnownPattern pattern) {
  return pattern < KnownPattern::kDeepseekDigits;
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

size_t PatternScanner::skip_digits(std::string_view text, size_t pos, int most) const {
  for (; most > 0; --most) {
    const Char c = at(text, pos);
    if (!(c.classes & kNumber)) break;
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
  if (first.classes & kNumber) return skip_digits(text, pos, max_digits);
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

// A word of any capitals and then small letters, as far as the alternation's first branch takes
// one: up to the end of the small letters; or, where none follow the capitals, up to the last
// letter among these that may count as small. `pos` where there is none.
size_t PatternScanner::cased_word(std::string_view text, size_t pos) const {
  size_t small_end = pos;
  for (Char c = at(text, pos); as_upper(c.classes); c = at(text, pos)) {
    pos += c.length;
    if (as_lower(c.classes)) small_end = pos;
  }
  Char c = at(text, pos);
  if (!as_lower(c.classes)) return small_end;
  for (; as_lower(c.classes); c = at(text, pos)) pos += c.length;
  return pos;
}

size_t PatternScanner::next_o200k(std::string_view text, size_t pos) const {
  const Char first = at(text, pos);
  if (first.classes & kNumber) return skip_digits(text, pos, 3);
  const bool leads = (first.classes & kLetter) == 0 && !newline(text[pos]);
  const size_t after = pos + first.length;
  const auto with_contraction = [&](size_t end) {
    return end < text.size() && text[end] == '\'' ? end + contraction(text, end, true) : end;
  };
  if (leads) {
    if (const size_t end = cased_word(text, after); end > after) return with_contraction(end);
  }
  if (const size_t end = cased_word(text, pos); end > pos) return with_contraction(end);
  const size_t capitals = leads ? after : pos;
  if (const size_t end = skip(text, capitals, kUpper); end > capitals) return with_contraction(end);

  const bool space = (first.classes & kSpace) != 0;
  const Char second = at(text, after);
  if (!space || (text[pos] == ' ' && second.length > 0 && !(second.classes & kKnownClasses))) {
    size_t end = skip_other(text, after);
    while (end < text.size() && (newline(text[end]) || text[end] == '/')) ++end;
    return end;
  }
  return end_of_spaces(text, pos, true);
}

size_t PatternScanner::next_digits(std::string_view text, size_t pos) const {
  if (const size_t end = skip_digits(text, pos, 3); end > pos) return end;
  for (Char c = at(text, pos); c.length > 0 && !(c.classes & kNumber); c = at(text, pos))
    pos += c.length;
  return pos;
}

size_t PatternScanner::next_cjk(std::string_view text, size_t pos) const {
  int length = 0;
  const bool inside = is_cjk(decode_valid(text.data() + pos, length));
  do {
    pos += static_cast<size_t>(length);
  } while (pos < text.size() && is_cjk(decode_valid(text.data() + pos, length)) == inside);
  return pos;
}

// End of the match that begins at `pos`, or `pos`.
size_t PatternScanner::deepseek_match(std::string_view text, size_t pos) const {
  const Char first = at(text, pos);
  const size_t after = pos + first.length;
  const Char second = at(text, after);
  constexpr uint8_t kLetterOrMark = kLetter | kCombining;
  if (first.length == 1 && (first.classes & kGraphic) && after < text.size() &&
      ascii_letter(text[after])) {
    size_t end = after;
    while (end < text.size() && ascii_letter(text[end])) ++end;
    return end;
  }
  const bool leads = (first.classes & (kLetter | kGraphic)) == 0 && !newline(text[pos]);
  if (leads && (second.classes & kLetterOrMark)) return skip(text, after, kLetterOrMark);
  if (first.classes & kLetterOrMark) return skip(text, pos, kLetterOrMark);
  if ((first.classes & kGraphic) || (text[pos] == ' ' && (second.classes & kGraphic))) {
    size_t end = skip(text, after, kGraphic);
    while (end < text.size() && newline(text[end])) ++end;
    return end;
  }
  return first.classes & kSpace ? end_of_spaces(text, pos, true) : pos;
}

size_t PatternScanner::next_deepseek(std::string_view text, size_t pos) const {
  if (const size_t end = deepseek_match(text, pos); end > pos) return end;
  do {  // what nothing matches, digits and controls, up to where something does
    pos += at(text, pos).length;
  } while (pos < text.size() && deepseek_match(text, pos) == pos);
  return pos;
}

size_t PatternScanner::next(std::string_view text, size_t pos) const {
  switch (pattern_) {
    case KnownPattern::kGpt2:
      return next_gpt2(text, pos);
    case KnownPattern::kLlama3:
      return next_llama3(text, pos, 3);
    case KnownPattern::kQwen2:
      return next_llama3(text, pos, 1);
    case KnownPattern::kO200k:
      return next_o200k(text, pos);
    case KnownPattern::kDeepseekDigits:
      return next_digits(text, pos);
    case KnownPattern::kDeepseekCjk:
      return next_cjk(text, pos);
    case KnownPattern::kDeepseekWords:
      return next_deepseek(text, pos);
  }
  return text.size();
}

}  // namespace octavo::text
