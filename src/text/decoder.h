// Decoder: tokens as the vocabulary writes them, back to text: the steps under `decoder` in
// tokenizer.json. Called by the tokenizer. Immutable; any thread.
//
// A step works on the list of a text's tokens, as in Hugging Face's tokenizers. For streaming the
// same steps are also known token by token: the bytes that one token stands for, and what happens
// at the front of a text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "octavo/status.h"
#include "text/normalizer.h"
#include "text/tokenizer.h"

namespace octavo::text {

struct ByteLevelDecode {};  // GPT-2's alphabet to bytes; bytes that form no character become U+FFFD
struct ByteFallbackDecode {
};                     // runs of <0xE4> to characters; every byte of an invalid run becomes U+FFFD
struct FuseDecode {};  // all tokens become one
struct StripDecode {   // up to `start` and `stop` times `content` from each token's ends
  std::string content;
  int start = 0, stop = 0;
};
struct MetaspaceDecode {  // the mark of a space to a space; in the first token to nothing
  std::string replacement;
  bool drop_first = true;
};
struct WordPieceDecode {  // a space before each token but the first and those with the prefix,
                          // which goes
  std::optional<std::string> prefix;  // none: no token has it
  bool cleanup = true;                // " ." to "." and the like, within each token
};
using DecoderStep = std::variant<ByteLevelDecode, ByteFallbackDecode, FuseDecode, StripDecode,
                                 ReplaceStep, MetaspaceDecode, WordPieceDecode>;

class Decoder {
 public:
  // Refuses chains that cannot be streamed.
  static StatusOr<Decoder> make(std::vector<DecoderStep> steps);

  bool byte_level() const { return byte_level_; }
  std::string decode(std::vector<std::string> tokens) const;
  // The bytes that a token stands for inside a text.
  std::string token_bytes(std::string_view token) const;
  const TextStart& text_start() const { return start_; }

 private:
  std::vector<DecoderStep> steps_;
  bool byte_level_ = false;  // the one step that decides is ByteLevelDecode
  TextStart start_;
};

}  // namespace octavo::text
