#include "text/parsers/typed_value.h"

#include <set>
#include <string>

namespace octavo::text {

namespace {

// The JSON types that a schema names, through anyOf and oneOf.
void add_types(const Value& schema, int depth, std::set<std::string>& types) {
  if (depth == 0) return;
  if (const Value* type = schema.find("type")) {
    if (type->is_string()) types.insert(type->as_string());
    if (type->is_list()) {
      for (const Value& one : type->as_list()) {
        if (one.is_string()) types.insert(one.as_string());
      }
    }
  }
  for (const char* key : {"anyOf", "oneOf"}) {
    const Value* choices = schema.find(key);
    if (choices == nullptr || !choices->is_list()) continue;
    for (const Value& choice : choices->as_list()) add_types(choice, depth - 1, types);
  }
}

const Value* schema_of(const Value& tools, std::string_view function, std::string_view parameter) {
  if (!tools.is_list()) return nullptr;
  for (const Value& tool : tools.as_list()) {
    const Value* described = tool.find("function");
    const Value& f = described == nullptr ? tool : *described;
    const Value* name = f.find("name");
    if (name == nullptr || !name->is_string() || name->as_string() != function) continue;
    const Value* parameters = f.find("parameters");
    const Value* properties = parameters == nullptr ? nullptr : parameters->find("properties");
    return properties == nullptr ? nullptr : properties->find(parameter);
  }
  return nullptr;
}

}  // namespace

Value typed_argument(const Value& tools, std::string_view function, std::string_view parameter,
                     std::string_view text) {
  const Value* schema = schema_of(tools, function, parameter);
  if (schema == nullptr) return Value(text);
  std::set<std::string> types;
  add_types(*schema, 8, types);
  const bool any = types.empty();
  if (types == std::set<std::string>{"string"}) return Value(text);
  const auto takes = [&](const Value& v) {
    if (v.is_string()) return false;  // a quoted text is the text with its quotes
    if (any || types.count(std::string(v.type_name())) > 0) return true;
    return v.is_number() && types.count("number") > 0;
  };
  std::string json(text);
  if (json == "None") json = "null";
  if (json == "True") json = "true";
  if (json == "False") json = "false";
  const auto value = parse_json(json);
  return value.ok() && takes(*value) ? *value : Value(text);
}

}  // namespace octavo::text
