// Charsmap: SentencePiece's precompiled normalisation, the normaliser Precompiled of
// tokenizer.json: a trie of byte strings, each with what it becomes. Called by the normaliser.
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/status.h"

namespace octavo::text {

class Charsmap {
 public:
  // `blob`: the trie's length in bytes (little-endian u32), the units of a double-array trie, and
  // the replacements, each with a NUL behind it.
  static StatusOr<Charsmap> parse(std::string_view blob);

  // As Hugging Face's tokenizers apply it: to grapheme clusters. REQUIRES: valid UTF-8.
  StatusOr<std::string> apply(std::string_view text) const;

  // As SentencePiece does: what stands for the longest key that `text` begins with, and how long
  // that key is.
  struct Found {
    std::string_view replacement;
    size_t bytes;
  };
  std::optional<Found> longest(std::string_view text) const;

 private:
  // Calls `found(replacement, bytes)` for each key that `text` begins with, the shortest first,
  // until it returns false.
  template <typename Each>
  void each_key(std::string_view text, Each found) const;
  // What stands for the shortest key that `chunk` begins with.
  std::optional<std::string_view> find(std::string_view chunk) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

// The bytes of standard base64 with padding.
StatusOr<std::string> decode_base64(std::string_view text);

}  // namespace octavo::text
