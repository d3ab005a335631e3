// Where a chat template stands on disk: a file of its own, or a member of tokenizer_config.json.
// Called when a model is loaded, and by `octavo render`. Any thread; reads the file system.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::text {

// The template of a tokenizer_config.json: its `chat_template`, a string (the default), or a list
// of {name, template}. Empty: it holds none of that name.
std::string configured_template(const Value& tokenizer_config, std::string_view name = "default");

// The templates of a model directory: chat_template.jinja and additional_chat_templates/*.jinja,
// else those of tokenizer_config.json. Empty: there is none.
struct ModelTemplates {
  std::string usual;
  std::string tool_use;  // for conversations with tools
};
StatusOr<ModelTemplates> read_model_templates(const std::filesystem::path& directory,
                                              const Value& tokenizer_config);

// The source of the template that `path` names: a Jinja file; a .json file with `chat_template`; or
// a directory, of which chat_template.jinja is taken before tokenizer_config.json. kNotFound where
// there is none.
StatusOr<std::string> read_chat_template(const std::filesystem::path& path);

}  // namespace octavo::text
