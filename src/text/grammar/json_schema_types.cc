// The keywords of each type: what xgrammar enforces of them, and what is rewritten so that it does.
#include <algorithm>

#include "base/status_macros.h"
#include "text/grammar/grammar_source.h"
#include "text/grammar/json_formats.h"
#include "text/grammar/json_pattern.h"
#include "text/grammar/json_schema_walker.h"
#include "text/grammar/schema_rules.h"

namespace octavo::text {
namespace {

constexpr int64_t kMaxCount = 1'000'000'000;
constexpr int64_t kMaxMultipleOf = 1024;  // xgrammar makes a rule of every remainder
constexpr int kMaxMultiples = 10000;      // and of a bounded range a list

// A count such as minItems: absent, or a whole number within bounds.
StatusOr<int64_t> read_count(const Value& schema, const char* keyword, int64_t absent,
                             const std::string& at) {
  const Value* value = schema.find(keyword);
  if (value == nullptr) return absent;
  if (!value->is_int() || value->as_int() < 0)
    return invalid_argument("`" + std::string(keyword) + "` at " + at +
                            " must be a non-negative integer");
  return std::min(value->as_int(), kMaxCount);
}

bool is_true(const Value* value) {
  return value != nullptr && value->is_bool() && value->as_bool();
}
bool is_false(const Value* value) {
  return value != nullptr && value->is_bool() && !value->as_bool();
}

}  // namespace

Status SchemaWalker::check_type(Value& schema, std::string_view type, const std::string& at) {
  if (type == "integer" || type == "number") return check_number(schema, type == "integer", at);
  if (type == "string") return check_string(schema, at);
  if (type == "array") return check_array(schema, at);
  if (type == "object") return check_object(schema, at);
  return ok_status();
}

Status SchemaWalker::check_number(Value& schema, bool integer, const std::string& at) {
  for (const char* keyword :
       {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}) {
    Value* value = schema.find(keyword);
    if (value == nullptr) continue;
    if (!value->is_number()) return refuse(keyword, at, "must be a number");
    if (!integer || value->is_int()) continue;
    // An integer is at least 2.5 exactly if it is at least 3.
    const double bound = value->as_double();
    if (std::string_view(keyword) == "multipleOf" || bound < -9e15 || bound > 9e15)
      return refuse(keyword, at, "of an integer must be an integer within 2^53");
    auto floor = static_cast<int64_t>(bound);
    if (static_cast<double>(floor) > bound) --floor;
    const bool lower =
        std::string_view(keyword) == "minimum" || std::string_view(keyword) == "exclusiveMaximum";
    *value = lower ? floor + 1 : floor;
  }
  const Value* step = schema.find("multipleOf");
  if (step == nullptr) return ok_status();
  if (!integer) return refuse("multipleOf", at, "is enforced of integers alone");
  const Value* low = schema.find("minimum");
  const Value* high = schema.find("maximum");
  const bool bounded = low != nullptr || high != nullptr ||
                       schema.find("exclusiveMinimum") != nullptr ||
                       schema.find("exclusiveMaximum") != nullptr;
  if (step->as_int() < 1 || step->as_int() > kMaxMultipleOf)
    return refuse("multipleOf", at, "is enforced from 1 to " + std::to_string(kMaxMultipleOf));
  if (bounded && (low == nullptr || high == nullptr ||
                  high->as_double() - low->as_double() >= kMaxMultiples)) {
    return refuse(
        "multipleOf", at,
        "is enforced without bounds, or with `minimum` and `maximum` that are less than " +
            std::to_string(kMaxMultiples) + " apart");
  }
  return ok_status();
}

// Of pattern, format and the two lengths xgrammar enforces one kind; a format becomes a pattern.
Status SchemaWalker::check_string(Value& schema, const std::string& at) {
  ASSIGN_OR_RETURN(const int64_t least, read_count(schema, "minLength", 0, at));
  ASSIGN_OR_RETURN(const int64_t most, read_count(schema, "maxLength", kMaxCount, at));
  if (least > most) return refuse("minLength", at, "exceeds `maxLength`");
  erase_member(schema, "minLength");
  erase_member(schema, "maxLength");
  if (const Value* pattern = schema.find("pattern")) {
    if (!pattern->is_string()) return refuse("pattern", at, "must be a string");
    erase_member(schema, "format");  // an annotation, where a pattern says what is meant
    RETURN_IF_ERROR(check_pattern(schema, at));
    Value& prepared = *schema.find("pattern");
    prepared = bound_repeated_class(prepared.as_string(), least, most);
    if (least > 0 || most < kMaxCount) {
      const PatternLengths lengths = lengths_of_pattern(prepared.as_string());
      if (least > lengths.least) return refuse("minLength", at, "beside `pattern` is not enforced");
      if (lengths.most < 0 || most < lengths.most)
        return refuse("maxLength", at, "beside `pattern` is not enforced");
    }
    return ok_status();
  }
  if (const Value* name = schema.find("format")) {
    if (!name->is_string()) return refuse("format", at, "must be a string");
    const JsonFormat format = find_json_format(name->as_string());
    if (format.kind == JsonFormat::Kind::kUnknown)
      return refuse("format", at, "\"" + name->as_string() + "\" is not enforced");
    erase_member(schema, "format");
    if (format.kind == JsonFormat::Kind::kPattern) {
      if (least > format.min_length)
        return refuse("minLength", at, "beside `format` is not enforced");
      if (format.max_length < 0 ? most < kMaxCount : most < format.max_length)
        return refuse("maxLength", at, "beside `format` is not enforced");
      schema.set("pattern", "^(" + std::string(format.pattern) + ")$");
      return ok_status();
    }
  }
  if (least > 0 || most < kMaxCount)
    schema.set("pattern", length_pattern(least, most < kMaxCount ? most : -1));
  return ok_status();
}

Status SchemaWalker::check_pattern(Value& schema, const std::string& at) {
  Value& pattern = *schema.find("pattern");
  if (const std::string_view known = without_lookaround(pattern.as_string()); !known.empty())
    pattern = known;
  StatusOr<std::string> prepared = prepare_regex(pattern.as_string());
  if (!prepared.ok()) return prepared.status().with_context("`pattern` at " + at);
  pattern = std::move(*prepared);
  const std::string objection = objection_to_json_pattern(pattern.as_string());
  if (!objection.empty()) return refuse("pattern", at, "cannot be enforced: " + objection);
  return ok_status();
}

Status SchemaWalker::check_array(Value& schema, const std::string& at) {
  if (is_false(schema.find("uniqueItems"))) erase_member(schema, "uniqueItems");
  if (schema.find("contains") == nullptr) {
    erase_member(schema, "minContains");  // void alone, and a bound to xgrammar
    erase_member(schema, "maxContains");
  }
  for (const char* keyword : {"uniqueItems", "contains"}) {
    if (schema.find(keyword) != nullptr) return refuse(keyword, at, "is not enforced");
  }
  // Drafts before 2020-12 write tuples as a list of items.
  if (const Value* items = schema.find("items"); items != nullptr && items->is_list()) {
    schema.set("prefixItems", Value(*items));
    erase_member(schema, "items");
    if (const Value* more = schema.find("additionalItems")) schema.set("items", Value(*more));
  }
  erase_member(schema, "additionalItems");
  if (schema.find("items") == nullptr && schema.find("unevaluatedItems") != nullptr)
    schema.set("items", Value(*schema.find("unevaluatedItems")));
  erase_member(schema, "unevaluatedItems");
  const Value* prefix = schema.find("prefixItems");
  if (prefix != nullptr && !prefix->is_list()) return refuse("prefixItems", at, "must be a list");
  const auto prefix_size = static_cast<int64_t>(prefix != nullptr ? prefix->as_list().size() : 0);
  ASSIGN_OR_RETURN(const int64_t least, read_count(schema, "minItems", 0, at));
  ASSIGN_OR_RETURN(const int64_t most, read_count(schema, "maxItems", kMaxCount, at));
  if (least > most) return refuse("minItems", at, "exceeds `maxItems`");
  if (most < prefix_size) {
    Value::List kept = prefix->as_list();
    kept.resize(static_cast<size_t>(most));
    schema.set("prefixItems", std::move(kept));
  }
  if (schema.find("items") == nullptr && (prefix_size == 0 || least > prefix_size))
    schema.set("items", true);
  if (Value* items = schema.find("items"); items != nullptr && !is_false(items))
    RETURN_IF_ERROR(walk(*items, at + "/items"));
  if (Value* items = schema.find("prefixItems"))
    RETURN_IF_ERROR(walk_list(*items, at + "/prefixItems"));
  return ok_status();
}

Status SchemaWalker::check_object(Value& schema, const std::string& at) {
  for (const char* keyword : {"dependentRequired", "dependentSchemas", "dependencies"}) {
    if (schema.find(keyword) != nullptr) return refuse(keyword, at, "is not enforced");
  }
  if (schema.find("additionalProperties") == nullptr &&
      schema.find("unevaluatedProperties") != nullptr) {
    schema.set("additionalProperties", Value(*schema.find("unevaluatedProperties")));
  }
  erase_member(schema, "unevaluatedProperties");
  for (const char* keyword : {"properties", "patternProperties"}) {
    const Value* members = schema.find(keyword);
    if (members == nullptr) continue;
    if (!members->is_dict()) return refuse(keyword, at, "must be an object");
    if (members->as_dict().empty()) erase_member(schema, keyword);
  }
  RETURN_IF_ERROR(check_keys(schema, at));
  // An object of which nothing is said may hold anything.
  if (schema.find("properties") == nullptr && schema.find("patternProperties") == nullptr &&
      schema.find("additionalProperties") == nullptr) {
    schema.set("additionalProperties", true);
  }
  const Value* more = schema.find("additionalProperties");
  const bool open = more != nullptr && !is_false(more);
  ASSIGN_OR_RETURN(const int64_t least, read_count(schema, "minProperties", 0, at));
  ASSIGN_OR_RETURN(const int64_t most, read_count(schema, "maxProperties", kMaxCount, at));
  if (least > most) return refuse("minProperties", at, "exceeds `maxProperties`");
  if (least > 1 && (open || schema.find("patternProperties") != nullptr))
    return refuse("minProperties", at, "above 1 is enforced of declared properties alone");
  if (most == kMaxCount) erase_member(schema, "maxProperties");

  for (const char* keyword : {"properties", "patternProperties"}) {
    Value* members = schema.find(keyword);
    if (members == nullptr) continue;
    for (auto& [key, member] : members->as_dict())
      RETURN_IF_ERROR(walk(member, at + "/" + keyword + "/" + key));
  }
  for (const char* keyword : {"additionalProperties", "propertyNames"}) {
    Value* member = schema.find(keyword);
    if (member != nullptr && member->is_dict()) RETURN_IF_ERROR(walk(*member, at + "/" + keyword));
  }
  return ok_status();
}

// Which keys there may be, and must be.
Status SchemaWalker::check_keys(Value& schema, const std::string& at) {
  const Value value_schema =
      schema.find("additionalProperties") != nullptr ? *schema.find("additionalProperties") : true;
  if (const Value* names = schema.find("propertyNames")) {
    const Value* resolved = resolve(*names);
    if (resolved != nullptr && resolved->is_dict() && resolved->find("enum") != nullptr &&
        schema.find("properties") == nullptr && schema.find("patternProperties") == nullptr) {
      // A closed set of keys: declare them.
      Value::Dict properties;
      const Value keys = *resolved->find("enum");
      if (keys.is_list()) {
        for (const Value& key : keys.as_list()) {
          if (key.is_string()) properties.emplace_back(key.as_string(), value_schema);
        }
      }
      erase_member(schema, "propertyNames");
      schema.set("properties", std::move(properties));
      schema.set("additionalProperties", false);
    } else if (is_true(names) ||
               (names->is_dict() && types_of(*names).size() == 1 && names->as_dict().size() == 1 &&
                types_of(*names)[0] == "string")) {
      erase_member(schema, "propertyNames");
    } else if (schema.find("properties") != nullptr ||
               schema.find("patternProperties") != nullptr) {
      return refuse("propertyNames", at, "beside `properties` is not enforced");
    }
  }
  if (const Value* patterns = schema.find("patternProperties")) {
    if (patterns->as_dict().size() > 1)
      return refuse("patternProperties", at, "is enforced of one pattern alone");
    if (schema.find("properties") != nullptr)
      return refuse("patternProperties", at, "beside `properties` is not enforced");
    Value key = Value::Dict{{"pattern", patterns->as_dict()[0].first}};
    RETURN_IF_ERROR(check_pattern(key, at + "/patternProperties"));
    Value::Dict prepared{{key.find("pattern")->as_string(), patterns->as_dict()[0].second}};
    schema.set("patternProperties", std::move(prepared));
    erase_member(schema, "additionalProperties");
  }
  const Value* required = schema.find("required");
  if (required == nullptr) return ok_status();
  if (!required->is_list()) return refuse("required", at, "must be a list of strings");
  for (const Value& name : Value::List(required->as_list())) {
    if (!name.is_string()) return refuse("required", at, "must be a list of strings");
    Value* properties = schema.find("properties");
    if (properties != nullptr && properties->find(name.as_string()) != nullptr) continue;
    // A key that must be there and is not declared is an additional one.
    if (schema.find("propertyNames") != nullptr || schema.find("patternProperties") != nullptr)
      return refuse("required", at, "of keys that are not declared is not enforced");
    if (is_false(&value_schema))
      return refuse("required", at, "names \"" + name.as_string() + "\", which may not be there");
    if (properties == nullptr) {
      schema.set("additionalProperties", value_schema);
      schema.set("properties", Value(Value::Dict{}));
      properties = schema.find("properties");
    }
    properties->set(name.as_string(), value_schema);
  }
  return ok_status();
}

}  // namespace octavo::text
