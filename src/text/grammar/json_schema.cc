#include "text/grammar/json_schema.h"

#include <algorithm>
#include <array>

#include "base/status_macros.h"
#include "text/grammar/json_schema_walker.h"

namespace octavo::text {
namespace {

struct Keyword {
  std::string_view name;
  KeywordFamily family;
};

constexpr auto kAny = KeywordFamily::kAny;
constexpr auto kNumber = KeywordFamily::kNumber;
constexpr auto kString = KeywordFamily::kString;
constexpr auto kArray = KeywordFamily::kArray;
constexpr auto kObject = KeywordFamily::kObject;

constexpr Keyword kKeywords[] = {
    {"$ref", kAny},
    {"$dynamicRef", kAny},
    {"$recursiveRef", kAny},
    {"type", kAny},
    {"enum", kAny},
    {"const", kAny},
    {"anyOf", kAny},
    {"oneOf", kAny},
    {"allOf", kAny},
    {"not", kAny},
    {"if", kAny},
    {"then", kAny},
    {"else", kAny},
    {"minimum", kNumber},
    {"maximum", kNumber},
    {"exclusiveMinimum", kNumber},
    {"exclusiveMaximum", kNumber},
    {"multipleOf", kNumber},
    {"minLength", kString},
    {"maxLength", kString},
    {"pattern", kString},
    {"format", kString},
    {"items", kArray},
    {"prefixItems", kArray},
    {"additionalItems", kArray},
    {"unevaluatedItems", kArray},
    {"minItems", kArray},
    {"maxItems", kArray},
    {"uniqueItems", kArray},
    {"contains", kArray},
    {"minContains", kArray},
    {"maxContains", kArray},
    {"properties", kObject},
    {"required", kObject},
    {"additionalProperties", kObject},
    {"unevaluatedProperties", kObject},
    {"patternProperties", kObject},
    {"propertyNames", kObject},
    {"minProperties", kObject},
    {"maxProperties", kObject},
    {"dependentRequired", kObject},
    {"dependentSchemas", kObject},
    {"dependencies", kObject},
};

constexpr std::string_view kTypes[] = {"null",   "boolean", "object", "array",
                                       "number", "string",  "integer"};

// Whole numbers written as 5.0 are integers to JSON Schema, and not to xgrammar.
void settle_numbers(Value& value) {
  if (value.is_double()) {
    const double number = value.as_double();
    if (number >= -9e15 && number <= 9e15 &&
        number == static_cast<double>(static_cast<int64_t>(number)))
      value = static_cast<int64_t>(number);
  } else if (value.is_list()) {
    for (Value& item : value.as_list()) settle_numbers(item);
  } else if (value.is_dict()) {
    for (auto& [key, item] : value.as_dict()) settle_numbers(item);
  }
}

constexpr std::string_view kLowered = "octavo_root";

// Points all references to the root, and into it, to where lower_root() has put it.
void rebase(Value& value) {
  if (value.is_list()) {
    for (Value& item : value.as_list()) rebase(item);
  } else if (value.is_dict()) {
    for (auto& [key, member] : value.as_dict()) {
      if (key != "$ref" || !member.is_string()) {
        rebase(member);
        continue;
      }
      std::string& pointer = member.as_string();
      if (pointer.starts_with("#/$defs/") || pointer.starts_with("#/definitions/")) continue;
      pointer.insert(1, "/$defs/" + std::string(kLowered));
    }
  }
}

// The first member that constrains and is none of `allowed`; empty: there is none.
std::string other_constraint(const Value& schema, std::initializer_list<std::string_view> allowed) {
  for (const auto& [key, value] : schema.as_dict()) {
    if (family_of(key) == KeywordFamily::kNone) continue;
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end()) return key;
  }
  return {};
}

}  // namespace

KeywordFamily family_of(std::string_view keyword) {
  const auto* const found = std::find_if(std::begin(kKeywords), std::end(kKeywords),
                                         [&](const Keyword& k) { return k.name == keyword; });
  return found == std::end(kKeywords) ? KeywordFamily::kNone : found->family;
}

std::vector<std::string> types_of(const Value& schema) {
  const Value* type = schema.find("type");
  std::vector<std::string> types;
  if (type != nullptr && type->is_string()) types.push_back(type->as_string());
  if (type != nullptr && type->is_list()) {
    for (const Value& name : type->as_list()) {
      if (name.is_string()) types.push_back(name.as_string());
    }
  }
  return types;
}

