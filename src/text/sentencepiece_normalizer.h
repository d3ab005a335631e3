// SentencePieceNormalizer: what SentencePiece does to text before it looks for pieces: the
// charsmap, white space trimmed and joined, spaces written as "▁", and one put at an end. A step of
// the Normalizer; the fields are those of the model's normalizer_spec. Immutable; any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "octavo/status.h"
#include "text/charsmap.h"
#include "text/piece_trie.h"

namespace octavo::text {

struct SentencePieceNormalizer {
  std::optional<Charsmap> charsmap;
  PieceTrie user_defined;  // these stand as they are, whatever the charsmap says
  bool add_dummy_prefix = true;
  bool dummy_only_at_start = false;  // not behind a special token
  bool whitespace_as_suffix = false;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;

  // `at_start`: nothing of the text stands before `text`. REQUIRES: valid UTF-8.
  StatusOr<std::string> apply(std::string_view text, bool at_start) const;

 private:
  struct Prefix {
    std::string_view reads;  // as which the front of the text reads
    size_t bytes;            // and how much of the text that is
  };
  Prefix next(std::string_view text) const;
  void append(std::string_view part, std::string& out) const;
};

}  // namespace octavo::text
