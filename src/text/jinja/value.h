// Value: what a template computes with, Python's data model as far as Jinja shows it. 16 bytes,
// copied freely; whatever is larger lies in the rendering's Arena (or in the caller's data, which
// outlives it). Lists, tuples and dicts never change once a template can see them: the sandbox
// forbids it. Only a namespace does. One thread: that of the rendering.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "octavo/value.h"
#include "text/jinja/arena.h"

namespace octavo::text::jinja {

class Runtime;
class Dict;
class Iterator;
struct Args;
struct Function;
struct Loop;
struct Macro;
struct Sequence;
struct Undefined;

enum class Kind : uint8_t {
  kMissing,  // no value at all: an unbound variable, an argument not given. Templates never see it
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kDictView,  // dict.keys(), .values(), .items()
  kRange,
  kIterator,  // Python's generators: once through, always true, no length
  kNamespace,
  kFunction,
  kMacro,
  kLoop,
};

struct Range {
  int64_t start, stop, step;
  int64_t size() const;
  // REQUIRES: 0 <= i < size(); anything for others.
  int64_t at(int64_t i) const {
    return static_cast<int64_t>(static_cast<uint64_t>(start) +
                                static_cast<uint64_t>(i) * static_cast<uint64_t>(step));
  }
};

struct DictView {
  enum class Part : uint8_t { kKeys, kValues, kItems };
  const Dict* dict;
  Part part;
};

class Value {
 public:
  Value() = default;  // kMissing
  static Value none() { return Value(Kind::kNone); }
  static Value boolean(bool b) {
    return Value(Kind::kBool).with([&](Value& v) { v.int_ = b; });
  }
  static Value integer(int64_t i) {
    return Value(Kind::kInt).with([&](Value& v) { v.int_ = i; });
  }
  static Value real(double d) {
    return Value(Kind::kFloat).with([&](Value& v) { v.real_ = d; });
  }
  // The bytes are valid UTF-8 and outlive the value. `safe`: markupsafe's Markup.
  static Value string(std::string_view text, bool safe = false);
  static Value list(const Sequence* items) { return pointing(Kind::kList, items); }
  static Value tuple(const Sequence* items) { return pointing(Kind::kTuple, items); }
  static Value dict(const Dict* d) { return pointing(Kind::kDict, d); }
  static Value dict_view(const DictView* v) { return pointing(Kind::kDictView, v); }
  static Value range(const Range* r) { return pointing(Kind::kRange, r); }
  static Value iterator(Iterator* i) { return pointing(Kind::kIterator, i); }
  static Value name_space(Dict* attributes) { return pointing(Kind::kNamespace, attributes); }
  static Value function(const Function* f) { return pointing(Kind::kFunction, f); }
  static Value macro(const Macro* m) { return pointing(Kind::kMacro, m); }
  static Value loop(Loop* l) { return pointing(Kind::kLoop, l); }
  static Value undefined(const Undefined* u) { return pointing(Kind::kUndefined, u); }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_missing() const { return kind_ == Kind::kMissing; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  // Python's bool is an int.
  bool is_integer() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool is_number() const { return is_integer() || kind_ == Kind::kFloat; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
  bool is_safe() const { return safe_; }

  // REQUIRES of all: the kind asked for.
  int64_t as_int() const { return int_; }
  double as_real() const { return kind_ == Kind::kFloat ? real_ : static_cast<double>(int_); }
  std::string_view as_string() const { return {static_cast<const char*>(pointer_), size_}; }
  std::span<const Value> items() const;
  const Sequence& as_sequence() const { return *static_cast<const Sequence*>(pointer_); }
  const Dict& as_dict() const { return *static_cast<const Dict*>(pointer_); }
  Dict& as_namespace() const { return *static_cast<Dict*>(const_cast<void*>(pointer_)); }
  const DictView& as_dict_view() const { return *static_cast<const DictView*>(pointer_); }
  const Range& as_range() const { return *static_cast<const Range*>(pointer_); }
  Iterator& as_iterator() const { return *static_cast<Iterator*>(const_cast<void*>(pointer_)); }
  const Function& as_function() const { return *static_cast<const Function*>(pointer_); }
  const Macro& as_macro() const { return *static_cast<const Macro*>(pointer_); }
  Loop& as_loop() const { return *static_cast<Loop*>(const_cast<void*>(pointer_)); }
  const Undefined& as_undefined() const { return *static_cast<const Undefined*>(pointer_); }
  // The object's address, Python's id(). REQUIRES: a kind that points to one.
  const void* identity() const { return pointer_; }

 private:
  explicit Value(Kind kind) : kind_(kind) {}
  static Value pointing(Kind kind, const void* object) {
    return Value(kind).with([&](Value& v) { v.pointer_ = object; });
  }
  template <typename F>
  Value with(F f) && {
    f(*this);
    return *this;
  }

  Kind kind_ = Kind::kMissing;
  bool safe_ = false;
  uint32_t size_ = 0;  // bytes of a string
  union {
    int64_t int_ = 0;
    double real_;
    const void* pointer_;
  };
};
static_assert(sizeof(Value) == 16 && std::is_trivially_copyable_v<Value>);

// The items of a list or tuple.
struct Sequence {
  std::span<const Value> items;
  bool is_group = false;  // groupby's pairs, whose items are also .grouper and .list
};

inline std::span<const Value> Value::items() const {
  return as_sequence().items;
}

// A value that is not there: it prints as nothing, is false, and fails in most other uses.
struct Undefined {
  std::string_view hint;  // the whole message, or empty: made from `object` and `name`
  Value object;           // whose attribute or element is missing; kMissing: a variable
  Value name;
  bool is_security = false;  // an attribute that the sandbox hides: using it is a SecurityError
};

// A dict in insertion order, with an index once it is too large to scan.
class Dict {
 public:
  struct Entry {
    Value key;
    Value value;
    uint64_t hash;
  };
  std::span<const Entry> entries() const { return {entries_, size_}; }
  // Null if absent. Throws TypeError for a key that cannot be hashed (list, dict).
  const Value* find(Runtime& runtime, const Value& key) const;
  const Value* find(Runtime& runtime, std::string_view key) const;
  // Replaces the value of a key that is there. Only the maker of a dict, and a namespace, may call
  // this.
  void set(Runtime& runtime, const Value& key, const Value& value);

 private:
  int64_t position(Runtime& runtime, const Value& key, uint64_t hash) const;
  void grow(Runtime& runtime);
  void index_entry(Runtime& runtime, uint32_t entry);

  Entry* entries_ = nullptr;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
  uint32_t* slots_ = nullptr;  // entry + 1, or 0: open addressing, a power of two
  uint32_t slot_count_ = 0;
};

// The caller's data as a Value; strings are not copied. A `role` that kRoles holds is taken from
// there: templates spell markers with it ("<|" + role + "|>"), and it names nothing but itself.
Value import_value(Runtime& runtime, const octavo::Value& from);

// The roles that may be part of a marker, each between spaces. One text in one place, since it is
// known by its address (provenance.h).
extern const std::string_view kRoles;

// Arguments of one call.
struct Keyword {
  std::string_view name;
  Value value;
};
struct Args {
  std::span<const Value> positional;
  std::span<const Keyword> keywords;
};

// A function or bound method that templates can call.
using NativeFunction = Value (*)(Runtime&, const Value& self, const Args&);
struct Function {
  std::string_view name;
  NativeFunction call;
  Value self;  // kMissing: a free function
};

// What gives a generator's values, lazily. Lives in the arena, without a destructor.
class Iterator {
 public:
  // False: at the end. Called through Cursor only, which bounds the recursion.
  virtual bool next(Runtime& runtime, Value& out) = 0;
  std::string_view name = "generator";  // Python's type name
};

}  // namespace octavo::text::jinja
