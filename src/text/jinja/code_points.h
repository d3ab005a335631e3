// Strings as Python sees them, sequences of code points, over UTF-8. All texts are valid UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace octavo::text::jinja {

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
