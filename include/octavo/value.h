// Value: the dynamic data that a user may hand over and that we do not interpret ourselves: chat
// messages, tool descriptions, template arguments. It is JSON's data model with ordered objects and
// exact integers. A plain value type; any thread may use its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "octavo/status.h"

namespace octavo {

class Value {
 public:
  using List = std::vector<Value>;
  using Dict = std::vector<std::pair<std::string, Value>>;  // in the order written; keys are unique

  Value() = default;                                    // null
  Value(std::nullptr_t) {}                              // NOLINT(google-explicit-constructor)
  Value(bool v) : data_(v) {}                           // NOLINT(google-explicit-constructor)
  Value(int v) : data_(static_cast<int64_t>(v)) {}      // NOLINT(google-explicit-constructor)
  Value(int64_t v) : data_(v) {}                        // NOLINT(google-explicit-constructor)
  Value(double v) : data_(v) {}                         // NOLINT(google-explicit-constructor)
  Value(const char* v) : data_(std::string(v)) {}       // NOLINT(google-explicit-constructor)
  Value(std::string v) : data_(std::move(v)) {}         // NOLINT(google-explicit-constructor)
  Value(std::string_view v) : data_(std::string(v)) {}  // NOLINT(google-explicit-constructor)
  Value(List v) : data_(std::move(v)) {}                // NOLINT(google-explicit-constructor)
  Value(Dict v) : data_(std::move(v)) {}                // NOLINT(google-explicit-constructor)

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_double() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_int() || is_double(); }
  bool is_string() const { return std::holds_alternative<std::string>(data_); }
  bool is_list() const { return std::holds_alternative<List>(data_); }
  bool is_dict() const { return std::holds_alternative<Dict>(data_); }

  // REQUIRES: the kind asked for (as_double also takes an integer).
  bool as_bool() const { return std::get<bool>(data_); }
  int64_t as_int() const { return std::get<int64_t>(data_); }
  double as_double() const {
    return is_int() ? static_cast<double>(as_int()) : std::get<double>(data_);
  }
  const std::string& as_string() const { return std::get<std::string>(data_); }
  std::string& as_string() { return std::get<std::string>(data_); }
  const List& as_list() const { return std::get<List>(data_); }
  List& as_list() { return std::get<List>(data_); }
  const Dict& as_dict() const { return std::get<Dict>(data_); }
  Dict& as_dict() { return std::get<Dict>(data_); }

  // The member `key` of a dict, or null if this is no dict or has no such member.
  const Value* find(std::string_view key) const;
  Value* find(std::string_view key);
  // Sets member `key` of a dict, replacing one of that name. REQUIRES: is_dict().
  void set(std::string_view key, Value value);

  // "null", "boolean", "integer", "number", "string", "array", "object": JSON schema's words.
  std::string_view type_name() const;

  friend bool operator==(const Value&, const Value&) = default;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, List, Dict> data_;
};

// Parses one JSON text. A number without fraction or exponent that fits int64 becomes an integer,
// others doubles. Refused with the byte offset: anything RFC 8259 refuses, invalid UTF-8, numbers
// beyond a double's range, duplicate keys are merged (last wins), nesting deeper than `max_depth`.
StatusOr<Value> parse_json(std::string_view text, int max_depth = 128);

// Compact JSON, UTF-8 kept as it stands, keys in order.
std::string to_json(const Value& value);

}  // namespace octavo