bool value_has_type(const Value& value, std::string_view type) {
  return value.type_name() == type || (type == "number" && value.is_int());
}

void erase_member(Value& dict, std::string_view key) {
  std::erase_if(dict.as_dict(), [&](const auto& member) { return member.first == key; });
}

Status SchemaWalker::refuse(const std::string& keyword, const std::string& at,
                            const std::string& why) const {
  return invalid_argument("`" + keyword + "` at " + at + " " + why);
}

Status SchemaWalker::run() {
  settle_numbers(root_);
  RETURN_IF_ERROR(walk(root_, "#"));
  RETURN_IF_ERROR(follow_references());
  if (refers_to_root_) lower_root();
  return ok_status();
}

// xgrammar lets no token reach beyond the end of its root rule, not even where that rule stands
// within itself. So a schema that refers to itself becomes one of its own definitions.
void SchemaWalker::lower_root() {
  Value lowered = std::move(root_);
  root_ = Value(Value::Dict{});
  for (const char* container : {"$defs", "definitions"}) {
    const Value* schemas = lowered.find(container);
    root_.set(container, schemas != nullptr ? *schemas : Value(Value::Dict{}));
    erase_member(lowered, container);
  }
  root_.find("$defs")->set(kLowered, std::move(lowered));
  rebase(root_);
  root_.set("$ref", "#/$defs/" + std::string(kLowered));
}

Status SchemaWalker::follow_references() {
  while (!referenced_.empty()) {
    const std::string pointer = std::move(referenced_.back());
    referenced_.pop_back();
    if (walked_.contains(pointer)) continue;
    Value* const target = find_pointer(pointer);
    if (target == nullptr) return refuse("$ref", pointer, "leads nowhere within the schema");
    RETURN_IF_ERROR(walk(*target, pointer));
  }
  return ok_status();
}

// xgrammar takes the parts of a pointer as they stand, so one with escapes is not found.
Value* SchemaWalker::find_pointer(std::string_view pointer) {
  Value* at = &root_;
  if (pointer == "#") return at;
  if (!pointer.starts_with("#/")) return nullptr;
  pointer.remove_prefix(2);
  while (at != nullptr) {
    const size_t slash = pointer.find('/');
    at = at->find(pointer.substr(0, slash));
    if (slash == std::string_view::npos) break;
    pointer.remove_prefix(slash + 1);
  }
  return at;
}

const Value* SchemaWalker::resolve(const Value& schema) {
  const Value* at = &schema;
  for (int hops = 0; hops < 32; ++hops) {
    const Value* reference = at->find("$ref");
    if (reference == nullptr) return at;
    if (!reference->is_string() || !other_constraint(*at, {"$ref"}).empty()) return nullptr;
    at = find_pointer(reference->as_string());
    if (at == nullptr) return nullptr;
  }
  return nullptr;
}

// `at` is the JSON pointer of `schema`.
Status SchemaWalker::walk(Value& schema, const std::string& at) {
  if (!walked_.insert(at).second) return ok_status();
  if (--work_left_ < 0) return invalid_argument("the schema is too large");
  if (schema.is_bool() && schema.as_bool()) {
    schema = Value(Value::Dict{});
    return ok_status();
  }
  if (schema.is_bool()) return invalid_argument("the schema `false` at " + at + " accepts nothing");
  if (!schema.is_dict())
    return invalid_argument("a schema must be an object or a boolean, at " + at);

  for (const char* keyword : {"not", "if", "$dynamicRef", "$recursiveRef"}) {
    if (schema.find(keyword) != nullptr) return refuse(keyword, at, "is not enforced");
  }
  for (const char* keyword : {"then", "else"}) erase_member(schema, keyword);  // void without `if`
  RETURN_IF_ERROR(merge_all_of(schema, at));

  if (const Value* reference = schema.find("$ref")) {
    if (!reference->is_string()) return refuse("$ref", at, "must be a string");
    const std::string& pointer = reference->as_string();
    if (find_pointer(pointer) == nullptr)
      return refuse("$ref", at, "to \"" + pointer + "\" leads nowhere within the schema");
    referenced_.push_back(pointer);
    refers_to_root_ |= pointer == "#";
    return ok_status();
  }
  if (schema.find("const") != nullptr || schema.find("enum") != nullptr)
    return check_values(schema, at);
  if (schema.find("oneOf") != nullptr) {
    if (schema.find("anyOf") != nullptr)
      return refuse("oneOf", at, "beside `anyOf` is not enforced");
    RETURN_IF_ERROR(check_exclusive(*schema.find("oneOf"), at));
    return walk_options(schema, "oneOf", at);
  }
  if (schema.find("anyOf") != nullptr) return walk_options(schema, "anyOf", at);
  return walk_children(schema, at);
}

