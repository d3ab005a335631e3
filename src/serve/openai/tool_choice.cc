#include "serve/openai/tool_choice.h"

#include <map>
#include <string_view>
#include <utility>

#include "base/status_macros.h"
#include "serve/errors.h"

namespace octavo::serve {

namespace {

const std::string& name_of(const Value& tool) {
  return tool.find("function")->find("name")->as_string();
}

// "tools.3.function.name"
std::string path(size_t index, std::string_view member) {
  return "tools." + std::to_string(index) + "." + std::string(member);
}

Status check_tool(const Value& tool, size_t index) {
  if (!tool.is_dict()) {
    return shape_error("tools." + std::to_string(index), "Input should be a valid dictionary");
  }
  const Value* type = tool.find("type");
  if (type != nullptr && !(type->is_string() && type->as_string() == "function")) {
    return shape_error(path(index, "type"), "Input should be 'function'");
  }
  const Value* function = tool.find("function");
  if (function == nullptr || !function->is_dict()) {
    return shape_error(path(index, "function"), "Input should be a valid dictionary");
  }
  const Value* name = function->find("name");
  if (name == nullptr || !name->is_string() || name->as_string().empty()) {
    return shape_error(path(index, "function.name"), "Input should be a valid string");
  }
  const Value* description = function->find("description");
  if (description != nullptr && !description->is_null() && !description->is_string()) {
    return shape_error(path(index, "function.description"), "Input should be a valid string");
  }
  const Value* parameters = function->find("parameters");
  if (parameters != nullptr && !parameters->is_null() && !parameters->is_dict()) {
    return shape_error(path(index, "function.parameters"), "Input should be a valid dictionary");
  }
  return ok_status();
}

StatusOr<ToolChoice> named_choice(const Value& choice, const std::vector<Value>& tools) {
  static constexpr std::string_view kUsage =
      "Correct usage: `{\"type\": \"function\", \"function\": {\"name\": \"my_function\"}}`";
  const Value* function = choice.find("function");
  if (function == nullptr || !function->is_dict()) {
    return field_error("tool_choice",
                       "Expected field `function` in `tool_choice`. " + std::string(kUsage));
  }
  const Value* name = function->find("name");
  if (name == nullptr || !name->is_string() || name->as_string().empty()) {
    return field_error("tool_choice", "Expected field `name` in `function` in `tool_choice`. " +
                                          std::string(kUsage));
  }
  for (const Value& tool : tools) {
    if (name_of(tool) == name->as_string()) {
      return ToolChoice{.kind = ToolChoice::Kind::kNamed, .function = name->as_string()};
    }
  }
  return field_error("tool_choice",
                     "The tool specified in `tool_choice` does not match any of the specified "
                     "`tools`");
}

StatusOr<ToolChoice> parse_choice(const Value* choice,
                                  const std::optional<std::vector<Value>>& tools) {
  using Kind = ToolChoice::Kind;
  if (choice == nullptr) return ToolChoice{.kind = tools ? Kind::kAuto : Kind::kNone};
  const std::string word = choice->is_string() ? choice->as_string() : "";
  if (word == "none") return ToolChoice{};
  const bool known = word == "auto" || word == "required" || choice->is_dict();
  if (!known) {
    return field_error("tool_choice", "Invalid value for `tool_choice`: " + to_json(*choice) +
                                          "! Only named tools, \"none\", \"auto\" or "
                                          "\"required\" are supported.");
  }
  if (!tools) {
    return field_error("tool_choice", "When using `tool_choice`, `tools` must be set.");
  }
  if (choice->is_dict()) return named_choice(*choice, *tools);
  return ToolChoice{.kind = word == "auto" ? Kind::kAuto : Kind::kRequired};
}

// The definitions within the schemas of all tools, on their way to the root of one.
class Definitions {
 public:
  // `place` is "$defs" or "definitions". The arguments outlive this.
  Status add(const std::string& place, const std::string& name, const Value& definition) {
    const auto [known, is_new] = known_.try_emplace({place, name}, &definition);
    if (!is_new && *known->second != definition) {
      return field_error(
          "tools", "Tool definition '" + name + "' has multiple schemas, which is not supported.");
    }
    if (!is_new) return ok_status();
    if (root_.find(place) == nullptr) root_.set(place, Value::Dict{});
    root_.find(place)->as_dict().emplace_back(name, definition);
    return ok_status();
  }
  void move_to(Value& schema) {
    for (auto& [place, members] : root_.as_dict()) schema.set(place, std::move(members));
  }

