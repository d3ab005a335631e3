// The filters on lists, dicts and whatever else can be iterated. As in Jinja2, map, select and
// their kin are generators: they compute an item when it is asked for, once, and have no length.
#include <algorithm>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "text/jinja/builtins.h"
#include "text/jinja/code_points.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace octavo::text::jinja {

namespace {

// ---- What an item is compared by

// make_attrgetter: the attribute path "a.b.0" of an item, perhaps with case folded.
class Getter {
 public:
  Getter() = default;
  Getter(Runtime& runtime, const Value& attribute, bool ignore_case = false, Value fallback = {})
      : ignore_case_(ignore_case), fallback_(fallback) {
    if (!given(attribute)) return;
    std::vector<Value> path;
    if (!attribute.is_string()) {
      path.push_back(attribute);
    } else {
      std::string_view rest = attribute.as_string();
      for (bool more = true; more;) {
        const size_t dot = rest.find('.');
        more = dot != std::string_view::npos;
        path.push_back(part(rest.substr(0, dot)));
        if (more) rest.remove_prefix(dot + 1);
      }
    }
    path_ = runtime.arena.copy(path);
  }

  Value operator()(Runtime& runtime, Value item) const {
    for (const Value& key : path_) {
      item = get_item(runtime, item, key);
      if (item.is_undefined() && given(fallback_)) item = fallback_;
    }
    if (!ignore_case_ || !item.is_string()) return item;
    runtime.charge_bytes(item.as_string().size() * 8);
    return runtime.text(to_lower(item.as_string()));
  }

 private:
  static Value part(std::string_view name) {
    int64_t index = 0;
    const bool digits =
        !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
    if (digits && parse_python_int(name, 10, index)) return Value::integer(index);
    return Value::string(name);
  }

  std::span<const Value> path_;
  bool ignore_case_ = false;
  Value fallback_;
};

// A list sorted as Python's sorted(): stable, and reverse keeps equal items in order.
std::vector<Value> sorted(Runtime& runtime, const std::vector<Value>& items,
                          const std::vector<Value>& keys, bool reverse) {
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return reverse ? less(runtime, keys[b], keys[a]) : less(runtime, keys[a], keys[b]);
  });
  std::vector<Value> out;
  out.reserve(items.size());
  for (const size_t i : order) out.push_back(items[i]);
  return out;
}

std::vector<Value> keys_of(Runtime& runtime, const std::vector<Value>& items,
                           const Getter& getter) {
  std::vector<Value> keys;
  keys.reserve(items.size());
  for (const Value& item : items) keys.push_back(getter(runtime, item));
  return keys;
}

// ---- Generators

// Arguments that outlive the call, for a generator that is read later.
Args keep(Runtime& runtime, std::span<const Value> positional, std::span<const Keyword> keywords) {
  return {runtime.arena.copy(std::vector<Value>(positional.begin(), positional.end())),
          runtime.arena.copy(std::vector<Keyword>(keywords.begin(), keywords.end()))};
}

// A generator whose items are all computed when the first is asked for.
using ComputeItems = std::vector<Value> (*)(Runtime&, const Value& input, const Args&);
class Deferred : public Iterator {
 public:
  Deferred(ComputeItems compute, const Value& input, const Args& args)
      : compute_(compute), input_(input), args_(args) {}
  bool next(Runtime& runtime, Value& out) override {
    if (!computed_) {
      computed_ = true;
      items_ = runtime.arena.copy(compute_(runtime, input_, args_));
    }
    if (position_ >= items_.size()) return false;
    out = items_[position_++];
    return true;
  }

 private:
  ComputeItems compute_;
  Value input_;
  Args args_;
  std::span<const Value> items_;
  size_t position_ = 0;
  bool computed_ = false;
};

template <ComputeItems compute>
Value deferred(Runtime& runtime, const Value& input, const Args& args) {
  return Value::iterator(
      runtime.arena.make<Deferred>(compute, input, keep(runtime, args.positional, args.keywords)));
}

class MapItems : public Iterator {
 public:
  MapItems(const Value& input, const Args& args) : input_(input), args_(args) {}
  bool next(Runtime& runtime, Value& out) override {
    if (!source_ && !start(runtime)) return false;
    Value item;
    if (!source_->next(runtime, item)) return false;
    out = filter_ == nullptr ? getter_(runtime, item) : filter_(runtime, item, filter_args_);
    return true;
  }

