// The methods of str. Each takes what Python's takes and fails as it does.
#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/utf8.h"
#include "text/jinja/builtins.h"
#include "text/jinja/code_points.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace octavo::text::jinja {

namespace {

std::string_view text_of(const Value& self) {
  return self.as_string();
}

// ---- Trimming

// Drops characters of `chars` (spaces, if none) from the ends asked for.
Value strip(Runtime& runtime, std::string_view name, const Value& self, const Args& args, bool left,
            bool right) {
  Value chars[1];
  bind(name, args, {"chars"}, 0, chars);
  std::string_view text = text_of(self);
  if (!given(chars[0])) {
    if (left) text = strip_left(text);
    if (right) text = strip_right(text);
    runtime.charge_bytes((self.as_string().size() - text.size()) * 8);
    return Value::string(text, self.is_safe());
  }
  const std::string_view set = string_argument(name, chars[0]);
  const auto in_set = [&](std::string_view point) {
    runtime.charge_bytes(set.size());
    return find_text(set, point) != std::string_view::npos;
  };
  while (left && !text.empty()) {
    const size_t size = byte_offset(text, 1);
    if (!in_set(text.substr(0, size))) break;
    text.remove_prefix(size);
  }
  while (right && !text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!in_set(text.substr(last))) break;
    text = text.substr(0, last);
  }
  return Value::string(text, self.is_safe());
}

Value str_strip(Runtime& r, const Value& self, const Args& args) {
  return strip(r, "strip", self, args, true, true);
}
Value str_lstrip(Runtime& r, const Value& self, const Args& args) {
  return strip(r, "lstrip", self, args, true, false);
}
Value str_rstrip(Runtime& r, const Value& self, const Args& args) {
  return strip(r, "rstrip", self, args, false, true);
}

Value str_removeprefix(Runtime& runtime, const Value& self, const Args& args) {
  Value prefix[1];
  bind("removeprefix", args, {"prefix"}, 1, prefix);
  std::string_view text = text_of(self);
  const std::string_view p = string_argument("removeprefix", prefix[0]);
  runtime.charge_bytes(p.size());
  if (text.starts_with(p)) text.remove_prefix(p.size());
  return Value::string(text, self.is_safe());
}

Value str_removesuffix(Runtime& runtime, const Value& self, const Args& args) {
  Value suffix[1];
  bind("removesuffix", args, {"suffix"}, 1, suffix);
  std::string_view text = text_of(self);
  const std::string_view s = string_argument("removesuffix", suffix[0]);
  runtime.charge_bytes(s.size());
  if (text.ends_with(s)) text.remove_suffix(s.size());
  return Value::string(text, self.is_safe());
}

// ---- Splitting

Value list_of(Runtime& runtime, const std::vector<std::string_view>& parts, bool safe) {
  std::vector<Value> items;
  items.reserve(parts.size());
  runtime.charge(static_cast<int64_t>(parts.size()));
  for (const std::string_view part : parts) items.push_back(Value::string(part, safe));
  return runtime.list(items);
}

