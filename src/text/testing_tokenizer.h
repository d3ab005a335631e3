// Helpers of the tokenizers' tests: the bundled tokenizer, and text out of the characters at which
// tokenizers decide.
#pragma once

#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace octavo::text {

// models/octavo-tiny
std::filesystem::path octavo_tiny_path();

// These fail the test where they cannot; null and no ids then.
std::unique_ptr<Tokenizer> must_load(const std::filesystem::path& path);
std::unique_ptr<Tokenizer> octavo_tiny();
std::vector<TokenId> must_encode(const Tokenizer& tokenizer, std::string_view text,
                                 EncodeOptions options = {});

// Spaces, line ends, contractions, digits, marks and letters of many scripts, `parts` of them, and
// now and then any character at all.
std::string random_tokenizer_text(std::mt19937& rng, int parts);

}  // namespace octavo::text
