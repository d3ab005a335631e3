// The tests, the global functions, the methods of lists, dicts and numbers, and the tables that
// find all built-in names.
#include "text/jinja/builtins.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/utf8.h"
#include "text/jinja/code_points.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace octavo::text::jinja {

namespace {

// ---- Methods of lists, dicts and numbers

Value sequence_index(Runtime& runtime, const Value& self, const Args& args) {
  Value a[3];
  bind("index", args, {"value", "start", "stop"}, 1, a);
  const auto size = static_cast<int64_t>(self.items().size());
  const auto clamp = [&](const Value& v, int64_t otherwise) {
    if (v.is_missing()) return otherwise;
    const int64_t i = int_argument(v);
    return std::clamp<int64_t>(i < 0 ? std::max(i, -size) + size : i, 0, size);
  };
  const int64_t stop = clamp(a[2], size);
  for (int64_t i = clamp(a[1], 0); i < stop; ++i) {
    if (equal(runtime, self.items()[i], a[0])) return Value::integer(i);
  }
  throw_python("ValueError: value is not in " + std::string(type_name(self)));
}

Value sequence_count(Runtime& runtime, const Value& self, const Args& args) {
  Value a[1];
  bind("count", args, {"value"}, 1, a);
  int64_t n = 0;
  for (const Value& item : self.items()) n += equal(runtime, item, a[0]);
  return Value::integer(n);
}

Value list_copy(Runtime& runtime, const Value& self, const Args& args) {
  bind("copy", args, {}, 0, nullptr);
  return runtime.list(collect(runtime, self));
}

template <DictView::Part kPart>
Value dict_view(Runtime& runtime, const Value& self, const Args& args) {
  bind("items", args, {}, 0, nullptr);
  return Value::dict_view(runtime.arena.make<DictView>(&self.as_dict(), kPart));
}

Value dict_get(Runtime& runtime, const Value& self, const Args& args) {
  Value a[2];
  bind("get", args, {"key", "default"}, 1, a);
  const Value* found = self.as_dict().find(runtime, a[0]);
  if (found != nullptr) return *found;
  return a[1].is_missing() ? Value::none() : a[1];
}

Dict* copy_dict(Runtime& runtime, const Dict& from) {
  Dict* dict = runtime.arena.make<Dict>();
  for (const Dict::Entry& entry : from.entries()) dict->set(runtime, entry.key, entry.value);
  return dict;
}

Value dict_copy(Runtime& runtime, const Value& self, const Args& args) {
  bind("copy", args, {}, 0, nullptr);
  return Value::dict(copy_dict(runtime, self.as_dict()));
}

Value float_is_integer(Runtime&, const Value& self, const Args& args) {
  bind("is_integer", args, {}, 0, nullptr);
  return Value::boolean(std::floor(self.as_real()) == self.as_real() &&
                        !std::isinf(self.as_real()));
}

Value int_bit_length(Runtime&, const Value& self, const Args& args) {
  bind("bit_length", args, {}, 0, nullptr);
  const int64_t i = self.as_int();
  uint64_t magnitude = i < 0 ? 0 - static_cast<uint64_t>(i) : static_cast<uint64_t>(i);
  int64_t bits = 0;
  for (; magnitude != 0; magnitude >>= 1) ++bits;
  return Value::integer(bits);
}

NativeFunction find_dict_method(std::string_view name) {
  if (name == "get") return dict_get;
  if (name == "items") return dict_view<DictView::Part::kItems>;
  if (name == "keys") return dict_view<DictView::Part::kKeys>;
  if (name == "values") return dict_view<DictView::Part::kValues>;
  if (name == "copy") return dict_copy;
  return nullptr;
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// ---- Global functions

Value global_raise_exception(Runtime& runtime, const Value&, const Args& args) {
  Value a[1];
  bind("raise_exception", args, {"message"}, 1, a);
  throw_raised(std::string(to_str(runtime, a[0]).as_string()));
}

Value global_range(Runtime& runtime, const Value&, const Args& args) {
  static constexpr int64_t kMaxRange = 100'000;  // the sandbox's MAX_RANGE
  Value a[3];
  bind("range", args, {"start", "stop", "step"}, 1, a);
  const int64_t first = int_argument(a[0]);
  Range range{0, first, 1};
  if (!a[1].is_missing())
    range = {first, int_argument(a[1]), a[2].is_missing() ? 1 : int_argument(a[2])};
  if (range.step == 0) throw_python("ValueError: range() arg 3 must not be zero");
  const int64_t size = range.size();
  if (size > kMaxRange || size < 0) {
    throw_python(
        "OverflowError: Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  }
  return Value::range(runtime.arena.make<Range>(range));
}

// dict(mapping or pairs, **keywords)
Dict* make_dict(Runtime& runtime, std::string_view name, const Args& args) {
  if (args.positional.size() > 1)
    throw_python("TypeError: " + std::string(name) + " expected at most 1 argument");
  Dict* dict = runtime.arena.make<Dict>();
  if (!args.positional.empty()) {
    const Value& source = args.positional[0];
    if (source.is(Kind::kDict)) {
      dict = copy_dict(runtime, source.as_dict());
    } else {
      Cursor cursor(runtime, source);
      for (Value item; cursor.next(runtime, item);) {
        const std::vector<Value> pair = collect(runtime, item);
        if (pair.size() != 2)
          throw_python("ValueError: dictionary update sequence element has not length 2");
        dict->set(runtime, pair[0], pair[1]);
      }
    }
  }
  for (const Keyword& keyword : args.keywords)
    dict->set(runtime, Value::string(keyword.name), keyword.value);
  return dict;
}

Value global_dict(Runtime& runtime, const Value&, const Args& args) {
  return Value::dict(make_dict(runtime, "dict", args));
}
Value global_namespace(Runtime& runtime, const Value&, const Args& args) {
  return Value::name_space(make_dict(runtime, "namespace", args));
}

// joiner(separator): a function that gives nothing at first and then the separator.
Value call_joiner(Runtime& runtime, const Value& self, const Args& args) {
  bind("joiner", args, {}, 0, nullptr);
  Dict& state = self.as_namespace();
  const Value separator = *state.find(runtime, "separator");
  const Value text = *state.find(runtime, "next");
  state.set(runtime, Value::string("next"), separator);
  return text;
}

Value global_joiner(Runtime& runtime, const Value&, const Args& args) {
  Value a[1];
  bind("joiner", args, {"sep"}, 0, a);
  Dict* state = runtime.arena.make<Dict>();
  state->set(runtime, Value::string("separator"), a[0].is_missing() ? Value::string(", ") : a[0]);
  state->set(runtime, Value::string("next"), Value::string(""));
  return runtime.function("joiner", call_joiner, Value::name_space(state));
}

// cycler(a, b, …): an object whose next() goes round its items. `current` and the place are its
// attributes.
Value cycler_move(Runtime& runtime, const Value& self, bool to_start) {
  Dict& state = self.as_namespace();
  const std::span<const Value> items = state.find(runtime, "items")->items();
  const Value before = *state.find(runtime, "current");
  const int64_t place =
      to_start ? 0
               : (state.find(runtime, "pos")->as_int() + 1) % static_cast<int64_t>(items.size());
  state.set(runtime, Value::string("pos"), Value::integer(place));
  state.set(runtime, Value::string("current"), items[place]);
  return before;
}
Value cycler_next(Runtime& runtime, const Value& self, const Args& args) {
  bind("next", args, {}, 0, nullptr);
  return cycler_move(runtime, self, false);
}
Value cycler_reset(Runtime& runtime, const Value& self, const Args& args) {
  bind("reset", args, {}, 0, nullptr);
  cycler_move(runtime, self, true);
  return Value::none();
}

Value global_cycler(Runtime& runtime, const Value&, const Args& args) {
  if (args.positional.empty()) throw_python("RuntimeError: at least one item has to be provided");
  Dict* state = runtime.arena.make<Dict>();
  const Value cycler = Value::name_space(state);
  const auto define = [&](std::string_view name, const Value& value) {
    state->set(runtime, Value::string(name), value);
  };
  define("items", runtime.tuple({args.positional.begin(), args.positional.end()}));
  define("pos", Value::integer(0));
  define("current", args.positional[0]);
  define("next", runtime.function("next", cycler_next, cycler));
  define("reset", runtime.function("reset", cycler_reset, cycler));
  return cycler;
}

// datetime.now().strftime(format)
Value global_strftime_now(Runtime& runtime, const Value&, const Args& args) {
  static constexpr size_t kMaxBytes = 1 << 12;
  Value a[1];
  bind("strftime_now", args, {"format"}, 1, a);
  std::string format(string_argument("strftime_now", a[0]));
  // The C library does not know Python's microseconds; the clock given has none.
  for (size_t at = 0; (at = format.find('%', at)) != std::string::npos && at + 1 < format.size();
       at += 2) {
    if (format[at + 1] == 'f') format.replace(at, 2, "000000"), at += 4;
  }
  if (format.empty()) return Value::string("");
  if (format.size() > kMaxBytes / 4) throw_limit("the format of strftime_now is too long");
  const auto seconds = static_cast<time_t>(runtime.now);
  std::tm local{};
  localtime_r(&seconds, &local);
  char buffer[kMaxBytes];
  const size_t size = std::strftime(buffer, sizeof buffer, format.c_str(), &local);
  return runtime.text(replace_invalid_utf8({buffer, size}));
}

// ---- Tests

const Value& one_argument(const Args& args) {
  if (args.positional.size() != 1 || !args.keywords.empty())
    throw_python("TypeError: the test takes one argument");
  return args.positional[0];
}

template <CompareOp kOp>
bool test_compare(Runtime& runtime, const Value& input, const Args& args) {
  return compare(runtime, kOp, input, one_argument(args));
}

template <Kind kKind>
bool test_kind(Runtime&, const Value& input, const Args&) {
  return input.is(kKind);
}

template <bool kValue>
bool test_is_bool(Runtime&, const Value& input, const Args&) {
  return input.is(Kind::kBool) && (input.as_int() != 0) == kValue;
}

int64_t remainder_of(Runtime& runtime, const Value& input, const Value& divisor) {
  const Value rest = binary(runtime, BinaryOp::kModulo, input, divisor);
  return rest.is_number() && rest.as_real() == 0   ? 0
         : rest.is_number() && rest.as_real() == 1 ? 1
                                                   : 2;
}

bool test_defined(Runtime&, const Value& input, const Args&) {
  return !input.is_undefined();
}
bool test_number(Runtime&, const Value& input, const Args&) {
  return input.is_number();
}
bool test_odd(Runtime& r, const Value& input, const Args&) {
  return remainder_of(r, input, Value::integer(2)) == 1;
}
bool test_even(Runtime& r, const Value& input, const Args&) {
  return remainder_of(r, input, Value::integer(2)) == 0;
}
bool test_divisibleby(Runtime& r, const Value& input, const Args& args) {
  return remainder_of(r, input, one_argument(args)) == 0;
}
bool test_sameas(Runtime&, const Value& input, const Args& args) {
  return same_object(input, one_argument(args));
}
bool test_escaped(Runtime&, const Value& input, const Args&) {
  return input.is_string() && input.is_safe();
}

bool test_sequence(Runtime&, const Value& input, const Args&) {
  return input.is_string() || input.is_sequence() || input.is(Kind::kDict) ||
         input.is(Kind::kRange) || input.is_undefined();
}

bool test_iterable(Runtime&, const Value& input, const Args&) {
  return input.is_string() || input.is_sequence() || input.is(Kind::kDict) ||
         input.is(Kind::kRange) || input.is_undefined() || input.is(Kind::kDictView) ||
         input.is(Kind::kIterator) || input.is(Kind::kLoop);
}

bool test_callable(Runtime&, const Value& input, const Args&) {
  return input.is(Kind::kFunction) || input.is(Kind::kMacro) || input.is(Kind::kLoop) ||
         input.is_undefined();
}

template <bool kUpper>
bool test_case(Runtime& runtime, const Value& input, const Args&) {
  const NativeFunction method = find_string_method(kUpper ? "isupper" : "islower");
  return truthy(method(runtime, to_str(runtime, input), {}));
}

bool test_filter(Runtime&, const Value& input, const Args&) {
  return input.is_string() && find_filter(input.as_string()) != nullptr;
}
bool test_test(Runtime&, const Value& input, const Args&) {
  return input.is_string() && find_test(input.as_string()) != nullptr;
}

}  // namespace

NativeFunction find_method(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kString:
      return find_string_method(name);
    case Kind::kDict:
      return find_dict_method(name);
    case Kind::kList:
      if (name == "copy") return list_copy;
      [[fallthrough]];
    case Kind::kTuple:
      return name == "index" ? sequence_index : name == "count" ? sequence_count : nullptr;
    case Kind::kFloat:
      return name == "is_integer" ? float_is_integer : nullptr;
    case Kind::kBool:
    case Kind::kInt:
      return name == "bit_length" ? int_bit_length : nullptr;
    default:
      return nullptr;
  }
}

bool is_mutating_method(const Value& object, std::string_view name) {
  if (object.is(Kind::kDict))
    return is_one_of(name, {"clear", "pop", "popitem", "setdefault", "update"});
  if (object.is(Kind::kList)) {
    return is_one_of(name,
                     {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"});
  }
  return false;
}

std::span<const NamedGlobal> global_functions() {
  static constexpr NamedGlobal kGlobals[] = {
      {"raise_exception", global_raise_exception},
      {"strftime_now", global_strftime_now},
      {"namespace", global_namespace},
      {"dict", global_dict},
      {"range", global_range},
      {"joiner", global_joiner},
      {"cycler", global_cycler},
  };
  return kGlobals;
}

FilterFunction find_filter(std::string_view name) {
  static const auto kFilters = [] {
    std::unordered_map<std::string_view, FilterFunction> table;
    for (const NamedFilter& filter : text_filters()) table.emplace(filter.name, filter.function);
    for (const NamedFilter& filter : sequence_filters())
      table.emplace(filter.name, filter.function);
    return table;
  }();
  if (name.size() > kLongestName) return nullptr;
  const auto found = kFilters.find(name);
  return found == kFilters.end() ? nullptr : found->second;
}

TestFunction find_test(std::string_view name) {
  static const std::unordered_map<std::string_view, TestFunction> kTests = {
      {"defined", test_defined},
      {"undefined", test_kind<Kind::kUndefined>},
      {"none", test_kind<Kind::kNone>},
      {"boolean", test_kind<Kind::kBool>},
      {"integer", test_kind<Kind::kInt>},
      {"float", test_kind<Kind::kFloat>},
      {"string", test_kind<Kind::kString>},
      {"mapping", test_kind<Kind::kDict>},
      {"number", test_number},
      {"true", test_is_bool<true>},
      {"false", test_is_bool<false>},
      {"sequence", test_sequence},
      {"iterable", test_iterable},
      {"callable", test_callable},
      {"odd", test_odd},
      {"even", test_even},
      {"divisibleby", test_divisibleby},
      {"sameas", test_sameas},
      {"escaped", test_escaped},
      {"lower", test_case<false>},
      {"upper", test_case<true>},
      {"filter", test_filter},
      {"test", test_test},
      {"in", test_compare<CompareOp::kIn>},
      {"eq", test_compare<CompareOp::kEqual>},
      {"equalto", test_compare<CompareOp::kEqual>},
      {"==", test_compare<CompareOp::kEqual>},
      {"ne", test_compare<CompareOp::kNotEqual>},
      {"!=", test_compare<CompareOp::kNotEqual>},
      {"lt", test_compare<CompareOp::kLess>},
      {"lessthan", test_compare<CompareOp::kLess>},
      {"<", test_compare<CompareOp::kLess>},
      {"le", test_compare<CompareOp::kLessEqual>},
      {"<=", test_compare<CompareOp::kLessEqual>},
      {"gt", test_compare<CompareOp::kGreater>},
      {"greaterthan", test_compare<CompareOp::kGreater>},
      {">", test_compare<CompareOp::kGreater>},
      {"ge", test_compare<CompareOp::kGreaterEqual>},
      {">=", test_compare<CompareOp::kGreaterEqual>},
  };
  if (name.size() > kLongestName) return nullptr;
  const auto found = kTests.find(name);
  return found == kTests.end() ? nullptr : found->second;
}

}  // namespace octavo::text::jinja