// Runs of spaces separate, and none at the ends. At most `limit` separations, from the end if
// `from_right`.
std::vector<std::string_view> split_spaces(Runtime& runtime, std::string_view text, int64_t limit,
                                           bool from_right) {
  std::vector<std::string_view> parts;
  const auto space_at = [&](size_t i) { return is_space(decode_utf8(text, i).code_point); };
  text = from_right ? strip_right(text) : strip_left(text);
  while (!text.empty()) {
    runtime.charge(1);
    if (limit >= 0 && static_cast<int64_t>(parts.size()) >= limit) {
      parts.push_back(text);
      break;
    }
    if (!from_right) {
      size_t end = 0;
      while (end < text.size() && !space_at(end)) end += byte_offset(text.substr(end, 4), 1);
      parts.push_back(text.substr(0, end));
      text = strip_left(text.substr(end));
    } else {
      size_t begin = text.size();
      while (begin > 0) {
        size_t last = begin - 1;
        while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
        if (space_at(last)) break;
        begin = last;
      }
      parts.push_back(text.substr(begin));
      text = strip_right(text.substr(0, begin));
    }
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

Value split(Runtime& runtime, std::string_view name, const Value& self, const Args& args,
            bool from_right) {
  Value a[2];
  bind(name, args, {"sep", "maxsplit"}, 0, a);
  std::string_view text = text_of(self);
  runtime.charge_bytes(text.size());
  const int64_t limit = a[1].is_missing() ? -1 : int_argument(a[1]);
  if (!given(a[0]))
    return list_of(runtime, split_spaces(runtime, text, limit, from_right), self.is_safe());
  const std::string_view separator = string_argument(name, a[0]);
  if (separator.empty()) throw_python("ValueError: empty separator");
  std::vector<std::string_view> parts;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    const size_t at = from_right ? find_last_text(text, separator) : find_text(text, separator);
    if (at == std::string_view::npos) break;
    runtime.charge_bytes(separator.size() * 8);
    const std::string_view after = text.substr(at + separator.size());
    parts.push_back(from_right ? after : text.substr(0, at));
    text = from_right ? text.substr(0, at) : after;
  }
  parts.push_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return list_of(runtime, parts, self.is_safe());
}

Value str_split(Runtime& r, const Value& self, const Args& args) {
  return split(r, "split", self, args, false);
}
Value str_rsplit(Runtime& r, const Value& self, const Args& args) {
  return split(r, "rsplit", self, args, true);
}

Value str_splitlines(Runtime& runtime, const Value& self, const Args& args) {
  Value a[1];
  bind("splitlines", args, {"keepends"}, 0, a);
  const bool keep_ends = flag_argument(a[0]);
  const std::string_view text = text_of(self);
  runtime.charge_bytes(text.size());
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    const char32_t c = d.code_point;
    const size_t at = i;
    i += d.length;
    const bool is_end = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                        c == 0x2028 || c == 0x2029;
    if (!is_end) continue;
    if (c == '\r' && i < text.size() && text[i] == '\n') ++i;
    lines.push_back(text.substr(start, (keep_ends ? i : at) - start));
    start = i;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return list_of(runtime, lines, self.is_safe());
}

Value partition(Runtime& runtime, std::string_view name, const Value& self, const Args& args,
                bool from_right) {
  Value a[1];
  bind(name, args, {"sep"}, 1, a);
  const std::string_view separator = string_argument(name, a[0]);
  if (separator.empty()) throw_python("ValueError: empty separator");
  const std::string_view text = text_of(self);
  runtime.charge_bytes(text.size());
  const auto part = [&](std::string_view s) { return Value::string(s, self.is_safe()); };
  const size_t at = from_right ? find_last_text(text, separator) : find_text(text, separator);
  if (at == std::string_view::npos) {
    if (from_right) return runtime.tuple({part(""), part(""), part(text)});
    return runtime.tuple({part(text), part(""), part("")});
  }
  return runtime.tuple(
      {part(text.substr(0, at)), part(separator), part(text.substr(at + separator.size()))});
}

Value str_partition(Runtime& r, const Value& self, const Args& args) {
  return partition(r, "partition", self, args, false);
}
Value str_rpartition(Runtime& r, const Value& self, const Args& args) {
  return partition(r, "rpartition", self, args, true);
}

// ---- Searching

// text[start:end] of the optional arguments, and where it begins.
struct Window {
  std::string_view text;
  int64_t start = 0;  // in code points
  bool valid = true;  // false: start lies behind the end
};
Window window(Runtime& runtime, const Value& self, const Value& start, const Value& end) {
  std::string_view text = text_of(self);
  runtime.charge_bytes(text.size());
  if (!given(start) && !given(end)) return {text};
  const int64_t length = count_code_points(text);
  const auto clamp = [&](const Value& v, int64_t otherwise) {
    if (!given(v)) return otherwise;
    const int64_t i = int_argument(v);
    return i < 0 ? std::max<int64_t>(0, i < -length ? 0 : i + length) : i;
  };
  const int64_t from = clamp(start, 0);
  const int64_t to = std::min(clamp(end, length), length);
  if (from > to) return {{}, from, false};
  const size_t begin = byte_offset(text, from);
  return {text.substr(begin, byte_offset(text.substr(begin), to - from)), from};
}

enum class Search { kFind, kRfind, kIndex, kRindex };

template <Search kind>
Value str_search(Runtime& runtime, const Value& self, const Args& args) {
  Value a[3];
  bind("find", args, {"sub", "start", "end"}, 1, a);
  const std::string_view needle = string_argument("find", a[0]);
  const Window in = window(runtime, self, a[1], a[2]);
  size_t at = std::string_view::npos;
  constexpr bool kFromRight = kind == Search::kRfind || kind == Search::kRindex;
  if (in.valid) at = kFromRight ? find_last_text(in.text, needle) : find_text(in.text, needle);
  if (at != std::string_view::npos)
    return Value::integer(in.start + count_code_points(in.text.substr(0, at)));
  if (kind == Search::kIndex || kind == Search::kRindex)
    throw_python("ValueError: substring not found");
  return Value::integer(-1);
}

Value str_count(Runtime& runtime, const Value& self, const Args& args) {
  Value a[3];
  bind("count", args, {"sub", "start", "end"}, 1, a);
  const std::string_view needle = string_argument("count", a[0]);
  const Window in = window(runtime, self, a[1], a[2]);
  if (!in.valid) return Value::integer(0);
  if (needle.empty()) return Value::integer(count_code_points(in.text) + 1);
  int64_t n = 0;
  for (size_t at = 0; (at = find_text(in.text, needle, at)) != std::string_view::npos;
       at += needle.size())
    ++n;
  return Value::integer(n);
}

template <bool kAtStart>
Value str_affix(Runtime& runtime, const Value& self, const Args& args) {
  constexpr std::string_view kName = kAtStart ? "startswith" : "endswith";
  Value a[3];
  bind(kName, args, {"prefix", "start", "end"}, 1, a);
  const Window in = window(runtime, self, a[1], a[2]);
  const auto matches = [&](const Value& affix) {
    if (!affix.is_string()) {
      throw_python("TypeError: " + std::string(kName) +
                   " first arg must be str or a tuple of str, not " +
                   std::string(type_name(affix)));
    }
    if (!in.valid) return false;
    return kAtStart ? in.text.starts_with(affix.as_string()) : in.text.ends_with(affix.as_string());
  };
  if (!a[0].is(Kind::kTuple)) return Value::boolean(matches(a[0]));
  bool any = false;
  for (const Value& affix : a[0].items()) any = any || matches(affix);
  return Value::boolean(any);
}

// ---- Case and character classes

template <std::string (*change)(std::string_view)>
Value str_change_case(Runtime& runtime, const Value& self, const Args& args) {
  bind("case", args, {}, 0, nullptr);
  runtime.charge_bytes(self.as_string().size() * 8);
  return runtime.text_made_of(self.as_string(), change(self.as_string()), self.is_safe());
}

bool is_digit(char32_t c) {
  return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0x2070 && c <= 0x2089) ||
         (c >= 0x2460 && c <= 0x2468);
}
bool is_ascii_point(char32_t c) {
  return c < 0x80;
}