 private:
  bool start(Runtime& runtime) {
    if (!truthy(input_)) return false;
    source_.emplace(runtime, input_);
    if (args_.positional.empty()) {
      Value attribute, fallback;
      std::string_view unexpected;
      for (const Keyword& keyword : args_.keywords) {
        if (keyword.name == "attribute")
          attribute = keyword.value;
        else if (keyword.name == "default")
          fallback = keyword.value;
        else
          unexpected = keyword.name;
      }
      if (attribute.is_missing()) throw_raised("map requires a filter argument");
      if (!unexpected.empty())
        throw_raised("Unexpected keyword argument '" + std::string(unexpected) + "'");
      getter_ = Getter(runtime, attribute, false, fallback);
      return true;
    }
    const std::string_view name = string_argument("map", args_.positional[0]);
    filter_ = find_filter(name);
    if (filter_ == nullptr) throw_raised("No filter named '" + std::string(name) + "'.");
    filter_args_ = {args_.positional.subspan(1), args_.keywords};
    return true;
  }

  Value input_;
  Args args_;
  std::optional<Cursor> source_;
  Getter getter_;
  FilterFunction filter_ = nullptr;
  Args filter_args_;
};

Value filter_map(Runtime& runtime, const Value& input, const Args& args) {
  return Value::iterator(
      runtime.arena.make<MapItems>(input, keep(runtime, args.positional, args.keywords)));
}

// select, reject, selectattr and rejectattr.
class SelectItems : public Iterator {
 public:
  SelectItems(const Value& input, const Args& args, bool keep_passing, bool by_attribute)
      : input_(input), args_(args), keep_passing_(keep_passing), by_attribute_(by_attribute) {}
  bool next(Runtime& runtime, Value& out) override {
    if (!source_ && !start(runtime)) return false;
    while (source_->next(runtime, out)) {
      const Value subject = by_attribute_ ? getter_(runtime, out) : out;
      const bool passes = test_ == nullptr ? truthy(subject) : test_(runtime, subject, test_args_);
      if (passes == keep_passing_) return true;
    }
    return false;
  }

 private:
  bool start(Runtime& runtime) {
    if (!truthy(input_)) return false;
    std::span<const Value> rest = args_.positional;
    if (by_attribute_) {
      if (rest.empty()) throw_raised("Missing parameter for attribute name");
      getter_ = Getter(runtime, rest[0]);
      rest = rest.subspan(1);
    }
    if (!rest.empty()) {
      const std::string_view name = string_argument("select", rest[0]);
      test_ = find_test(name);
      if (test_ == nullptr) throw_raised("No test named '" + std::string(name) + "'.");
      test_args_ = {rest.subspan(1), args_.keywords};
    }
    source_.emplace(runtime, input_);
    return true;
  }

  Value input_;
  Args args_;
  bool keep_passing_, by_attribute_;
  std::optional<Cursor> source_;
  Getter getter_;
  TestFunction test_ = nullptr;
  Args test_args_;
};

template <bool kKeepPassing, bool kByAttribute>
Value filter_select(Runtime& runtime, const Value& input, const Args& args) {
  const Args kept = keep(runtime, args.positional, args.keywords);
  return Value::iterator(runtime.arena.make<SelectItems>(input, kept, kKeepPassing, kByAttribute));
}

std::vector<Value> items_of_dict(Runtime& runtime, const Value& input, const Args& args) {
  bind("items", args, {}, 0, nullptr);
  if (input.is_undefined()) return {};
  if (!input.is(Kind::kDict)) throw_python("TypeError: Can only get item pairs from a mapping.");
  std::vector<Value> out;
  for (const Dict::Entry& entry : input.as_dict().entries())
    out.push_back(runtime.tuple({entry.key, entry.value}));
  return out;
}

std::vector<Value> batches(Runtime& runtime, const Value& input, const Args& args) {
  Value a[2];
  bind("batch", args, {"linecount", "fill_with"}, 1, a);
  const int64_t count = int_argument(a[0]);
  std::vector<Value> out, batch;
  for (const Value& item : collect(runtime, input)) {
    if (static_cast<int64_t>(batch.size()) == count) {
      out.push_back(runtime.list(batch));
      batch.clear();
    }
    batch.push_back(item);
  }
  if (batch.empty()) return out;
  while (given(a[1]) && static_cast<int64_t>(batch.size()) < count) {
    runtime.charge(1);
    batch.push_back(a[1]);
  }
  out.push_back(runtime.list(batch));
  return out;
}

