#include "serve/responses/responses_tools.h"

#include <set>
#include <string>

#include "base/status_macros.h"
#include "serve/errors.h"

namespace octavo::serve {

namespace {

std::string path(size_t index, std::string_view member) {
  return "tools." + std::to_string(index) + "." + std::string(member);
}

// A member that is text; empty where there is none.
std::string text_of(const Value& object, std::string_view member) {
  const Value* value = object.find(member);
  return value != nullptr && value->is_string() ? value->as_string() : std::string();
}

StatusOr<Value> translate_tool(const Value& tool, size_t index) {
  if (!tool.is_dict()) {
    return shape_error("tools." + std::to_string(index), "Input should be a valid dictionary");
  }
  const std::string type = text_of(tool, "type");
  if (type.empty()) return shape_error(path(index, "type"), "Field required");
  if (type != "function") {
    return field_error("tools", "A tool of type `" + type +
                                    "` is not supported: this server runs no tools, it knows "
                                    "`function` alone.");
  }
  const std::string name = text_of(tool, "name");
  if (name.empty()) return shape_error(path(index, "name"), "Input should be a valid string");
  Value function(Value::Dict{{"name", name}});
  if (const Value* description = tool.find("description");
      description != nullptr && !description->is_null()) {
    if (!description->is_string()) {
      return shape_error(path(index, "description"), "Input should be a valid string");
    }
    function.set("description", *description);
  }
  if (const Value* parameters = tool.find("parameters");
      parameters != nullptr && !parameters->is_null()) {
    if (!parameters->is_dict()) {
      return shape_error(path(index, "parameters"), "Input should be a valid dictionary");
    }
    function.set("parameters", *parameters);
  }
  return Value(Value::Dict{{"type", "function"}, {"function", std::move(function)}});
}

const std::string& name_of(const Value& chat_tool) {
  return chat_tool.find("function")->find("name")->as_string();
}

// {"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]}: leaves the
// allowed ones in `tools` and returns the choice among them.
StatusOr<Value> choose_among_allowed(const Value& choice, Value::List& tools) {
  const std::string mode = text_of(choice, "mode");
  if (mode != "auto" && mode != "required") {
    return shape_error("tool_choice.mode", "Input should be 'auto' or 'required'");
  }
  const Value* list = choice.find("tools");
  if (list == nullptr || !list->is_list() || list->as_list().empty()) {
    return shape_error("tool_choice.tools", "Input should be a list of at least one tool");
  }
  std::set<std::string> known, allowed;
  for (const Value& tool : tools) known.insert(name_of(tool));
  for (const Value& tool : list->as_list()) {
    std::string name = text_of(tool, "name");
    if (!known.contains(name)) {
      return field_error("tool_choice", "The allowed tool `" + name + "` is not among `tools`.");
    }
    allowed.insert(std::move(name));
  }
  std::erase_if(tools, [&](const Value& tool) { return !allowed.contains(name_of(tool)); });
  return Value(mode);
}

StatusOr<Value> translate_choice(const Value& choice, Value::List& tools) {
  if (!choice.is_dict()) return choice;
  const std::string type = text_of(choice, "type");
  if (type == "allowed_tools") return choose_among_allowed(choice, tools);
  if (type != "function") {
    return field_error("tool_choice", "A tool choice of type `" + type +
                                          "` is not supported: this server knows `function` and "
                                          "`allowed_tools`.");
  }
  return Value(Value::Dict{{"type", "function"},
                           {"function", Value::Dict{{"name", text_of(choice, "name")}}}});
}

}  // namespace

void translate_tools(JsonFields& fields, Value& chat) {
  Value::List tools;
  if (const Value::List* given = fields.list("tools")) {
    for (const Value& tool : *given) {
      StatusOr<Value> translated = translate_tool(tool, tools.size());
      if (!translated.ok()) return fields.fail(translated.status());
      tools.push_back(*std::move(translated));
    }
  }
  if (const Value* choice = fields.get("tool_choice")) {
    StatusOr<Value> translated = translate_choice(*choice, tools);
    if (!translated.ok()) return fields.fail(translated.status());
    // `auto` without tools is what clients send by default.
    if (!tools.empty() || *translated != Value("auto")) {
      chat.set("tool_choice", *std::move(translated));
    }
  }
  if (!tools.empty()) chat.set("tools", std::move(tools));
}

}  // namespace octavo::serve
