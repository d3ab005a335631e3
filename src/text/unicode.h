// Unicode as the tokenizers need it: character classes, normal forms, lower case, and the alphabet
// in which byte-level vocabularies are written. Called by the rest of text/ while it loads a
// tokenizer and encodes. Functions without state over tables that are built once, at first use; any
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace octavo::text {

// Bits of a character's class. The regular expressions of tokenizers know no others.
enum CharClass : uint8_t {
  kLetter = 1,  // \p{L}
  kNumber = 2,  // \p{N}
  kSpace = 4,   // \s as Oniguruma and Rust read it: the property White_Space
  kWord = 8,    // \w as Rust's regex reads it: letters, marks, decimal digits, connectors, joiners
  kCombining = 16,  // \p{M}
  kGraphic = 32,    // \p{P} and \p{S}: punctuation and symbols
  kUpper = 64,      // \p{Lu} and \p{Lt}; of the letters, those that are neither this …
  kLower = 128,     // … nor \p{Ll} are \p{Lm} and \p{Lo}
};

// Class bits of every code point in two stages: 256 characters to a block, equal blocks stored
// once.
class CharTable {
 public:
  static const CharTable& get();

  uint8_t classes(char32_t c) const {
    return c < 0x110000 ? blocks_[(size_t{block_of_[c >> 8]} << 8) | (c & 0xFF)] : 0;
  }
  uint8_t ascii_classes(unsigned char c) const { return ascii_[c]; }  // REQUIRES: c < 0x80
  bool is(char32_t c, uint8_t mask) const { return (classes(c) & mask) != 0; }

 private:
  CharTable();
  uint8_t ascii_[0x80] = {};  // the same once more, where most text looks
  uint16_t block_of_[0x1100] = {};
  std::vector<uint8_t> blocks_;
};

// A character of valid UTF-8 at `p`, and its length through `length`. REQUIRES: valid UTF-8 at p.
inline char32_t decode_valid(const char* p, int& length) {
  const auto* b = reinterpret_cast<const unsigned char*>(p);
  if (b[0] < 0x80) return length = 1, b[0];
  if (b[0] < 0xE0) return length = 2, ((b[0] & 0x1Fu) << 6) | (b[1] & 0x3Fu);
  if (b[0] < 0xF0) {
    return length = 3, ((b[0] & 0x0Fu) << 12) | ((b[1] & 0x3Fu) << 6) | (b[2] & 0x3Fu);
  }
  length = 4;
  return ((b[0] & 0x07u) << 18) | ((b[1] & 0x3Fu) << 12) | ((b[2] & 0x3Fu) << 6) | (b[3] & 0x3Fu);
}
// Start of the character before `pos`. REQUIRES: valid UTF-8, 0 < pos <= text.size().
inline size_t previous_char(std::string_view text, size_t pos) {
  do {
    --pos;
  } while (pos > 0 && (static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80);
  return pos;
}

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// `text` in normal form, in time linear in its length. REQUIRES: valid UTF-8.
std::string normalize(std::string_view text, NormalForm form);
// Each character's own lower case, without regard to its neighbours. REQUIRES: valid UTF-8.
std::string to_lower(std::string_view text);

// Cuts text into extended grapheme clusters (UAX 29).
class ClusterBreaks {
 public:
  // End of the cluster that begins at `pos`. REQUIRES: valid UTF-8, pos < text.size().
  size_t next(std::string_view text, size_t pos) const;
};

// GPT-2's alphabet: each byte as one printable character, so that a vocabulary of bytes is readable
// text
// ("Ġthe" is " the"). Printable Latin-1 stands for itself, the other 68 bytes for U+0100 and on.
std::string bytes_to_alphabet(std::string_view bytes);
// The bytes that `text` stands for, appended to `bytes`. False, with nothing appended, if a
// character of `text` is not of the alphabet.
bool alphabet_to_bytes(std::string_view text, std::string& bytes);

}  // namespace octavo::text