std::vector<Value> slices(Runtime& runtime, const Value& input, const Args& args) {
  Value a[2];
  bind("slice", args, {"slices", "fill_with"}, 1, a);
  const std::vector<Value> items = collect(runtime, input);
  const int64_t count = int_argument(a[0]);
  if (count == 0) throw_python("ZeroDivisionError: integer division or modulo by zero");
  if (count < 0) return {};
  const auto size = static_cast<int64_t>(items.size());
  std::vector<Value> out;
  int64_t start = 0;
  for (int64_t i = 0; i < count; ++i) {
    runtime.charge(1);
    const bool has_extra = i < size % count;
    const int64_t end = start + size / count + has_extra;
    std::vector<Value> part(items.begin() + start, items.begin() + end);
    if (given(a[1]) && !has_extra) part.push_back(a[1]);
    out.push_back(runtime.list(part));
    start = end;
  }
  return out;
}

std::vector<Value> unique_items(Runtime& runtime, const Value& input, const Args& args) {
  Value a[2];
  bind("unique", args, {"case_sensitive", "attribute"}, 0, a);
  const Getter getter(runtime, a[1], !flag_argument(a[0]));
  Dict seen;
  std::vector<Value> out;
  for (const Value& item : collect(runtime, input)) {
    const Value key = getter(runtime, item);
    if (seen.find(runtime, key) != nullptr) continue;
    seen.set(runtime, key, Value::none());
    out.push_back(item);
  }
  return out;
}

// ---- Lists and single items

Value filter_list(Runtime& runtime, const Value& input, const Args& args) {
  bind("list", args, {}, 0, nullptr);
  return runtime.list(collect(runtime, input));
}

Value filter_first(Runtime& runtime, const Value& input, const Args& args) {
  bind("first", args, {}, 0, nullptr);
  Cursor cursor(runtime, input);
  Value item;
  return cursor.next(runtime, item) ? item
                                    : runtime.undefined_hint("No first item, sequence was empty.");
}

Value filter_last(Runtime& runtime, const Value& input, const Args& args) {
  bind("last", args, {}, 0, nullptr);
  const bool reversible = input.is_undefined() || input.is_string() || input.is_sequence() ||
                          input.is(Kind::kDict) || input.is(Kind::kDictView) ||
                          input.is(Kind::kRange);
  if (!reversible)
    throw_python("TypeError: '" + std::string(type_name(input)) + "' object is not reversible");
  const std::vector<Value> items = collect(runtime, input);
  return items.empty() ? runtime.undefined_hint("No last item, sequence was empty.") : items.back();
}

Value filter_random(Runtime&, const Value&, const Args&) {
  throw_python(
      "NotImplementedError: the filter random is not supported, for equal prompts to render alike");
}

std::vector<Value> reversed_items(Runtime& runtime, const Value& input, const Args&) {
  std::vector<Value> items = collect(runtime, input);
  std::reverse(items.begin(), items.end());
  return items;
}

Value filter_reverse(Runtime& runtime, const Value& input, const Args& args) {
  bind("reverse", args, {}, 0, nullptr);
  if (input.is_string())
    return slice(runtime, input, Value::none(), Value::none(), Value::integer(-1));
  // A generator cannot be walked backwards: Jinja makes a list of it.
  if (input.is(Kind::kIterator)) return runtime.list(reversed_items(runtime, input, {}));
  if (!find_test("iterable")(runtime, input, {})) throw_raised("argument must be iterable");
  return deferred<reversed_items>(runtime, input, {});
}

Value filter_sort(Runtime& runtime, const Value& input, const Args& args) {
  Value a[3];
  bind("sort", args, {"reverse", "case_sensitive", "attribute"}, 0, a);
  const std::vector<Value> items = collect(runtime, input);
  // Several attributes, "a,b", compare as a tuple.
  std::vector<Getter> getters;
  if (a[2].is_string()) {
    std::string_view rest = a[2].as_string();
    for (bool more = true; more;) {
      const size_t comma = rest.find(',');
      more = comma != std::string_view::npos;
      getters.emplace_back(runtime, Value::string(rest.substr(0, comma)), !flag_argument(a[1]));
      if (more) rest.remove_prefix(comma + 1);
    }
  } else {
    getters.emplace_back(runtime, a[2], !flag_argument(a[1]));
  }
  std::vector<Value> keys;
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const Getter& getter : getters) key.push_back(getter(runtime, item));
    keys.push_back(runtime.tuple(key));
  }
  return runtime.list(sorted(runtime, items, keys, flag_argument(a[0])));
}

