// Reads tiktoken's vocabularies: a file of one token a line, its bytes in base64 and its rank,
// which is its id. The file says nothing of the pattern that cuts text into words, nor of special
// tokens: those stand in special_tokens.json beside it, as {"pattern", "normalizer",
// "special_tokens": {name: id}}. Called by load_tokenizer; loading thread.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "octavo/status.h"
#include "octavo/value.h"
#include "text/tokenizer.h"

namespace octavo::text {

// The tiktoken file that `path` means: itself, or the one in a directory that has no
// tokenizer.json.
std::optional<std::filesystem::path> find_tiktoken_file(const std::filesystem::path& path);

StatusOr<std::unique_ptr<Tokenizer>> load_tiktoken(const std::filesystem::path& file);
// The same from the file's text and what stands beside it.
StatusOr<std::unique_ptr<Tokenizer>> parse_tiktoken(std::string_view ranks, const Value& beside);

}  // namespace octavo::text
