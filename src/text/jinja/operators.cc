// Types, truth, equality, order and hashes, as Python defines them.
#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "text/jinja/code_points.h"
#include "text/jinja/printing.h"

namespace octavo::text::jinja {

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return value.is_safe() ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kDictView:
      switch (value.as_dict_view().part) {
        case DictView::Part::kKeys:
          return "dict_keys";
        case DictView::Part::kValues:
          return "dict_values";
        case DictView::Part::kItems:
          return "dict_items";
      }
      return "dict_keys";
    case Kind::kRange:
      return "range";
    case Kind::kIterator:
      return value.as_iterator().name;
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kFunction:
      return value.as_function().self.is_missing() ? "function" : "builtin_function_or_method";
    case Kind::kMacro:
      return "Macro";
    case Kind::kLoop:
      return "LoopContext";
  }
  return "object";
}

namespace {
// The name in messages of undefined members: types that are not built in come with their module.
std::string qualified_type_name(const Value& value) {
  const std::string name(type_name(value));
  if (value.is_string() && value.is_safe()) return "markupsafe." + name;
  if (value.is(Kind::kNamespace)) return "jinja2.utils." + name;
  if (value.is(Kind::kMacro) || value.is(Kind::kLoop)) return "jinja2.runtime." + name;
  return name;
}
}  // namespace

void throw_undefined(const Undefined& u) {
  std::string message(u.hint);
  if (message.empty() && u.object.is_missing()) {
    message = "'" + std::string(u.name.as_string()) + "' is undefined";
  } else if (message.empty()) {
    const std::string owner =
        u.object.is_none() ? "None" : qualified_type_name(u.object) + " object";
    if (u.name.is_string()) {
      message = "'" + owner + "' has no attribute '" + std::string(u.name.as_string()) + "'";
    } else {
      Runtime scratch({.max_text_bytes = 1 << 16, .max_arena_bytes = 1 << 20}, 0);
      message = owner + " has no element " + repr(scratch, u.name);
    }
  }
  throw TemplateError{u.is_security ? TemplateErrorKind::kSecurity : TemplateErrorKind::kUndefined,
                      std::move(message)};
}

void throw_overflow() {
  throw_python("OverflowError: an integer does not fit 64 bits");
}

namespace {

// Exact order of two numbers: -1, 0, 1, or 2 where one is not a number.
int order_numbers(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer())
    return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int();
  // A long double of 64 bits of precision holds every int64 and every double.
  const auto wide = [](const Value& v) {
    return v.is_integer() ? static_cast<long double>(v.as_int())
                          : static_cast<long double>(v.as_real());
  };
  const long double x = wide(a), y = wide(b);
  if (std::isnan(x) || std::isnan(y)) return 2;
  return x < y ? -1 : x > y;
}

bool equal_items(Runtime& runtime, std::span<const Value> a, std::span<const Value> b) {
  if (a.size() != b.size()) return false;
  const DepthGuard guard(runtime);
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_object(a[i], b[i]) && !equal(runtime, a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(Runtime& runtime, const Dict& a, const Dict& b) {
  if (a.entries().size() != b.entries().size()) return false;
  const DepthGuard guard(runtime);
  for (const Dict::Entry& entry : a.entries()) {
    const Value* other = b.find(runtime, entry.key);
    if (other == nullptr || !equal(runtime, entry.value, *other)) return false;
  }
  return true;
}

// Views of keys and of items compare as sets; a view of values equals itself only.
bool equal_views(Runtime& runtime, const DictView& a, const DictView& b) {
  if (&a == &b) return true;
  if (a.part != b.part || a.part == DictView::Part::kValues) return false;
  if (a.part == DictView::Part::kItems) return equal_dicts(runtime, *a.dict, *b.dict);
  if (a.dict->entries().size() != b.dict->entries().size()) return false;
  for (const Dict::Entry& entry : a.dict->entries()) {
    if (b.dict->find(runtime, entry.key) == nullptr) return false;
  }
  return true;
}

bool view_contains(Runtime& runtime, const DictView& view, const Value& item) {
  if (view.part == DictView::Part::kKeys) return view.dict->find(runtime, item) != nullptr;
  for (const Dict::Entry& entry : view.dict->entries()) {
    if (view.part == DictView::Part::kValues) {
      if (equal(runtime, entry.value, item)) return true;
    } else if (item.is(Kind::kTuple) && item.items().size() == 2 &&
               equal(runtime, entry.key, item.items()[0]) &&
               equal(runtime, entry.value, item.items()[1])) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_real() != 0;
    case Kind::kString:
      return !value.as_string().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.items().empty();
    case Kind::kDict:
      return !value.as_dict().entries().empty();
    case Kind::kDictView:
      return !value.as_dict_view().dict->entries().empty();
    case Kind::kRange:
      return value.as_range().size() != 0;
    default:
      return true;
  }
}

bool same_object(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kMissing:
    case Kind::kNone:
      return true;
    case Kind::kBool:
    case Kind::kInt:
      return a.as_int() == b.as_int();
    case Kind::kFloat:
      return a.as_real() == b.as_real();
    // CPython shares short equal strings more often than not; which ones is not defined.
    case Kind::kString:
      if (a.as_string().size() != b.as_string().size()) return false;
      return a.identity() == b.identity() ||
             (a.as_string().size() <= 64 && a.as_string() == b.as_string());
    default:
      return a.identity() == b.identity();
  }
}

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.charge(1);
  if (a.is_number() && b.is_number()) return order_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kNone:
    case Kind::kUndefined:
      return true;
    case Kind::kString:
      if (a.as_string().size() != b.as_string().size()) return false;
      runtime.charge_bytes(a.as_string().size());
      return a.as_string() == b.as_string();
    case Kind::kList:
    case Kind::kTuple:
      return equal_items(runtime, a.items(), b.items());
    case Kind::kDict:
      return equal_dicts(runtime, a.as_dict(), b.as_dict());
    case Kind::kDictView:
      return equal_views(runtime, a.as_dict_view(), b.as_dict_view());
    case Kind::kRange: {
      const Range &x = a.as_range(), &y = b.as_range();
      if (x.size() != y.size()) return false;
      return x.size() == 0 || (x.start == y.start && (x.size() == 1 || x.step == y.step));
    }
    default:
      return a.identity() == b.identity();
  }
}

