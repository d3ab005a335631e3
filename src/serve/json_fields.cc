#include "serve/json_fields.h"

#include <cmath>
#include <limits>

#include "serve/errors.h"

namespace octavo::serve {

namespace {

constexpr size_t kMaxValues = 4u << 20;  // a prompt of that many token ids fits

// At least as many as there are: each value but the first follows a comma or an opening bracket.
size_t count_values(std::string_view json) {
  size_t count = 1;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == ',' || c == '[' || c == '{') {
      ++count;
    } else if (c == '"') {
      for (++i; i < json.size() && json[i] != '"'; ++i) i += json[i] == '\\' ? 1 : 0;
    }
  }
  return count;
}

std::optional<int64_t> as_integer(const Value& value) {
  if (value.is_int()) return value.as_int();
  if (!value.is_double()) return std::nullopt;
  const double d = value.as_double();
  // 2^53: beyond it a double no longer says which integer was meant.
  if (d != std::floor(d) || std::abs(d) > 9007199254740992.0) return std::nullopt;
  return static_cast<int64_t>(d);
}

template <typename T>
std::optional<T> as_narrow(const Value& value) {
  const auto wide = as_integer(value);
  if (!wide || *wide < std::numeric_limits<T>::min() || *wide > std::numeric_limits<T>::max()) {
    return std::nullopt;
  }
  return static_cast<T>(*wide);
}

}  // namespace

std::optional<TokenId> as_token_id(const Value& value) {
  return as_narrow<TokenId>(value);
}

StatusOr<Value> parse_body(std::string_view body) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // some editors put it before UTF-8
  if (body.starts_with(kByteOrderMark)) body.remove_prefix(kByteOrderMark.size());
  // A value and what follows it are two bytes at least.
  if (body.size() / 2 > kMaxValues && count_values(body) > kMaxValues) {
    return Status(StatusCode::kTooLarge, "The JSON of the request has more than " +
                                             std::to_string(kMaxValues) + " values.");
  }
  return parse_json(body);
}

JsonFields::JsonFields(const Value& object, std::string path)
    : object_(object), path_(std::move(path)) {
  if (!object.is_dict()) {
    status_ = shape_error(
        "", "Input should be a valid dictionary, not " + std::string(object.type_name()));
  }
}

void JsonFields::fail_shape(std::string_view name, std::string_view expectation) {
  fail(shape_error(path_ + std::string(name), expectation));
}

const Value* JsonFields::get(std::string_view name) const {
  const Value* value = object_.find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void JsonFields::read(std::string_view name, bool& out) {
  const Value* value = get(name);
  if (value == nullptr) return;
  if (!value->is_bool()) return fail_shape(name, "Input should be a valid boolean");
  out = value->as_bool();
}

void JsonFields::read(std::string_view name, int& out) {
  const Value* value = get(name);
  if (value == nullptr) return;
  const auto number = as_narrow<int>(*value);
  if (!number) return fail_shape(name, "Input should be a valid integer");
  out = *number;
}

void JsonFields::read(std::string_view name, int64_t& out) {
  const Value* value = get(name);
  if (value == nullptr) return;
  const auto number = as_integer(*value);
  if (!number) return fail_shape(name, "Input should be a valid integer");
  out = *number;
}

void JsonFields::read(std::string_view name, float& out) {
  const Value* value = get(name);
  if (value == nullptr) return;
  if (!value->is_number() || !std::isfinite(static_cast<float>(value->as_double()))) {
    return fail_shape(name, "Input should be a valid number");
  }
  out = static_cast<float>(value->as_double());
}

void JsonFields::read(std::string_view name, std::string& out) {
  const Value* value = get(name);
  if (value == nullptr) return;
  if (!value->is_string()) return fail_shape(name, "Input should be a valid string");
  out = value->as_string();
}

void JsonFields::read(std::string_view name, std::vector<TokenId>& out) {
  const Value::List* values = list(name);
  if (values == nullptr) return;
  out.clear();
  out.reserve(values->size());
  for (const Value& value : *values) {
    const auto id = as_token_id(value);
    if (!id) return fail_shape(name, "Input should be a list of valid integers");
    out.push_back(*id);
  }
}

void JsonFields::read_strings(std::string_view name, std::vector<std::string>& out) {
  const Value* value = get(name);
  if (value == nullptr) return;
  if (value->is_string()) {
    out = {value->as_string()};
    return;
  }
  static constexpr std::string_view kExpected =
      "Input should be a valid string or a list of strings";
  if (!value->is_list()) return fail_shape(name, kExpected);
  out.clear();
  for (const Value& item : value->as_list()) {
    if (!item.is_string()) return fail_shape(name, kExpected);
    out.push_back(item.as_string());
  }
}

const Value::List* JsonFields::list(std::string_view name) {
  const Value* value = get(name);
  if (value == nullptr) return nullptr;
  if (value->is_list()) return &value->as_list();
  fail_shape(name, "Input should be a valid list");
  return nullptr;
}

const Value::Dict* JsonFields::dict(std::string_view name) {
  const Value* value = get(name);
  if (value == nullptr) return nullptr;
  if (value->is_dict()) return &value->as_dict();
  fail_shape(name, "Input should be a valid dictionary");
  return nullptr;
}

}  // namespace octavo::serve
