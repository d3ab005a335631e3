// Schemas that must hold at once become one; options of which only one may hold are shown to
// exclude each other.
#include <algorithm>

#include "base/status_macros.h"
#include "text/grammar/json_schema_walker.h"

namespace octavo::text {
namespace {

constexpr int kMaxDepth = 32;

bool is_closed(const Value& schema) {
  const Value* more = schema.find("additionalProperties");
  return more != nullptr && !(more->is_bool() && more->as_bool());
}

bool declares_all(const Value& schema, const Value& other) {
  const Value* properties = other.find("properties");
  if (properties == nullptr || !properties->is_dict()) return true;
  const Value* own = schema.find("properties");
  return std::all_of(
      properties->as_dict().begin(), properties->as_dict().end(),
      [&](const auto& member) { return own != nullptr && own->find(member.first) != nullptr; });
}

// The values that a schema is made of, or null.
const Value* finite_values(const Value& schema, Value& storage) {
  if (const Value* values = schema.find("enum"); values != nullptr && values->is_list())
    return values;
  if (const Value* value = schema.find("const")) {
    storage = Value::List{*value};
    return &storage;
  }
  return nullptr;
}

bool requires_key(const Value& schema, const std::string& key) {
  const Value* required = schema.find("required");
  if (required == nullptr || !required->is_list()) return false;
  const Value::List& names = required->as_list();
  return std::find(names.begin(), names.end(), Value(key)) != names.end();
}

bool types_exclude(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const auto numeric = [](const std::string& t) { return t == "integer" ? "number" : t; };
  if (a.empty() || b.empty()) return false;
  return std::none_of(a.begin(), a.end(), [&](const std::string& x) {
    return std::any_of(b.begin(), b.end(),
                       [&](const std::string& y) { return numeric(x) == numeric(y); });
  });
}

}  // namespace

// allOf, and $ref with something beside it: all of it in one schema.
Status SchemaWalker::merge_all_of(Value& schema, const std::string& at) {
  const Value* all = schema.find("allOf");
  const bool reference = schema.find("$ref") != nullptr;
  if (all == nullptr && (!reference || resolve(schema) != nullptr)) return ok_status();
  if (all != nullptr && (!all->is_list() || all->as_list().empty()))
    return refuse("allOf", at, "must be a list of at least one schema");
  Value::Dict kept;  // what others refer to stays where it is
  for (const char* container : {"$defs", "definitions"}) {
    if (const Value* schemas = schema.find(container)) kept.emplace_back(container, *schemas);
  }
  ASSIGN_OR_RETURN(Value merged, merge(Value(Value::Dict{}), schema, at, 0));
  for (auto& [container, schemas] : kept) merged.set(container, std::move(schemas));
  schema = std::move(merged);
  return ok_status();
}

// A schema that accepts what both accept. References are followed one step, so those of recursive
// schemas end.
StatusOr<Value> SchemaWalker::merge(const Value& a, const Value& b, const std::string& at,
                                    int depth) {
  if (--work_left_ < 0 || depth > kMaxDepth) return refuse("allOf", at, "is nested too deeply");
  if (b.is_bool() && b.as_bool()) return a;
  if (a.is_bool() && a.as_bool()) return b;
  if (!a.is_dict() || !b.is_dict()) return refuse("allOf", at, "leaves nothing to accept");
  Value out = a;
  for (const auto& [key, value] : b.as_dict()) {
    if (key == "allOf") {
      if (!value.is_list()) return refuse("allOf", at, "must be a list");
      for (const Value& part : value.as_list()) {
        ASSIGN_OR_RETURN(out, merge(out, part, at, depth + 1));
      }
    } else if (key == "$ref") {
      const Value* target = value.is_string() ? find_pointer(value.as_string()) : nullptr;
      if (target == nullptr) return refuse("$ref", at, "leads nowhere within the schema");
      const Value copy = *target;
      ASSIGN_OR_RETURN(out, merge(out, copy, at, depth + 1));
    } else if (key == "properties" || key == "additionalProperties") {
      continue;  // together, below
    } else {
      RETURN_IF_ERROR(merge_keyword(out, key, value, at));
    }
  }
  // Keys that one part declares and another forbids, or describes as additional.
  if ((is_closed(out) && !declares_all(out, b)) || (is_closed(b) && !declares_all(b, out)))
    return refuse("additionalProperties", at,
                  "together with properties from another part of `allOf` is not enforced");
  for (const char* key : {"properties", "additionalProperties"}) {
    if (const Value* value = b.find(key)) RETURN_IF_ERROR(merge_keyword(out, key, *value, at));
  }
  return out;
}

Status SchemaWalker::merge_keyword(Value& into, const std::string& key, const Value& value,
                                   const std::string& at) {
  Value* const mine = into.find(key);
  if (mine == nullptr) {
    into.set(key, value);
    return ok_status();
  }
  if (*mine == value || family_of(key) == KeywordFamily::kNone) return ok_status();
  const auto both = [&] { return Value(Value::Dict{{"allOf", Value::List{*mine, value}}}); };
  if (key == "properties" && mine->is_dict() && value.is_dict()) {
    for (const auto& [name, schema] : value.as_dict()) {
      const Value* other = mine->find(name);
      if (other == nullptr || *other == schema) {
        mine->set(name, schema);
      } else {
        mine->set(name, Value(Value::Dict{{"allOf", Value::List{*other, schema}}}));
      }
    }
    return ok_status();
  }
  if (key == "required" && mine->is_list() && value.is_list()) {
    for (const Value& name : value.as_list()) {
      const Value::List& names = mine->as_list();
      if (std::find(names.begin(), names.end(), name) == names.end())
        mine->as_list().push_back(name);
    }
    return ok_status();
  }
  if (key == "items" || key == "additionalProperties") {
    if (mine->is_dict() && value.is_dict()) {
      *mine = both();
      return ok_status();
    }
  }
  if (key == "type") {
    Value::List common;
    for (const std::string& x : types_of(into)) {
      for (const std::string& y : types_of(Value(Value::Dict{{"type", value}}))) {
        if (x == y || (x == "integer" && y == "number")) common.emplace_back(x);
        if (x == "number" && y == "integer") common.emplace_back(y);
      }
    }
    if (common.empty()) return refuse("type", at, "leaves nothing to accept");
    *mine = common.size() == 1 ? common[0] : Value(std::move(common));
    return ok_status();
  }
  const bool at_least = key == "minimum" || key == "exclusiveMinimum" || key.starts_with("min");
  const bool at_most = key == "maximum" || key == "exclusiveMaximum" || key.starts_with("max");
  if ((at_least || at_most) && mine->is_number() && value.is_number()) {
    if ((value.as_double() > mine->as_double()) == at_least) *mine = value;
    return ok_status();
  }
  if (key == "enum" && mine->is_list() && value.is_list()) {
    std::erase_if(mine->as_list(), [&](const Value& v) {
      return std::find(value.as_list().begin(), value.as_list().end(), v) == value.as_list().end();
    });
    return ok_status();
  }
  return refuse(key, at, "twice, in parts that must hold at once, is not enforced");
}

// Whether no value fits both: by type, by listed values, or by a key that both require and whose
// values differ (a discriminated union).
bool SchemaWalker::exclusive(const Value& given_a, const Value& given_b) {
  const Value* a = resolve(given_a);
  const Value* b = resolve(given_b);
  if (a == nullptr || b == nullptr || !a->is_dict() || !b->is_dict()) return false;
  if (types_exclude(types_of(*a), types_of(*b))) return true;
  const auto values_exclude = [](const Value& x, const Value& y) {
    Value storage_x, storage_y;
    const Value* xs = finite_values(x, storage_x);
    const Value* ys = finite_values(y, storage_y);
    const auto among = [](const Value& list, const Value& v) {
      return std::find(list.as_list().begin(), list.as_list().end(), v) != list.as_list().end();
    };
    if (xs != nullptr && ys != nullptr) {
      return std::none_of(xs->as_list().begin(), xs->as_list().end(),
                          [&](const Value& v) { return among(*ys, v); });
    }
    const Value* listed = xs != nullptr ? xs : ys;
    const std::vector<std::string> types = types_of(xs != nullptr ? y : x);
    return listed != nullptr && !types.empty() &&
           std::none_of(listed->as_list().begin(), listed->as_list().end(), [&](const Value& v) {
             return std::any_of(types.begin(), types.end(),
                                [&](const std::string& t) { return value_has_type(v, t); });
           });
  };
  if (values_exclude(*a, *b)) return true;
  const Value* properties = a->find("properties");
  const Value* others = b->find("properties");
  if (properties == nullptr || others == nullptr || !properties->is_dict()) return false;
  const auto objects_only = [](const Value& schema) {
    const auto types = types_of(schema);
    return types.size() == 1 && types[0] == "object";
  };
  if (!objects_only(*a) || !objects_only(*b)) return false;
  return std::any_of(properties->as_dict().begin(), properties->as_dict().end(),
                     [&](const auto& member) {
                       const auto& [key, schema] = member;
                       const Value* other = others->find(key);
                       return other != nullptr && requires_key(*a, key) && requires_key(*b, key) &&
                              values_exclude(schema, *other);
                     });
}

Status SchemaWalker::check_exclusive(const Value& options, const std::string& at) {
  if (!options.is_list()) return refuse("oneOf", at, "must be a list");
  const Value::List& list = options.as_list();
  for (size_t i = 0; i < list.size(); ++i) {
    for (size_t j = i + 1; j < list.size(); ++j) {
      if (--work_left_ < 0) return invalid_argument("the schema is too large");
      if (!exclusive(list[i], list[j])) {
        return refuse("oneOf", at,
                      "is enforced where its options exclude each other by type or by a required "
                      "constant; use `anyOf`");
      }
    }
  }
  return ok_status();
}

}  // namespace octavo::text