// True if all characters, and at least one, are of the class.
template <bool (*in_class)(char32_t), bool kIfEmpty = false>
Value str_all(Runtime& runtime, const Value& self, const Args& args) {
  bind("is", args, {}, 0, nullptr);
  const std::string_view text = self.as_string();
  runtime.charge_bytes(text.size() * 8);
  for (const CodePoint at : CodePoints(text)) {
    if (!in_class(at.value)) return Value::boolean(false);
  }
  return Value::boolean(kIfEmpty || !text.empty());
}

// True if there are cased letters and all are of that case.
template <bool kUpper>
Value str_is_case(Runtime& runtime, const Value& self, const Args& args) {
  bind("is", args, {}, 0, nullptr);
  const std::string_view text = self.as_string();
  runtime.charge_bytes(text.size() * 8);
  bool any = false;
  for (const CodePoint at : CodePoints(text)) {
    if (kUpper ? is_lower(at.value) : is_upper(at.value)) return Value::boolean(false);
    any = any || (kUpper ? is_upper(at.value) : is_lower(at.value));
  }
  return Value::boolean(any);
}

Value str_istitle(Runtime& runtime, const Value& self, const Args& args) {
  bind("istitle", args, {}, 0, nullptr);
  const std::string_view text = self.as_string();
  runtime.charge_bytes(text.size() * 8);
  bool any = false, in_word = false;
  for (const CodePoint at : CodePoints(text)) {
    const bool upper = is_upper(at.value), lower = is_lower(at.value);
    if ((upper && in_word) || (lower && !in_word)) return Value::boolean(false);
    in_word = upper || lower;
    any = any || in_word;
  }
  return Value::boolean(any);
}