// A list of values to choose from: those that the other keywords rule out are left out.
Status SchemaWalker::check_values(Value& schema, const std::string& at) {
  const std::string other = other_constraint(schema, {"const", "enum", "type"});
  if (!other.empty()) return refuse(other, at, "beside `enum` or `const` is not enforced");
  Value::List values;
  if (const Value* list = schema.find("enum")) {
    if (!list->is_list()) return refuse("enum", at, "must be a list");
    values = list->as_list();
  } else {
    values.push_back(*schema.find("const"));
  }
  const std::vector<std::string> types = types_of(schema);
  const Value* const only = schema.find("const");
  std::erase_if(values, [&](const Value& value) {
    const bool typed = types.empty() || std::any_of(types.begin(), types.end(), [&](const auto& t) {
                         return value_has_type(value, t);
                       });
    return !typed || (only != nullptr && !(value == *only));
  });
  if (values.empty()) return refuse("enum", at, "leaves no value to choose");
  for (const char* keyword : {"const", "enum", "type"}) erase_member(schema, keyword);
  schema.set("enum", std::move(values));
  return ok_status();
}

// anyOf, and oneOf whose options exclude each other. What stands beside them holds for every
// option, and is merged into each.
Status SchemaWalker::walk_options(Value& schema, const std::string& keyword,
                                  const std::string& at) {
  Value options = *schema.find(keyword);
  if (!options.is_list() || options.as_list().empty())
    return refuse(keyword, at, "must be a list of at least one schema");
  Value beside = schema;
  for (const char* name : {"anyOf", "oneOf", "$defs", "definitions"}) erase_member(beside, name);
  if (!other_constraint(beside, {}).empty()) {
    for (Value& option : options.as_list()) {
      ASSIGN_OR_RETURN(option, merge(beside, option, at, 0));
    }
    std::erase_if(schema.as_dict(), [](const auto& member) {
      return family_of(member.first) != KeywordFamily::kNone;
    });
  }
  // One name for both, and no trace of references into the options that were merged.
  erase_member(schema, keyword);
  schema.set("anyOf", std::move(options));
  return walk_list(*schema.find("anyOf"), at + "/anyOf");
}

Status SchemaWalker::walk_list(Value& list, const std::string& at) {
  for (size_t i = 0; i < list.as_list().size(); ++i) {
    RETURN_IF_ERROR(walk(list.as_list()[i], at + "/" + std::to_string(i)));
  }
  return ok_status();
}

// A schema of one or several types.
Status SchemaWalker::walk_children(Value& schema, const std::string& at) {
  std::vector<std::string> types = types_of(schema);
  const Value* given = schema.find("type");
  const bool well_formed =
      given == nullptr || given->is_string() ||
      (given->is_list() && !types.empty() && types.size() == given->as_list().size());
  if (!well_formed) return refuse("type", at, "must be a string or a list of strings");
  if (types.empty()) {
    // Values of other types would be valid as well; these are what the author has in mind.
    constexpr std::pair<KeywordFamily, const char*> kSpokenOf[] = {
        {kObject, "object"}, {kArray, "array"}, {kString, "string"}, {kNumber, "number"}};
    for (const auto& [family, name] : kSpokenOf) {
      for (const auto& [key, value] : schema.as_dict()) {
        if (family_of(key) != family) continue;
        types.emplace_back(name);
        break;
      }
    }
    if (types.empty()) return ok_status();
    schema.set("type", types.size() == 1 ? Value(types[0])
                                         : Value(Value::List(types.begin(), types.end())));
  }
  for (const std::string& type : types) {
    if (std::find(std::begin(kTypes), std::end(kTypes), type) == std::end(kTypes))
      return refuse("type", at, "knows no \"" + type + "\"");
    RETURN_IF_ERROR(check_type(schema, type, at));
  }
  return ok_status();
}

Status prepare_json_schema(Value& schema) {
  return SchemaWalker(schema).run();
}

}  // namespace octavo::text