 private:
  Value root_ = Value::Dict{};
  std::map<std::pair<std::string_view, std::string_view>, const Value*> known_;
};

// The parameters' schema of a tool, less its definitions.
StatusOr<Value> parameters_of(const Value& tool, Definitions& definitions) {
  const Value* given = tool.find("function")->find("parameters");
  if (given == nullptr || given->is_null() || given->as_dict().empty()) {
    return Value(Value::Dict{
        {"type", "object"}, {"properties", Value(Value::Dict{})}, {"additionalProperties", false}});
  }
  Value out = Value::Dict{};
  if (given->find("type") == nullptr && given->find("$ref") == nullptr) out.set("type", "object");
  for (const auto& [key, value] : given->as_dict()) {
    if ((key != "$defs" && key != "definitions") || !value.is_dict()) {
      out.as_dict().emplace_back(key, value);  // keys are unique
      continue;
    }
    for (const auto& [name, definition] : value.as_dict()) {
      RETURN_IF_ERROR(definitions.add(key, name, definition));
    }
  }
  const Value* type = out.find("type");
  if (type != nullptr && *type != Value("object")) {
    return field_error(
        "tools", "The parameters of tool '" + name_of(tool) + "' must be of type \"object\".");
  }
  return out;
}

}  // namespace

ToolChoice read_tools(JsonFields& fields, std::optional<std::vector<Value>>& tools) {
  if (const Value::List* list = fields.list("tools")) {
    if (list->empty())
      fields.fail(field_error("tools",
                              "`tools` must not be an empty array. Either provide at least one "
                              "tool or omit the field entirely."));
    for (size_t i = 0; i < list->size(); ++i) fields.fail(check_tool((*list)[i], i));
    tools = *list;
  }
  if (!fields.status().ok()) return {};
  StatusOr<ToolChoice> choice = parse_choice(fields.get("tool_choice"), tools);
  if (!choice.ok()) {
    fields.fail(choice.status());
    return {};
  }
  fields.read("parallel_tool_calls", choice->parallel);
  return *choice;
}

StatusOr<std::string> call_schema(const ToolChoice& choice, const std::vector<Value>& tools) {
  Definitions definitions;
  Value::List calls;
  for (const Value& tool : tools) {
    if (choice.kind == ToolChoice::Kind::kNamed && name_of(tool) != choice.function) continue;
    ASSIGN_OR_RETURN(Value parameters, parameters_of(tool, definitions));
    if (choice.kind == ToolChoice::Kind::kNamed) {
      definitions.move_to(parameters);
      return to_json(parameters);
    }
    const Value name(Value::Dict{{"type", "string"}, {"enum", Value::List{name_of(tool)}}});
    calls.push_back(Value::Dict{
        {"type", "object"},
        {"properties", Value::Dict{{"name", name}, {"parameters", std::move(parameters)}}},
        {"required", Value::List{"name", "parameters"}},
        {"additionalProperties", false}});
  }
  Value list(Value::Dict{{"type", "array"}, {"minItems", 1}});
  if (!choice.parallel) list.set("maxItems", 1);
  list.set("items", Value::Dict{{"anyOf", std::move(calls)}});
  definitions.move_to(list);
  return to_json(list);
}

}  // namespace octavo::serve
