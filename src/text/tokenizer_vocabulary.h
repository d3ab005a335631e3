// Tokenizers from the older files of Transformers: vocab.json with merges.txt (GPT-2's form) and
// vocab.txt (BERT's). What they do around the vocabulary, the tokenizer's class in
// tokenizer_config.json says. Called by load_tokenizer; loading thread.
#pragma once

#include <memory>
#include <string_view>

#include "octavo/status.h"
#include "text/tokenizer.h"
#include "text/tokenizer_settings.h"

namespace octavo::text {

// `vocabulary`: a JSON object of tokens and ids; `merges`: one a line, after a line "#version: …".
StatusOr<std::unique_ptr<Tokenizer>> parse_vocab_json(std::string_view vocabulary,
                                                      std::string_view merges,
                                                      const TokenizerSettings& settings);
// `vocabulary`: one token a line; the line's number, from 0, is its id.
StatusOr<std::unique_ptr<Tokenizer>> parse_vocab_txt(std::string_view vocabulary,
                                                     const TokenizerSettings& settings);

}  // namespace octavo::text
