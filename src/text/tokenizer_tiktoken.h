// Reads tiktoken's vocabularies: a file of one token a line, its bytes in base64 and its rank,
// which is its id. The file says nothing of the pattern that cuts text into words, nor of special
// tokens. Those stand beside it, in special_tokens.json as {"pattern", "normalizer",
// "special_tokens": {name: id}}, or follow from the file's name or the model's tokenizer_class
// (tiktoken_form.h) with the special tokens of tokenizer_config.json. Called by load_tokenizer;
// loading thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "octavo/status.h"
#include "text/tiktoken_form.h"
#include "text/tokenizer.h"
#include "text/tokenizer_settings.h"

namespace octavo::text {

// Whether the text of a file begins as a tiktoken vocabulary does.
bool looks_like_tiktoken(std::string_view text);

StatusOr<std::unique_ptr<Tokenizer>> load_tiktoken(const std::filesystem::path& file,
                                                   const TokenizerSettings& settings);

// {"pattern", "normalizer", "special_tokens"}, the form of special_tokens.json.
StatusOr<TiktokenForm> parse_tiktoken_form(std::string_view json);
// `ranks`: the file's text.
StatusOr<std::unique_ptr<Tokenizer>> parse_tiktoken(std::string_view ranks,
                                                    const TiktokenForm& form,
                                                    const TokenizerSettings& settings = {});

}  // namespace octavo::text