// ---- Building

Value str_replace(Runtime& runtime, const Value& self, const Args& args) {
  Value a[3];
  bind("replace", args, {"old", "new", "count"}, 2, a);
  const std::string_view old = string_argument("replace", a[0]);
  const Value replacement = self.is_safe() ? escape(runtime, a[1]) : a[1];
  const std::string_view with = string_argument("replace", replacement);
  int64_t left = a[2].is_missing() ? -1 : int_argument(a[2]);
  const std::string_view text = text_of(self);
  runtime.charge_bytes(text.size());
  Draft out;
  size_t done = 0;
  if (old.empty()) {
    // Before every character, and at the end.
    while (left != 0) {
      --left;
      runtime.append(out, with);
      if (done >= text.size()) break;
      const size_t size = byte_offset(text.substr(done, 4), 1);
      runtime.append(out, text.substr(done, size));
      done += size;
    }
  } else {
    for (size_t at; left != 0 && (at = find_text(text, old, done)) != std::string_view::npos;
         --left) {
      runtime.append(out, text.substr(done, at - done));
      runtime.append(out, with);
      done = at + old.size();
    }
    if (done == 0) return self;
  }
  runtime.append(out, text.substr(std::min(done, text.size())));
  return runtime.text(out, self.is_safe());
}

Value str_join(Runtime& runtime, const Value& self, const Args& args) {
  Value a[1];
  bind("join", args, {"iterable"}, 1, a);
  Cursor cursor(runtime, a[0]);
  Draft out;
  int64_t i = 0;
  for (Value item; cursor.next(runtime, item); ++i) {
    if (!item.is_string()) {
      throw_python("TypeError: sequence item " + std::to_string(i) + ": expected str instance, " +
                   std::string(type_name(item)) + " found");
    }
    if (i > 0) runtime.append(out, text_of(self));
    runtime.append(out, self.is_safe() ? escape(runtime, item).as_string() : item.as_string());
  }
  return runtime.text(out, self.is_safe());
}

enum class Side { kLeft, kRight, kCenter };

template <Side kText>
Value str_justify(Runtime& runtime, const Value& self, const Args& args) {
  Value a[2];
  bind("justify", args, {"width", "fillchar"}, 1, a);
  const std::string_view fill = a[1].is_missing() ? " " : string_argument("justify", a[1]);
  if (count_code_points(fill) != 1)
    throw_python("TypeError: The fill character must be exactly one character long");
  const int64_t width = int_argument(a[0]), size = length(runtime, self);
  if (width <= size) return self;
  const int64_t pad = width - size;
  const int64_t centered = pad / 2 + (pad & width & 1);
  const int64_t before = kText == Side::kLeft ? 0 : kText == Side::kRight ? pad : centered;
  Draft out;
  runtime.append_repeated(out, fill, before);
  runtime.append(out, text_of(self));
  runtime.append_repeated(out, fill, pad - before);
  return runtime.text(out, self.is_safe());
}

Value str_zfill(Runtime& runtime, const Value& self, const Args& args) {
  Value a[1];
  bind("zfill", args, {"width"}, 1, a);
  const std::string_view text = text_of(self);
  const int64_t pad = int_argument(a[0]) - length(runtime, self);
  if (pad <= 0) return self;
  const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  Draft out;
  runtime.append(out, text.substr(0, sign));
  runtime.append_repeated(out, "0", pad);
  runtime.append(out, text.substr(sign));
  return runtime.text(out, self.is_safe());
}

