// Provenance: which bytes of a rendering are the template's own words, and which came with the
// request. Only in the former may a special token be written: so a user who types <|im_end|> cannot
// end a turn (Tokenizer::encode, EncodeOptions::plain).
//
// Where a byte lies says whose it is. The template's source and its special tokens lie in memory
// that is claimed here; a text that a rendering makes lies in its arena, where just the bytes that
// were copied from claimed memory are claimed again. So whatever is a view (a slice, strip, split,
// a loop over characters) needs no care at all, and a function that makes text without a word about
// it makes text of the request's: a mistake can lose a marker, but never lets one be forged.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/text.h"

namespace octavo::text::jinja {

// A text in the making.
struct Draft {
  std::string bytes;
  std::vector<TextRange> own;  // of `bytes`, the template's own: ascending, never touching
};

// One thread: that of the rendering.
class Provenance {
 public:
  // The template's own text. Its memory keeps its contents for as long as this lives.
  void claim(std::string_view text);
  // The parts of `text` that are the template's own, as ranges of `text`, appended to `ranges` with
  // `offset` added. `ranges` stays ascending and joined.
  void find(std::string_view text, size_t offset, std::vector<TextRange>& ranges) const;
  // All of `text` is the template's own; so is an empty one.
  bool owns(std::string_view text) const;

 private:
  std::map<uintptr_t, uintptr_t> claimed_;  // begin → end; disjoint, never touching
};

// The ranges of a text of `size` bytes that `ranges` leaves out.
std::vector<TextRange> complement(const std::vector<TextRange>& ranges, size_t size);

}  // namespace octavo::text::jinja
