#include "base/utf8.h"

#include <cstdio>
#include <cstring>

namespace octavo {

Decoded decode_utf8(std::string_view text, size_t pos) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(pos);
  if (lead < 0x80) return {lead, 1, true, false};
  // The second byte's range depends on the lead (Unicode, table 3-7); later ones are 80..BF.
  int length = 0;
  unsigned char low = 0x80, high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {0xFFFD, 1, false, false};
  }
  char32_t code = lead & (0xFF >> (length + 1));
  for (int i = 1; i < length; ++i) {
    if (pos + i >= text.size()) return {0xFFFD, i, false, true};
    const unsigned char b = byte(pos + i);
    if (b < low || b > high) return {0xFFFD, i, false, false};
    code = (code << 6) | (b & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {code, length, true, false};
}

bool valid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    // Eight ASCII bytes at a time: most text is.
    while (i + 8 <= text.size()) {
      uint64_t word;
      std::memcpy(&word, text.data() + i, 8);
      if (word & 0x8080808080808080ull) break;
      i += 8;
    }
    if (i >= text.size()) break;
    // Then three bytes of which any two continuations will do, which is most of the rest.
    const auto* b = reinterpret_cast<const unsigned char*>(text.data() + i);
    while (i + 3 <= text.size() && b[0] >= 0xE1 && b[0] <= 0xEF && b[0] != 0xED &&
           (b[1] & 0xC0) == 0x80 && (b[2] & 0xC0) == 0x80) {
      i += 3;
      b += 3;
    }
    if (i >= text.size()) break;
    const Decoded d = decode_utf8(text, i);
    if (!d.valid) return false;
    i += d.length;
  }
  return true;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xC0 | (c >> 6)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | (c >> 12)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out.push_back(static_cast<char>(0xF0 | (c >> 18)));
    out.push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    if (d.valid) {
      out.append(text.substr(i, d.length));
    } else {
      out.append("\xEF\xBF\xBD");
    }
    i += d.length;
  }
  return out;
}

namespace {

bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) ||        // C0, DEL, C1
         c == 0x061C || c == 0x200E || c == 0x200F ||  // bidirectional marks
         (c >= 0x2028 && c <= 0x202E) ||               // line separators, embeddings, overrides
         (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;  // isolates, byte order mark
}

void append_escaped(std::string& out, std::string_view bytes, const Decoded& d) {
  char text[8];
  if (d.code_point == '\n') {
    out.append("\\n");
  } else if (d.code_point == '\r') {
    out.append("\\r");
  } else if (d.code_point == '\t') {
    out.append("\\t");
  } else if (d.valid && d.code_point > 0xFF) {
    out.append(text, snprintf(text, sizeof text, "\\u%04x", static_cast<unsigned>(d.code_point)));
  } else {
    for (const char c : bytes) {
      out.append(text, snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned char>(c)));
    }
  }
}

}  // namespace

void append_printable(std::string& out, std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    while (i < text.size() && text[i] >= ' ' && text[i] <= '~') ++i;
    out.append(text.substr(start, i - start));
    if (i == text.size()) return;
    const Decoded d = decode_utf8(text, i);
    const std::string_view bytes = text.substr(i, d.length);
    if (d.valid && !is_control(d.code_point)) {
      out.append(bytes);
    } else {
      append_escaped(out, bytes, d);
    }
    i += d.length;
  }
}

}  // namespace octavo
