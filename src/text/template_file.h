// Where a chat template stands on disk: a file of its own, or a member of tokenizer_config.json.
// Called when a model is loaded, and by `octavo render`. Any thread; reads the file system.
#pragma once

#include <filesystem>
#include <string>

#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::text {

// The template of a tokenizer_config.json: its `chat_template`, a string, or a list of
// {name, template} of which "default" is meant. Empty: it holds none.
std::string configured_template(const Value& tokenizer_config);

// The source of the template that `path` names: a Jinja file; a .json file with `chat_template`; or
// a directory, of which chat_template.jinja is taken before tokenizer_config.json. kNotFound where
// there is none.
StatusOr<std::string> read_chat_template(const std::filesystem::path& path);

}  // namespace octavo::text
