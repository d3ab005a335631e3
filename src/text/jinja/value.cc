// Dicts, the import of the caller's data, and the iteration and argument binding that runtime.h
// declares.
#include "text/jinja/value.h"

#include <algorithm>
#include <string>

#include "base/utf8.h"
#include "text/jinja/code_points.h"
#include "text/jinja/operators.h"
#include "text/jinja/runtime.h"

namespace octavo::text::jinja {

namespace {
constexpr uint32_t kScanAtMost = 8;  // a dict of so many entries has no index
constexpr int64_t kClaimSteps = 8;   // the price of a claim, which takes memory beside the arena's
}  // namespace

int64_t Range::size() const {
  if (step > 0)
    return start < stop ? static_cast<int64_t>((static_cast<uint64_t>(stop) - start - 1) / step) + 1
                        : 0;
  return start > stop ? static_cast<int64_t>((static_cast<uint64_t>(start) - stop - 1) /
                                             (0 - static_cast<uint64_t>(step))) +
                            1
                      : 0;
}

Value Value::string(std::string_view text, bool safe) {
  if (text.size() > UINT32_MAX) throw_limit("a string is too long");
  Value v = pointing(Kind::kString, text.data());
  v.size_ = static_cast<uint32_t>(text.size());
  v.safe_ = safe;
  return v;
}

// ---- Dict

int64_t Dict::position(Runtime& runtime, const Value& key, uint64_t hash) const {
  const auto matches = [&](const Entry& e) { return e.hash == hash && equal(runtime, e.key, key); };
  if (slots_ == nullptr) {
    for (uint32_t i = 0; i < size_; ++i) {
      if (matches(entries_[i])) return i;
    }
    return -1;
  }
  for (uint32_t slot = hash & (slot_count_ - 1); slots_[slot] != 0;
       slot = (slot + 1) & (slot_count_ - 1)) {
    runtime.charge(1);
    if (matches(entries_[slots_[slot] - 1])) return slots_[slot] - 1;
  }
  return -1;
}

const Value* Dict::find(Runtime& runtime, const Value& key) const {
  const int64_t at = position(runtime, key, hash_value(runtime, key));
  return at < 0 ? nullptr : &entries_[at].value;
}

const Value* Dict::find(Runtime& runtime, std::string_view key) const {
  if (slots_ == nullptr) {
    for (uint32_t i = 0; i < size_; ++i) {
      if (entries_[i].key.is_string() && entries_[i].key.as_string() == key)
        return &entries_[i].value;
    }
    return nullptr;
  }
  return find(runtime, Value::string(key));
}

void Dict::set(Runtime& runtime, const Value& key, const Value& value) {
  const uint64_t hash = hash_value(runtime, key);
  if (const int64_t at = position(runtime, key, hash); at >= 0) {
    entries_[at].value = value;
    return;
  }
  if (size_ == capacity_) grow(runtime);
  entries_[size_] = {key, value, hash};
  ++size_;
  if (slots_ != nullptr) index_entry(runtime, size_ - 1);
}

void Dict::grow(Runtime& runtime) {
  capacity_ = std::max<uint32_t>(4, capacity_ * 2);
  Entry* bigger = runtime.arena.make_array<Entry>(capacity_);
  std::copy(entries_, entries_ + size_, bigger);
  entries_ = bigger;
  runtime.charge(size_);
  if (capacity_ <= kScanAtMost) return;
  slot_count_ = capacity_ * 2;
  slots_ = runtime.arena.make_array<uint32_t>(slot_count_);
  for (uint32_t i = 0; i < size_; ++i) index_entry(runtime, i);
}

void Dict::index_entry(Runtime& runtime, uint32_t entry) {
  uint32_t slot = entries_[entry].hash & (slot_count_ - 1);
  while (slots_[slot] != 0) {
    runtime.charge(1);
    slot = (slot + 1) & (slot_count_ - 1);
  }
  slots_[slot] = entry + 1;
}

// ---- The caller's data

constinit const std::string_view kRoles =
    " system developer user assistant tool function ipython model observation documents "
    "environment context query document critic ";

namespace {
Value import_string(Runtime& runtime, const std::string& text) {
  runtime.charge_bytes(text.size());
  if (!valid_utf8(text)) return runtime.text(replace_invalid_utf8(text));
  return Value::string(text);
}

// The role as kRoles has it; empty where it does not.
std::string_view known_role(const std::string& role) {
  if (role.empty() || role.find(' ') != std::string::npos || role.size() > kRoles.size()) return {};
  const size_t found = kRoles.find(" " + role + " ");
  return found == std::string_view::npos ? std::string_view()
                                         : kRoles.substr(found + 1, role.size());
}
}  // namespace

Value import_value(Runtime& runtime, const octavo::Value& from) {
  runtime.charge(1);
  if (from.is_null()) return Value::none();
  if (from.is_bool()) return Value::boolean(from.as_bool());
  if (from.is_int()) return Value::integer(from.as_int());
  if (from.is_double()) return Value::real(from.as_double());
  if (from.is_string()) return import_string(runtime, from.as_string());
  const DepthGuard guard(runtime);
  if (from.is_list()) {
    std::vector<Value> items;
    items.reserve(from.as_list().size());
    for (const octavo::Value& item : from.as_list()) items.push_back(import_value(runtime, item));
    return runtime.list(items);
  }
  Dict* dict = runtime.arena.make<Dict>();
  for (const auto& [key, item] : from.as_dict()) {
    const std::string_view role =
        key == "role" && item.is_string() ? known_role(item.as_string()) : std::string_view();
    dict->set(runtime, import_string(runtime, key),
              role.empty() ? import_value(runtime, item) : Value::string(role));
  }
  return Value::dict(dict);
}

// ---- Runtime

void Runtime::append_own(Draft& out, std::string_view text) {
  const size_t begin = out.bytes.size();
  append(out.bytes, text);
  if (!out.own.empty() && out.own.back().end == begin) {
    out.own.back().end = out.bytes.size();
  } else if (!text.empty()) {
    out.own.push_back({begin, out.bytes.size()});
  }
}

void Runtime::append_repeated(Draft& out, std::string_view unit, int64_t times) {
  if (times <= 0 || unit.empty()) return;
  if (static_cast<uint64_t>(times) > limits.max_text_bytes / unit.size()) {
    throw_limit("the template's output is too long");
  }
  for (int64_t i = 0; i < times; ++i) append(out, unit);
}

Value Runtime::text(std::string_view bytes, bool safe) {
  return concat(bytes, {}, safe);
}

Value Runtime::text(const Draft& draft, bool safe) {
  const Value copy = concat(draft.bytes, {}, safe);
  charge(kClaimSteps * static_cast<int64_t>(draft.own.size()));
  for (const TextRange& range : draft.own)
    provenance.claim(copy.as_string().substr(range.begin, range.end - range.begin));
  return copy;
}

Value Runtime::text_made_of(std::string_view source, std::string_view bytes, bool safe) {
  const Value made = text(bytes, safe);
  if (provenance.owns(source)) provenance.claim(made.as_string());
  return made;
}

Value Runtime::concat(std::string_view left, std::string_view right, bool safe) {
  if (left.size() + right.size() > limits.max_text_bytes) throw_limit("a string is too long");
  charge_bytes(right.size());
  const std::string_view joined = arena.concat(left, right);
  if (joined.data() != left.data()) claim_copy(left, joined.data());
  claim_copy(right, joined.data() + left.size());
  return Value::string(joined, safe);
}

void Runtime::claim_copy(std::string_view text, const char* copy) {
  std::vector<TextRange> ranges;
  provenance.find(text, 0, ranges);
  charge(kClaimSteps * static_cast<int64_t>(ranges.size()));
  for (const TextRange& range : ranges)
    provenance.claim({copy + range.begin, range.end - range.begin});
}

Value Runtime::list(const std::vector<Value>& items) {
  return Value::list(arena.make<Sequence>(arena.copy(items)));
}
Value Runtime::tuple(const std::vector<Value>& items) {
  return Value::tuple(arena.make<Sequence>(arena.copy(items)));
}
Value Runtime::function(std::string_view name, NativeFunction call, Value self) {
  return Value::function(arena.make<Function>(name, call, self));
}
Value Runtime::undefined_variable(std::string_view name) {
  return Value::undefined(arena.make<Undefined>(std::string_view(), Value(), Value::string(name)));
}
Value Runtime::undefined_member(const Value& object, const Value& name) {
  return Value::undefined(arena.make<Undefined>(std::string_view(), object, name));
}
Value Runtime::undefined_hint(std::string_view hint) {
  return Value::undefined(arena.make<Undefined>(arena.copy(hint), Value(), Value()));
}
Value Runtime::unsafe_attribute(const Value& object, std::string_view name) {
  const std::string hint = "access to attribute '" + std::string(name) + "' of '" +
                           std::string(type_name(object)) + "' object is unsafe.";
  return Value::undefined(
      arena.make<Undefined>(arena.copy(hint), object, Value::string(name), true));
}

// ---- Iteration

Cursor::Cursor(Runtime& runtime, const Value& source) : source_(source) {
  switch (source.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kDictView:
    case Kind::kRange:
    case Kind::kIterator:
      return;
    default:
      throw_python("TypeError: '" + std::string(type_name(source)) + "' object is not iterable");
  }
}

bool Cursor::next(Runtime& runtime, Value& out) {
  runtime.charge(1);
  switch (source_.kind()) {
    case Kind::kString: {
      const std::string_view text = source_.as_string();
      if (position_ >= text.size()) return false;
      const int length = decode_utf8(text, position_).length;
      out = Value::string(text.substr(position_, length));
      position_ += length;
      return true;
    }
    case Kind::kList:
    case Kind::kTuple:
      if (position_ >= source_.items().size()) return false;
      out = source_.items()[position_++];
      return true;
    case Kind::kDict:
      if (position_ >= source_.as_dict().entries().size()) return false;
      out = source_.as_dict().entries()[position_++].key;
      return true;
    case Kind::kDictView: {
      const DictView& view = source_.as_dict_view();
      if (position_ >= view.dict->entries().size()) return false;
      const Dict::Entry& entry = view.dict->entries()[position_++];
      out = view.part == DictView::Part::kKeys     ? entry.key
            : view.part == DictView::Part::kValues ? entry.value
                                                   : runtime.tuple({entry.key, entry.value});
      return true;
    }
    case Kind::kRange:
      if (static_cast<int64_t>(position_) >= source_.as_range().size()) return false;
      out = Value::integer(source_.as_range().at(static_cast<int64_t>(position_++)));
      return true;
    case Kind::kIterator: {
      const DepthGuard guard(runtime);
      return source_.as_iterator().next(runtime, out);
    }
    default:
      return false;  // undefined: nothing
  }
}

std::vector<Value> collect(Runtime& runtime, const Value& source) {
  if (source.is_sequence()) {
    runtime.charge(static_cast<int64_t>(source.items().size()) / 4);
    return {source.items().begin(), source.items().end()};
  }
  std::vector<Value> items;
  Cursor cursor(runtime, source);
  for (Value item; cursor.next(runtime, item);) items.push_back(item);
  return items;
}

// ---- Arguments

void bind(std::string_view function, const Args& args,
          std::initializer_list<std::string_view> names, size_t required, Value* out) {
  const auto fail = [&](std::string_view what) {
    throw_python("TypeError: " + std::string(function) + "() " + std::string(what));
  };
  if (args.positional.size() > names.size()) {
    fail("takes at most " + std::to_string(names.size()) + " arguments (" +
         std::to_string(args.positional.size()) + " given)");
  }
  std::fill(out, out + names.size(), Value());
  std::copy(args.positional.begin(), args.positional.end(), out);
  for (const Keyword& keyword : args.keywords) {
    const auto* name = std::find(names.begin(), names.end(), keyword.name);
    if (name == names.end()) {
      fail("got an unexpected keyword argument '" + std::string(keyword.name) + "'");
    }
    Value& slot = out[name - names.begin()];
    if (!slot.is_missing())
      fail("got multiple values for argument '" + std::string(keyword.name) + "'");
    slot = keyword.value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (out[i].is_missing())
      fail("missing a required argument: '" + std::string(names.begin()[i]) + "'");
  }
}

bool flag_argument(const Value& value) {
  return given(value) && truthy(value);
}

int64_t int_argument(const Value& value) {
  if (value.is_integer()) return value.as_int();
  throw_python("TypeError: '" + std::string(type_name(value)) +
               "' object cannot be interpreted as an integer");
}

std::string_view string_argument(std::string_view function, const Value& value) {
  if (value.is_string()) return value.as_string();
  throw_python("TypeError: " + std::string(function) + "() argument must be str, not " +
               std::string(type_name(value)));
}

}  // namespace octavo::text::jinja