Value str_expandtabs(Runtime& runtime, const Value& self, const Args& args) {
  Value a[1];
  bind("expandtabs", args, {"tabsize"}, 0, a);
  const int64_t tab = a[0].is_missing() ? 8 : int_argument(a[0]);
  Draft out;
  int64_t column = 0;
  const std::string_view text = text_of(self);
  runtime.charge_bytes(text.size() * 8);
  for (size_t i = 0; i < text.size();) {
    const size_t size = byte_offset(text.substr(i, 4), 1);
    if (text[i] == '\t') {
      const int64_t spaces = tab > 0 ? tab - column % tab : 0;
      runtime.append_repeated(out, " ", spaces);
      column += spaces;
    } else {
      runtime.append(out, text.substr(i, size));
      column = text[i] == '\n' || text[i] == '\r' ? 0 : column + 1;
    }
    i += size;
  }
  return runtime.text(out);
}

Value str_format(Runtime& runtime, const Value& self, const Args& args) {
  return brace_format(runtime, self, args);
}

Value str_format_map(Runtime& runtime, const Value& self, const Args& args) {
  Value a[1];
  bind("format_map", args, {"mapping"}, 1, a);
  if (!a[0].is(Kind::kDict)) throw_python("TypeError: format_map() argument must be a mapping");
  std::vector<Keyword> keywords;
  for (const Dict::Entry& entry : a[0].as_dict().entries()) {
    if (entry.key.is_string()) keywords.push_back({entry.key.as_string(), entry.value});
  }
  return brace_format(runtime, self, {{}, keywords});
}

Value str_unsupported(Runtime&, const Value&, const Args&) {
  throw_python("NotImplementedError: bytes and translation tables do not exist here");
}

}  // namespace

NativeFunction find_string_method(std::string_view name) {
  static const std::unordered_map<std::string_view, NativeFunction> kMethods = {
      {"strip", str_strip},
      {"lstrip", str_lstrip},
      {"rstrip", str_rstrip},
      {"removeprefix", str_removeprefix},
      {"removesuffix", str_removesuffix},
      {"split", str_split},
      {"rsplit", str_rsplit},
      {"splitlines", str_splitlines},
      {"partition", str_partition},
      {"rpartition", str_rpartition},
      {"find", str_search<Search::kFind>},
      {"rfind", str_search<Search::kRfind>},
      {"index", str_search<Search::kIndex>},
      {"rindex", str_search<Search::kRindex>},
      {"count", str_count},
      {"startswith", str_affix<true>},
      {"endswith", str_affix<false>},
      {"lower", str_change_case<to_lower>},
      {"casefold", str_change_case<to_lower>},
      {"upper", str_change_case<to_upper>},
      {"title", str_change_case<title>},
      {"capitalize", str_change_case<capitalize>},
      {"swapcase", str_change_case<swap_case>},
      {"isalpha", str_all<is_alpha>},
      {"isalnum", str_all<is_alnum>},
      {"isdecimal", str_all<is_decimal>},
      {"isdigit", str_all<is_digit>},
      {"isnumeric", str_all<is_numeric>},
      {"isspace", str_all<is_space>},
      {"isascii", str_all<is_ascii_point, true>},
      {"isupper", str_is_case<true>},
      {"islower", str_is_case<false>},
      {"istitle", str_istitle},
      {"replace", str_replace},
      {"join", str_join},
      {"ljust", str_justify<Side::kLeft>},
      {"rjust", str_justify<Side::kRight>},
      {"center", str_justify<Side::kCenter>},
      {"zfill", str_zfill},
      {"expandtabs", str_expandtabs},
      {"format", str_format},
      {"format_map", str_format_map},
      {"encode", str_unsupported},
      {"translate", str_unsupported},
      {"maketrans", str_unsupported},
  };
  // The name may be a template's data, of any length.
  if (name.size() > kLongestName) return nullptr;
  const auto found = kMethods.find(name);
  return found == kMethods.end() ? nullptr : found->second;
}

}  // namespace octavo::text::jinja
