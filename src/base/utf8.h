// UTF-8: checking and decoding, by the table of the Unicode standard (no overlong forms, no
// surrogates).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace octavo {

bool valid_utf8(std::string_view text);

struct Decoded {
  char32_t code_point;  // U+FFFD where the bytes are invalid
  int length;  // bytes consumed, at least 1; for invalid bytes the maximal invalid part (WHATWG)
  bool valid;
  bool incomplete;  // invalid only because the text ends too early
};
// REQUIRES: pos < text.size().
Decoded decode_utf8(std::string_view text, size_t pos);
void append_utf8(std::string& out, char32_t code_point);
// Each maximal invalid part replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);
// `text` for a terminal or a log: what could move the cursor, end the line or turn the reading
// direction (controls, line separators, bidirectional marks, invalid bytes) is escaped as in
// `\n`, `\x1b`, `\u202e`; the rest stays as it is.
void append_printable(std::string& out, std::string_view text);

}  // namespace octavo
