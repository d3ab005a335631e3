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

  // REQUIRES: valid UTF-8.
  StatusOr<std::string> apply(std::string_view text) const;

 private:
  // What stands for the shortest key that `chunk` begins with.
  std::optional<std::string_view> find(std::string_view chunk) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

// The bytes of standard base64 with padding.
StatusOr<std::string> decode_base64(std::string_view text);

}  // namespace octavo::text
