// A tokenizer from SentencePiece's tokenizer.model. Ids and decoded texts are SentencePiece's own,
// but that control pieces ("<s>") are found in text where special tokens are, and are written out
// where a decoding does not skip them. Called by load_tokenizer; loading thread.
#pragma once

#include <memory>
#include <string_view>

#include "octavo/status.h"
#include "text/tokenizer.h"
#include "text/tokenizer_settings.h"

namespace octavo::text {

// `file`: the model's bytes. `settings` say what stands around a text (add_bos_token, …), what is
// special besides, and whether text behind a special token gets the dummy prefix (`legacy`).
StatusOr<std::unique_ptr<Tokenizer>> parse_sentencepiece(std::string_view file,
                                                         const TokenizerSettings& settings);

}  // namespace octavo::text
