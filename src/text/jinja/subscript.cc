// How values are taken apart: len(), slices, and the sandbox's getitem and getattr.
#include <algorithm>
#include <string>
#include <vector>

#include "text/jinja/builtins.h"
#include "text/jinja/code_points.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/loop.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace octavo::text::jinja {

std::optional<int64_t> length_if_any(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      runtime.charge_bytes(value.as_string().size());
      return count_code_points(value.as_string());
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.as_dict().entries().size());
    case Kind::kDictView:
      return static_cast<int64_t>(value.as_dict_view().dict->entries().size());
    case Kind::kRange:
      return value.as_range().size();
    case Kind::kLoop:
      return value.as_loop().length(runtime);
    default:
      return std::nullopt;
  }
}

int64_t length(Runtime& runtime, const Value& value) {
  if (const auto n = length_if_any(runtime, value)) return *n;
  throw_python("TypeError: object of type '" + std::string(type_name(value)) + "' has no len()");
}

namespace {

struct SliceBounds {
  int64_t start, step, count;
};

// PySlice_AdjustIndices.
SliceBounds slice_bounds(const Value& start, const Value& stop, const Value& step, int64_t length) {
  const auto index = [](const Value& v) {
    if (!v.is_integer())
      throw_python("TypeError: slice indices must be integers or None or have an __index__ method");
    return v.as_int();
  };
  const int64_t stride = step.is_none() ? 1 : std::max(index(step), -INT64_MAX);
  if (stride == 0) throw_python("ValueError: slice step cannot be zero");
  const auto clamp = [&](const Value& v, int64_t otherwise) {
    if (v.is_none()) return otherwise;
    int64_t i = index(v);
    if (i < 0) i = i < -length ? -1 : i + length;
    if (i < 0) return stride < 0 ? int64_t{-1} : int64_t{0};
    return i >= length ? (stride < 0 ? length - 1 : length) : i;
  };
  const int64_t from = clamp(start, stride < 0 ? length - 1 : 0);
  const int64_t to = clamp(stop, stride < 0 ? -1 : length);
  int64_t count = 0;
  if (stride > 0 && from < to) count = (to - from - 1) / stride + 1;
  if (stride < 0 && to < from) count = (from - to - 1) / -stride + 1;
  return {from, stride, count};
}

Value slice_string(Runtime& runtime, const Value& text, const SliceBounds& bounds) {
  const std::string_view bytes = text.as_string();
  runtime.charge_bytes(bytes.size());
  if (bounds.step == 1) {
    const size_t begin = byte_offset(bytes, bounds.start);
    const size_t size = byte_offset(bytes.substr(begin), bounds.count);
    return Value::string(bytes.substr(begin, size), text.is_safe());
  }
  std::vector<std::string_view> points;
  for (size_t i = 0; i < bytes.size();) {
    const size_t size = byte_offset(bytes.substr(i), 1);
    points.push_back(bytes.substr(i, size));
    i += size;
  }
  runtime.charge(static_cast<int64_t>(points.size()));
  Draft out;
  for (int64_t i = 0; i < bounds.count; ++i)
    runtime.append(out, points[bounds.start + i * bounds.step]);
  return runtime.text(out, text.is_safe());
}

// object[key] of Python; kMissing where it raises LookupError or TypeError.
Value item_or_missing(Runtime& runtime, const Value& object, const Value& key) {
  const auto in_range = [&](int64_t size) -> int64_t {
    if (!key.is_integer()) return -1;
    const int64_t i = key.as_int() < 0 ? key.as_int() + size : key.as_int();
    return i < size ? i : -1;
  };
  switch (object.kind()) {
    case Kind::kDict: {
      if (key.is_string()) {
        const Value* found = object.as_dict().find(runtime, key.as_string());
        return found == nullptr ? Value() : *found;
      }
      if (key.is_sequence() || key.is(Kind::kDict) || key.is(Kind::kDictView)) {
        if (!key.is(Kind::kTuple)) return {};
      }
      const Value* found = object.as_dict().find(runtime, key);
      return found == nullptr ? Value() : *found;
    }
    case Kind::kList:
    case Kind::kTuple: {
      const int64_t i = in_range(static_cast<int64_t>(object.items().size()));
      return i < 0 ? Value() : object.items()[i];
    }
    case Kind::kRange: {
      const int64_t i = in_range(object.as_range().size());
      return i < 0 ? Value() : Value::integer(object.as_range().at(i));
    }
    case Kind::kString: {
      if (!key.is_integer()) return {};
      const std::string_view text = object.as_string();
      runtime.charge_bytes(text.size());
      const int64_t i = in_range(count_code_points(text));
      if (i < 0) return {};
      const size_t begin = byte_offset(text, i);
      return Value::string(text.substr(begin, byte_offset(text.substr(begin), 1)),
                           object.is_safe());
    }
    default:
      return {};
  }
}

// getattr(object, name) through the sandbox; kMissing where there is no such attribute.
Value attribute_or_missing(Runtime& runtime, const Value& object, std::string_view name) {
  if (name.starts_with("__") && name.ends_with("__") && name.size() > 4) {
    return runtime.unsafe_attribute(object, name);
  }
  switch (object.kind()) {
    case Kind::kNamespace: {
      const Value* found = object.as_namespace().find(runtime, name);
      return found == nullptr ? Value() : *found;
    }
    case Kind::kLoop:
      return object.as_loop().attribute(runtime, name);
    case Kind::kMacro:
      return name == "name" ? Value::string(object.as_macro().definition->name) : Value();
    case Kind::kTuple:
      if (object.as_sequence().is_group && name == "grouper") return object.items()[0];
      if (object.as_sequence().is_group && name == "list") return object.items()[1];
      break;
    case Kind::kRange:
      if (name == "start") return Value::integer(object.as_range().start);
      if (name == "stop") return Value::integer(object.as_range().stop);
      if (name == "step") return Value::integer(object.as_range().step);
      break;
    default:
      break;
  }
  if (is_mutating_method(object, name)) return runtime.unsafe_attribute(object, name);
  const NativeFunction method = find_method(object, name);
  return method == nullptr ? Value() : runtime.function(name, method, object);
}

}  // namespace