bool less(Runtime& runtime, const Value& a, const Value& b, std::string_view operator_name) {
  runtime.charge(1);
  if (a.is_number() && b.is_number()) return order_numbers(a, b) == -1;
  // UTF-8 sorts by bytes as it does by code points.
  if (a.is_string() && b.is_string()) {
    runtime.charge_bytes(std::min(a.as_string().size(), b.as_string().size()));
    return a.as_string() < b.as_string();
  }
  require_defined(a);
  require_defined(b);
  if (a.is_sequence() && a.kind() == b.kind()) {
    const DepthGuard guard(runtime);
    const size_t n = std::min(a.items().size(), b.items().size());
    for (size_t i = 0; i < n; ++i) {
      if (!equal(runtime, a.items()[i], b.items()[i]))
        return less(runtime, a.items()[i], b.items()[i], operator_name);
    }
    return a.items().size() < b.items().size();
  }
  throw_python("TypeError: '" + std::string(operator_name) +
               "' not supported between instances of '" + std::string(type_name(a)) + "' and '" +
               std::string(type_name(b)) + "'");
}

bool compare(Runtime& runtime, CompareOp op, const Value& a, const Value& b) {
  const auto is_nan = [](const Value& v) { return v.is(Kind::kFloat) && std::isnan(v.as_real()); };
  const bool is_order = op >= CompareOp::kLess && op <= CompareOp::kGreaterEqual;
  if (is_order) require_defined(a);
  switch (op) {
    case CompareOp::kEqual:
      return equal(runtime, a, b);
    case CompareOp::kNotEqual:
      return !equal(runtime, a, b);
    case CompareOp::kLess:
      return less(runtime, a, b, "<");
    case CompareOp::kGreater:
      return less(runtime, b, a, ">");
    case CompareOp::kLessEqual:
      return !less(runtime, b, a, "<=") && !is_nan(a) && !is_nan(b);
    case CompareOp::kGreaterEqual:
      return !less(runtime, a, b, ">=") && !is_nan(a) && !is_nan(b);
    case CompareOp::kIn:
      return contains(runtime, b, a);
    case CompareOp::kNotIn:
      return !contains(runtime, b, a);
  }
  return false;
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kString: {
      if (!item.is_string()) {
        throw_python("TypeError: 'in <string>' requires string as left operand, not " +
                     std::string(type_name(item)));
      }
      runtime.charge_bytes(container.as_string().size());
      return find_text(container.as_string(), item.as_string()) != std::string_view::npos;
    }
    case Kind::kDict:
      return container.as_dict().find(runtime, item) != nullptr;
    case Kind::kDictView:
      return view_contains(runtime, container.as_dict_view(), item);
    case Kind::kUndefined:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kIterator: {
      Cursor cursor(runtime, container);
      for (Value candidate; cursor.next(runtime, candidate);) {
        if (same_object(candidate, item) || equal(runtime, candidate, item)) return true;
      }
      return false;
    }
    default:
      throw_python("TypeError: argument of type '" + std::string(type_name(container)) +
                   "' is not iterable");
  }
}

uint64_t hash_value(Runtime& runtime, const Value& value) {
  const auto mix = [](uint64_t h) {
    h ^= h >> 32;
    h *= 0x9E3779B97F4A7C15ull;
    return h ^ (h >> 29);
  };
  switch (value.kind()) {
    case Kind::kNone:
      return mix(1);
    case Kind::kUndefined:
      return mix(2);
    case Kind::kBool:
    case Kind::kInt:
      return mix(static_cast<uint64_t>(value.as_int()));
    case Kind::kFloat: {
      // Equal numbers hash alike, whatever their type.
      const double d = value.as_real();
      if (std::abs(d) < 9.2e18 && d == std::floor(d))
        return mix(static_cast<uint64_t>(static_cast<int64_t>(d)));
      return mix(std::hash<double>()(d));
    }
    case Kind::kString:
      runtime.charge_bytes(value.as_string().size());
      return mix(std::hash<std::string_view>()(value.as_string()));
    case Kind::kTuple: {
      const DepthGuard guard(runtime);
      uint64_t h = 3;
      runtime.charge(static_cast<int64_t>(value.items().size()));
      for (const Value& item : value.items()) h = mix(h * 31 + hash_value(runtime, item));
      return h;
    }
    case Kind::kList:
    case Kind::kDict:
    case Kind::kDictView:
      throw_python("TypeError: unhashable type: '" + std::string(type_name(value)) + "'");
    default:
      return mix(reinterpret_cast<uintptr_t>(value.identity()));
  }
}

}  // namespace octavo::text::jinja
