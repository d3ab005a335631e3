// Characters' classes and cases come from utf8proc; Python's own definitions (isspace, titles, the
// upper case that is longer than the letter) are written out here.
#include "text/jinja/code_points.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/utf8.h"

namespace octavo::text::jinja {

namespace {
bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

// Letters whose upper case is longer than one letter; the frequent ones of SpecialCasing.txt.
std::string_view special_upper(char32_t c) {
  switch (c) {
    case 0xDF:
      return "SS";
    case 0x149:
      return "\xCA\xBCN";
    case 0x1F0:
      return "J\xCC\x8C";
    case 0xFB00:
      return "FF";
    case 0xFB01:
      return "FI";
    case 0xFB02:
      return "FL";
    case 0xFB03:
      return "FFI";
    case 0xFB04:
      return "FFL";
    case 0xFB05:
      return "ST";
    case 0xFB06:
      return "ST";
    default:
      return {};
  }
}

void append_upper(std::string& out, char32_t c) {
  if (const std::string_view special = special_upper(c); !special.empty()) {
    out.append(special);
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
  }
}

void append_title(std::string& out, char32_t c) {
  if (c == 0xDF) {
    out.append("Ss");
  } else if (c >= 0xFB00 && c <= 0xFB06) {
    const std::string upper(special_upper(c));
    out.push_back(upper[0]);
    for (size_t i = 1; i < upper.size(); ++i) out.push_back(static_cast<char>(upper[i] | 0x20));
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
  }
}

bool is_cased(char32_t c) {
  const utf8proc_category_t k = category(c);
  return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

// A capital sigma that ends a word becomes ς (Unicode's Final_Sigma, without case-ignorable
// letters).
bool is_final_sigma(std::string_view text, CodePoint sigma, char32_t previous) {
  return is_cased(previous) &&
         (sigma.end == text.size() || !is_cased(decode_utf8(text, sigma.end).code_point));
}

void append_lower(std::string& out, std::string_view text, CodePoint at, char32_t previous) {
  const char32_t c = at.value;
  if (c == 0x130) {
    out.append("i\xCC\x87");
  } else if (c == 0x3A3 && is_final_sigma(text, at, previous)) {
    out.append("\xCF\x82");
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}
}  // namespace

bool is_ascii(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if (word & 0x8080808080808080ull) return false;
  }
  for (; i < text.size(); ++i) {
    if (static_cast<unsigned char>(text[i]) >= 0x80) return false;
  }
  return true;
}

int64_t count_code_points(std::string_view text) {
  int64_t n = 0;
  for (const char c : text) n += !is_continuation(c);
  return n;
}

size_t byte_offset(std::string_view text, int64_t index) {
  size_t i = 0;
  for (; index > 0 && i < text.size(); --index) {
    ++i;
    while (i < text.size() && is_continuation(text[i])) ++i;
  }
  return i;
}

bool is_space(char32_t c) {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_alpha(char32_t c) {
  const utf8proc_category_t k = category(c);
  return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT ||
         k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_LO;
}
bool is_decimal(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_ND;
}
bool is_numeric(char32_t c) {
  const utf8proc_category_t k = category(c);
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}
bool is_upper(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LU;
}
bool is_lower(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL;
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  char32_t previous = 0;
  for (const CodePoint at : CodePoints(text)) {
    append_lower(out, text, at, previous);
    previous = at.value;
  }
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const CodePoint at : CodePoints(text)) append_upper(out, at.value);
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  if (text.empty()) return out;
  const Decoded first = decode_utf8(text, 0);
  append_title(out, first.code_point);
  out.append(to_lower(text.substr(first.length)));
  return out;
}

std::string title(std::string_view text) {
  std::string out;
  char32_t previous = 0;
  for (const CodePoint at : CodePoints(text)) {
    if (is_cased(previous)) {
      append_lower(out, text, at, previous);
    } else {
      append_title(out, at.value);
    }
    previous = at.value;
  }
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  char32_t previous = 0;
  for (const CodePoint at : CodePoints(text)) {
    if (is_upper(at.value)) {
      append_lower(out, text, at, previous);
    } else {
      append_upper(out, at.value);
    }
    previous = at.value;
  }
  return out;
}

std::string_view strip_left(std::string_view text) {
  while (!text.empty()) {
    const Decoded d = decode_utf8(text, 0);
    if (!is_space(d.code_point)) break;
    text.remove_prefix(d.length);
  }
  return text;
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && is_continuation(text[last])) --last;
    if (!is_space(decode_utf8(text, last).code_point)) break;
    text = text.substr(0, last);
  }
  return text;
}

size_t find_text(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  // glibc's memmem is the two-way algorithm: linear time, constant space.
  const void* hit = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (hit == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(hit) - text.data());
}

size_t find_last_text(std::string_view text, std::string_view needle) {
  if (needle.empty()) return text.size();
  if (needle.size() > text.size()) return std::string_view::npos;
  // Knuth-Morris-Pratt over both texts read backwards.
  const size_t m = needle.size();
  const auto pattern = [&](size_t i) { return needle[m - 1 - i]; };
  std::vector<size_t> border(m, 0);
  for (size_t i = 1, k = 0; i < m; ++i) {
    while (k > 0 && pattern(i) != pattern(k)) k = border[k - 1];
    if (pattern(i) == pattern(k)) ++k;
    border[i] = k;
  }
  for (size_t i = 0, k = 0; i < text.size(); ++i) {
    const char c = text[text.size() - 1 - i];
    while (k > 0 && c != pattern(k)) k = border[k - 1];
    if (c == pattern(k)) ++k;
    if (k == m) return text.size() - 1 - i;
  }
  return std::string_view::npos;
}

}  // namespace octavo::text::jinja