Value filter_dictsort(Runtime& runtime, const Value& input, const Args& args) {
  Value a[3];
  bind("dictsort", args, {"case_sensitive", "by", "reverse"}, 0, a);
  const std::string_view by = a[1].is_missing() ? "key" : string_argument("dictsort", a[1]);
  if (by != "key" && by != "value")
    throw_raised("You can only sort by either \"key\" or \"value\"");
  if (input.is_undefined()) throw_undefined(input.as_undefined());
  if (!input.is(Kind::kDict))
    throw_python("AttributeError: '" + std::string(type_name(input)) +
                 "' object has no attribute 'items'");
  const std::vector<Value> items = items_of_dict(runtime, input, {});
  const Getter getter(runtime, Value::integer(by == "key" ? 0 : 1), !flag_argument(a[0]));
  return runtime.list(sorted(runtime, items, keys_of(runtime, items, getter), flag_argument(a[2])));
}

template <bool kLargest>
Value filter_extreme(Runtime& runtime, const Value& input, const Args& args) {
  Value a[2];
  bind("min", args, {"case_sensitive", "attribute"}, 0, a);
  const Getter getter(runtime, a[1], !flag_argument(a[0]));
  Cursor cursor(runtime, input);
  Value best;
  if (!cursor.next(runtime, best))
    return runtime.undefined_hint("No aggregated item, sequence was empty.");
  Value best_key = getter(runtime, best);
  for (Value item; cursor.next(runtime, item);) {
    const Value key = getter(runtime, item);
    if (kLargest ? !less(runtime, best_key, key) : !less(runtime, key, best_key)) continue;
    best = item;
    best_key = key;
  }
  return best;
}

Value filter_sum(Runtime& runtime, const Value& input, const Args& args) {
  Value a[2];
  bind("sum", args, {"attribute", "start"}, 0, a);
  const Getter getter(runtime, a[0]);
  Value total = a[1].is_missing() ? Value::integer(0) : a[1];
  if (total.is_string())
    throw_python("TypeError: sum() can't sum strings [use ''.join(seq) instead]");
  Cursor cursor(runtime, input);
  for (Value item; cursor.next(runtime, item);)
    total = binary(runtime, BinaryOp::kAdd, total, getter(runtime, item));
  return total;
}

Value filter_join(Runtime& runtime, const Value& input, const Args& args) {
  Value a[2];
  bind("join", args, {"d", "attribute"}, 0, a);
  const Getter getter(runtime, a[1]);
  const std::string_view separator = a[0].is_missing() ? "" : to_str(runtime, a[0]).as_string();
  Draft out;
  bool first = true;
  Cursor cursor(runtime, input);
  for (Value item; cursor.next(runtime, item);) {
    if (!std::exchange(first, false)) runtime.append(out, separator);
    append_str(runtime, out, getter(runtime, item));
  }
  return runtime.text(out);
}

Value filter_groupby(Runtime& runtime, const Value& input, const Args& args) {
  Value a[3];
  bind("groupby", args, {"attribute", "default", "case_sensitive"}, 1, a);
  const bool case_sensitive = flag_argument(a[2]);
  const Getter getter(runtime, a[0], !case_sensitive, a[1]);
  const Getter shown(runtime, a[0], false, a[1]);
  const std::vector<Value> unsorted = collect(runtime, input);
  const std::vector<Value> items =
      sorted(runtime, unsorted, keys_of(runtime, unsorted, getter), false);
  std::vector<Value> out;
  for (size_t begin = 0; begin < items.size();) {
    const Value key = getter(runtime, items[begin]);
    size_t end = begin + 1;
    while (end < items.size() && equal(runtime, getter(runtime, items[end]), key)) ++end;
    const Value group = runtime.list({items.begin() + static_cast<ptrdiff_t>(begin),
                                      items.begin() + static_cast<ptrdiff_t>(end)});
    const std::vector<Value> pair{shown(runtime, items[begin]), group};
    out.push_back(Value::tuple(runtime.arena.make<Sequence>(runtime.arena.copy(pair), true)));
    begin = end;
  }
  return runtime.list(out);
}

}  // namespace

std::span<const NamedFilter> sequence_filters() {
  static constexpr NamedFilter kFilters[] = {
      {"batch", deferred<batches>},
      {"dictsort", filter_dictsort},
      {"first", filter_first},
      {"groupby", filter_groupby},
      {"items", deferred<items_of_dict>},
      {"join", filter_join},
      {"last", filter_last},
      {"list", filter_list},
      {"map", filter_map},
      {"max", filter_extreme<true>},
      {"min", filter_extreme<false>},
      {"random", filter_random},
      {"reject", filter_select<false, false>},
      {"rejectattr", filter_select<false, true>},
      {"reverse", filter_reverse},
      {"select", filter_select<true, false>},
      {"selectattr", filter_select<true, true>},
      {"slice", deferred<slices>},
      {"sort", filter_sort},
      {"sum", filter_sum},
      {"unique", deferred<unique_items>},
  };
  return kFilters;
}

}  // namespace octavo::text::jinja