Value slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
            const Value& step) {
  require_defined(object);
  switch (object.kind()) {
    case Kind::kString: {
      runtime.charge_bytes(object.as_string().size());
      return slice_string(runtime, object,
                          slice_bounds(start, stop, step, count_code_points(object.as_string())));
    }
    case Kind::kList:
    case Kind::kTuple: {
      const SliceBounds bounds =
          slice_bounds(start, stop, step, static_cast<int64_t>(object.items().size()));
      std::vector<Value> items;
      for (int64_t i = 0; i < bounds.count; ++i)
        items.push_back(object.items()[bounds.start + i * bounds.step]);
      runtime.charge(bounds.count / 4);
      return object.is(Kind::kList) ? runtime.list(items) : runtime.tuple(items);
    }
    case Kind::kRange: {
      const Range& range = object.as_range();
      const SliceBounds bounds = slice_bounds(start, stop, step, range.size());
      const int64_t first = range.at(bounds.start);
      int64_t stride = 1, reach = 0, stop_at = 0;
      if (__builtin_mul_overflow(range.step, bounds.step, &stride) ||
          __builtin_mul_overflow(bounds.count, stride, &reach) ||
          __builtin_add_overflow(first, reach, &stop_at)) {
        throw_overflow();
      }
      return Value::range(runtime.arena.make<Range>(first, stop_at, stride));
    }
    case Kind::kDict:
      throw_python("TypeError: unhashable type: 'slice'");
    default:
      throw_python("TypeError: '" + std::string(type_name(object)) +
                   "' object is not subscriptable");
  }
}

Value get_item(Runtime& runtime, const Value& object, const Value& key) {
  require_defined(object);
  if (key.is_string()) runtime.charge_bytes(key.as_string().size());
  Value found = item_or_missing(runtime, object, key);
  if (found.is_missing() && key.is_string())
    found = attribute_or_missing(runtime, object, key.as_string());
  return found.is_missing() ? runtime.undefined_member(object, key) : found;
}

Value get_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  require_defined(object);
  Value found = attribute_or_missing(runtime, object, name);
  if (found.is_missing() && object.is(Kind::kDict)) {
    if (const Value* item = object.as_dict().find(runtime, name)) found = *item;
  }
  return found.is_missing() ? runtime.undefined_member(object, Value::string(name)) : found;
}

Value escape(Runtime& runtime, const Value& value) {
  if (value.is_string() && value.is_safe()) return value;
  const std::string_view text = to_str(runtime, value).as_string();
  runtime.charge_bytes(text.size() * 8);
  if (text.find_first_of("&<>'\"") == std::string_view::npos) return Value::string(text, true);
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out.append("&amp;");
        break;
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '\'':
        out.append("&#39;");
        break;
      case '"':
        out.append("&#34;");
        break;
      default:
        out.push_back(c);
    }
  }
  return runtime.text(out, true);
}

}  // namespace octavo::text::jinja
