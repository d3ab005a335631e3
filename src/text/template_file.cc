#include "text/template_file.h"

#include <fstream>
#include <sstream>
#include <system_error>

#include "base/status_macros.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;

StatusOr<std::string> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  if (!in) return not_found("cannot read " + path.string());
  return text.str();
}

StatusOr<std::string> template_in_json(const fs::path& path) {
  ASSIGN_OR_RETURN(const std::string json, read_file(path));
  const StatusOr<Value> config = parse_json(json);
  if (!config.ok()) return config.status().with_context(path.string());
  std::string source = configured_template(*config);
  if (source.empty()) {
    const Value* entry = config->find("chat_template");
    const bool unnamed = entry != nullptr && entry->is_list();
    return not_found(path.string() + (unnamed ? ": none of its chat templates is named `default`"
                                              : " holds no chat template"));
  }
  return source;
}

}  // namespace

std::string configured_template(const Value& tokenizer_config, std::string_view wanted) {
  const Value* entry = tokenizer_config.find("chat_template");
  if (entry == nullptr) return "";
  if (entry->is_string()) return wanted == "default" ? entry->as_string() : "";
  if (!entry->is_list()) return "";
  for (const Value& named : entry->as_list()) {
    const Value* name = named.find("name");
    const Value* text = named.find("template");
    if (name && text && text->is_string() && name->is_string() && name->as_string() == wanted) {
      return text->as_string();
    }
  }
  return "";
}

StatusOr<ModelTemplates> read_model_templates(const fs::path& directory,
                                              const Value& tokenizer_config) {
  ModelTemplates out{.usual = configured_template(tokenizer_config),
                     .tool_use = configured_template(tokenizer_config, "tool_use")};
  std::error_code ignored;
  const fs::path usual = directory / "chat_template.jinja";
  if (!fs::exists(usual, ignored)) return out;
  ASSIGN_OR_RETURN(out.usual, read_file(usual));
  out.tool_use.clear();
  const fs::path tool_use = directory / "additional_chat_templates" / "tool_use.jinja";
  if (fs::exists(tool_use, ignored)) {
    ASSIGN_OR_RETURN(out.tool_use, read_file(tool_use));
  }
  return out;
}

StatusOr<std::string> read_chat_template(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored))
    return path.extension() == ".json" ? template_in_json(path) : read_file(path);
  if (fs::exists(path / "chat_template.jinja", ignored))
    return read_file(path / "chat_template.jinja");
  if (fs::exists(path / "tokenizer_config.json", ignored))
    return template_in_json(path / "tokenizer_config.json");
  return not_found(path.string() + " holds neither chat_template.jinja nor tokenizer_config.json");
}

}  // namespace octavo::text
