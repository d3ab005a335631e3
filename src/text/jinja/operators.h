// Python's operators on Values: truth, equality, order, arithmetic, membership, length,
// subscription. What Python refuses throws TemplateError kPython; undefined operands throw
// kUndefined.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace octavo::text::jinja {

enum class BinaryOp : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};
enum class CompareOp : uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

// type(value).__name__
std::string_view type_name(const Value& value);
// UndefinedError, or SecurityError for an attribute that the sandbox hides.
[[noreturn]] void throw_undefined(const Undefined& undefined);
inline void require_defined(const Value& value) {
  if (value.is_undefined()) throw_undefined(value.as_undefined());
}
// OverflowError: Python's integers are unbounded, ours are not.
[[noreturn]] void throw_overflow();

bool truthy(const Value& value);
bool equal(Runtime& runtime, const Value& a, const Value& b);
bool same_object(const Value& a, const Value& b);
bool less(Runtime& runtime, const Value& a, const Value& b, std::string_view operator_name = "<");
bool compare(Runtime& runtime, CompareOp op, const Value& a, const Value& b);
bool contains(Runtime& runtime, const Value& container, const Value& item);
uint64_t hash_value(Runtime& runtime, const Value& value);

Value binary(Runtime& runtime, BinaryOp op, const Value& a, const Value& b);
Value negate(const Value& value);
Value positive(const Value& value);

// len(value), or nothing where Python has none.
std::optional<int64_t> length_if_any(Runtime& runtime, const Value& value);
int64_t length(Runtime& runtime, const Value& value);

// object[start:stop:step]; kNone where left out.
Value slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
            const Value& step);
// Environment.getitem: object[key], else the attribute of that name, else undefined.
Value get_item(Runtime& runtime, const Value& object, const Value& key);
// Environment.getattr: the attribute (a method), else object[name], else undefined.
Value get_attribute(Runtime& runtime, const Value& object, std::string_view name);

// `text` with & < > " ' escaped, as markupsafe does; text that is safe already stays.
Value escape(Runtime& runtime, const Value& value);

}  // namespace octavo::text::jinja
