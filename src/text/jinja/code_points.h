// Strings as Python sees them, sequences of code points, over UTF-8. All texts are valid UTF-8.
#pragma once

#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace octavo::text::jinja {

struct CodePoint {
  char32_t value;
  size_t begin, end;  // of its bytes in the text
};

// The code points of a text in order: for (const CodePoint at : CodePoints(text)).
class CodePoints {
 public:
  explicit CodePoints(std::string_view text) : text_(text) {}

  class Iterator {
   public:
    explicit Iterator(std::string_view text) : text_(text) { read(0); }
    CodePoint operator*() const { return at_; }
    Iterator& operator++() {
      read(at_.end);
      return *this;
    }
    bool operator==(std::default_sentinel_t) const { return at_.begin == text_.size(); }

   private:
    void read(size_t begin) {
      at_ = {0, begin, begin};
      if (begin == text_.size()) return;
      const Decoded decoded = decode_utf8(text_, begin);
      at_ = {decoded.code_point, begin, begin + static_cast<size_t>(decoded.length)};
    }

    std::string_view text_;
    CodePoint at_;
  };
  Iterator begin() const { return Iterator(text_); }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::string_view text_;
};

bool is_ascii(std::string_view text);
int64_t count_code_points(std::string_view text);
// Where code point `index` begins. REQUIRES: 0 <= index <= count_code_points(text).
size_t byte_offset(std::string_view text, int64_t index);

// str.isspace() of one code point; also the regular expressions' \s.
bool is_space(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_numeric(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
inline bool is_alnum(char32_t c) {
  return is_alpha(c) || is_numeric(c);
}

std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);
std::string swap_case(std::string_view text);

std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);

// The first or last place of `needle` in linear time (string_view's own searches are quadratic at
// worst, and both texts may come from an attacker). npos if absent.
size_t find_text(std::string_view text, std::string_view needle, size_t from = 0);
size_t find_last_text(std::string_view text, std::string_view needle);

}  // namespace octavo::text::jinja
