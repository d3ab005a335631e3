// What stands beside a vocabulary in a model's directory: tokenizer_config.json,
// special_tokens_map.json and added_tokens.json. tokenizer.json needs none of them; older files say
// only what their pieces are, and the rest is here. Used by the readers of those; loading thread.
#pragma once

#include <boost/json.hpp>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/status.h"
#include "text/added_tokens.h"

namespace octavo::text {

struct TokenizerSettings {
  boost::json::object config;         // tokenizer_config.json; empty where there is none
  boost::json::object special_map;    // special_tokens_map.json, the same
  std::vector<AddedToken> added;      // with an id each, ascending
  std::vector<std::string> specials;  // the named ones (bos_token, …), maybe twice
  std::string model_type;             // config.json's

  // The text of `name` ("bos_token"), or "" where it is not given.
  std::string_view special(std::string_view name) const;
  // tokenizer_config.json's tokenizer_class, without "Fast" at its end.
  std::string_view tokenizer_class() const;
};

// What is absent is left empty; what is there and cannot be read is an error.
StatusOr<TokenizerSettings> read_tokenizer_settings(const std::filesystem::path& directory);

// The whole of a file of at most 256 MiB.
StatusOr<std::string> read_tokenizer_file(const std::filesystem::path& file);
// A JSON document whose root is an object. `name` stands in the errors.
StatusOr<boost::json::object> parse_json_object(std::string_view json, std::string_view name);

}  // namespace octavo::text
