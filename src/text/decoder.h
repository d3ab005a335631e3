// Decoder: tokens as the vocabulary writes them, back to text: the steps under `decoder` in
// tokenizer.json. Called by the tokenizer. Immutable; any thread.
//
// A step works on the list of a text's tokens, as in Hugging Face's tokenizers. For streaming the
// same steps are also known token by token: the bytes that one token stands for, and what happens
// where tokens meet and at the ends of a text.
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
struct BpeDecode {  // the suffix that ends a word to a space, at the end of the text to nothing
  std::string suffix;
};
struct CtcDecode {  // of equal neighbours one remains; the pad goes, the delimiter becomes a space
  std::string pad, delimiter;
  bool cleanup = true;
};
struct SentencePieceDecode {  // "▁" to a space
  bool bytes = false;         // "<0xE4>" is a byte; each one of no character becomes U+FFFD
  bool strips_front = true;   // the first token with text loses one "▁" in front …
  bool strips_each = false;   // … and so does every one until there is text
  std::string unk_piece, unk_surface;  // the unknown token, and what it reads as; may be empty
};
using DecoderStep =
    std::variant<ByteLevelDecode, ByteFallbackDecode, FuseDecode, StripDecode, ReplaceStep,
                 MetaspaceDecode, WordPieceDecode, BpeDecode, CtcDecode, SentencePieceDecode>;

class Decoder {
 public:
  // Refuses chains that cannot be streamed.
  static StatusOr<Decoder> make(std::vector<DecoderStep> steps);

  bool byte_level() const { return byte_level_; }
  std::string decode(std::vector<std::string> tokens) const;
  // The bytes that a token stands for inside a text.
  std::string token_bytes(std::string_view token) const;
  const TextJoin& text_join() const { return join_; }

 private:
  std::vector<DecoderStep> steps_;
  bool byte_level_ = false;  // the one step that decides is ByteLevelDecode
  TextJoin join_;
};

}  // namespace octavo::text
