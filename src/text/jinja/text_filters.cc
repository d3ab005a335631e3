// The filters on one text, number or value.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "text/jinja/builtins.h"
#include "text/jinja/code_points.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace octavo::text::jinja {

namespace {

// A filter that is a method of str(input).
Value call_string_method(Runtime& runtime, std::string_view name, const Value& input,
                         const Args& args) {
  return find_string_method(name)(runtime, to_str(runtime, input), args);
}

Value filter_trim(Runtime& r, const Value& input, const Args& args) {
  return call_string_method(r, "strip", input, args);
}
Value filter_upper(Runtime& r, const Value& input, const Args& args) {
  return call_string_method(r, "upper", input, args);
}
Value filter_lower(Runtime& r, const Value& input, const Args& args) {
  return call_string_method(r, "lower", input, args);
}
Value filter_capitalize(Runtime& r, const Value& input, const Args& args) {
  return call_string_method(r, "capitalize", input, args);
}

// Unlike str.title, a letter after an apostrophe stays small.
Value filter_title(Runtime& runtime, const Value& input, const Args& args) {
  bind("title", args, {}, 0, nullptr);
  const Value text = to_str(runtime, input);
  const std::string_view bytes = text.as_string();
  runtime.charge_bytes(bytes.size() * 8);
  std::string out;
  size_t word = 0;
  const auto flush = [&](size_t end) {
    const std::string_view part = bytes.substr(word, end - word);
    if (part.empty()) return;
    const size_t first = byte_offset(part.substr(0, 4), 1);
    out.append(to_upper(part.substr(0, first)));
    out.append(to_lower(part.substr(first)));
  };
  for (const CodePoint at : CodePoints(bytes)) {
    const bool separates = is_space(at.value) || std::u32string_view(U"-({[<").find(at.value) !=
                                                     std::u32string_view::npos;
    if (separates) {
      flush(at.begin);
      out.append(bytes.substr(at.begin, at.end - at.begin));
      word = at.end;
    }
  }
  flush(bytes.size());
  return runtime.text(out, text.is_safe());
}

Value filter_center(Runtime& runtime, const Value& input, const Args& args) {
  Value a[1];
  bind("center", args, {"width"}, 0, a);
  const Value width[] = {a[0].is_missing() ? Value::integer(80) : a[0]};
  return call_string_method(runtime, "center", input, {width, {}});
}

Value filter_replace(Runtime& runtime, const Value& input, const Args& args) {
  Value a[3];
  bind("replace", args, {"old", "new", "count"}, 2, a);
  const Value plain = Value::string(to_str(runtime, input).as_string());
  const Value arguments[] = {to_str(runtime, a[0]), to_str(runtime, a[1]),
                             given(a[2]) ? a[2] : Value::integer(-1)};
  return find_string_method("replace")(runtime, plain, {arguments, {}});
}

Value filter_string(Runtime& runtime, const Value& input, const Args& args) {
  bind("string", args, {}, 0, nullptr);
  return to_str(runtime, input);
}

Value filter_safe(Runtime& runtime, const Value& input, const Args& args) {
  bind("safe", args, {}, 0, nullptr);
  return Value::string(to_str(runtime, input).as_string(), true);
}

Value filter_escape(Runtime& runtime, const Value& input, const Args& args) {
  bind("escape", args, {}, 0, nullptr);
  return escape(runtime, input);
}

Value filter_forceescape(Runtime& runtime, const Value& input, const Args& args) {
  bind("forceescape", args, {}, 0, nullptr);
  return escape(runtime, Value::string(to_str(runtime, input).as_string()));
}

Value filter_format(Runtime& runtime, const Value& input, const Args& args) {
  if (!args.positional.empty() && !args.keywords.empty()) {
    throw_raised("can't handle positional and keyword arguments at the same time");
  }
  const Value format = to_str(runtime, input);
  if (args.keywords.empty()) {
    return percent_format(runtime, format,
                          runtime.tuple({args.positional.begin(), args.positional.end()}));
  }
  Dict* dict = runtime.arena.make<Dict>();
  for (const Keyword& keyword : args.keywords)
    dict->set(runtime, Value::string(keyword.name), keyword.value);
  return percent_format(runtime, format, Value::dict(dict));
}

Value filter_indent(Runtime& runtime, const Value& input, const Args& args) {
  Value a[3];
  bind("indent", args, {"width", "first", "blank"}, 0, a);
  if (input.is_undefined()) throw_undefined(input.as_undefined());
  const std::string_view text = string_argument("indent", input);
  Draft indention;
  if (a[0].is_string()) {
    runtime.append(indention, a[0].as_string());
  } else {
    runtime.append_repeated(indention, " ", a[0].is_missing() ? 4 : int_argument(a[0]));
  }
  const bool blank = flag_argument(a[2]);
  const Value lines = find_string_method("splitlines")(runtime, runtime.concat(text, "\n"), {});
  const std::string_view margin = runtime.text(indention).as_string();
  Draft out;
  if (flag_argument(a[1])) runtime.append(out, margin);
  bool is_first = true;
  for (const Value& line : lines.items()) {
    if (!is_first) {
      runtime.append(out, "\n");
      if (blank || !line.as_string().empty()) runtime.append(out, margin);
    }
    is_first = false;
    runtime.append(out, line.as_string());
  }
  return runtime.text(out, input.is_safe());
}

Value filter_truncate(Runtime& runtime, const Value& input, const Args& args) {
  Value a[4];
  bind("truncate", args, {"length", "killwords", "end", "leeway"}, 0, a);
  const int64_t most = a[0].is_missing() ? 255 : int_argument(a[0]);
  const std::string_view end = a[2].is_missing() ? "..." : string_argument("truncate", a[2]);
  const int64_t leeway = given(a[3]) ? int_argument(a[3]) : 5;
  const int64_t end_size = count_code_points(end);
  if (most < end_size)
    throw_python("AssertionError: expected length >= " + std::to_string(end_size));
  if (leeway < 0) throw_python("AssertionError: expected leeway >= 0");
  if (length(runtime, input) <= most + std::min(leeway, INT64_MAX - most)) return input;
  const std::string_view text = string_argument("truncate", input);
  std::string_view kept = text.substr(0, byte_offset(text, most - end_size));
  const bool kill_words = flag_argument(a[1]);
  if (!kill_words) kept = kept.substr(0, std::min(kept.rfind(' '), kept.size()));
  return runtime.concat(kept, end, input.is_safe());
}

Value filter_wordcount(Runtime& runtime, const Value& input, const Args& args) {
  bind("wordcount", args, {}, 0, nullptr);
  const std::string_view text = to_str(runtime, input).as_string();
  runtime.charge_bytes(text.size() * 8);
  int64_t words = 0;
  bool in_word = false;
  for (const CodePoint at : CodePoints(text)) {
    const bool is_word = at.value == '_' || is_alnum(at.value);
    words += is_word && !in_word;
    in_word = is_word;
  }
  return Value::integer(words);
}

void append_url_quoted(Runtime& runtime, std::string& out, std::string_view text, bool in_query) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  runtime.charge_bytes(text.size());
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) ||
                       (c != '\0' && std::string_view("_.-~").find(c) != std::string_view::npos) ||
                       (c == '/' && !in_query);
    if (plain) {
      out.push_back(c);
    } else if (c == ' ' && in_query) {
      out.push_back('+');
    } else {
      out.push_back('%');
      out.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
      out.push_back(kHex[static_cast<unsigned char>(c) & 15]);
    }
  }
}

Value filter_urlencode(Runtime& runtime, const Value& input, const Args& args) {
  bind("urlencode", args, {}, 0, nullptr);
  std::string out;
  const bool is_iterable = input.is_sequence() || input.is(Kind::kDict) ||
                           input.is(Kind::kDictView) || input.is(Kind::kIterator) ||
                           input.is(Kind::kRange);
  if (!is_iterable) {
    append_url_quoted(runtime, out, to_str(runtime, input).as_string(), false);
    return runtime.text(out);
  }
  Value pairs = input;
  if (input.is(Kind::kDict)) {
    pairs =
        Value::dict_view(runtime.arena.make<DictView>(&input.as_dict(), DictView::Part::kItems));
  }
  Cursor cursor(runtime, pairs);
  for (Value pair; cursor.next(runtime, pair);) {
    const std::vector<Value> items = collect(runtime, pair);
    if (items.size() != 2) throw_python("ValueError: urlencode takes pairs");
    if (!out.empty()) out.push_back('&');
    append_url_quoted(runtime, out, to_str(runtime, items[0]).as_string(), true);
    out.push_back('=');
    append_url_quoted(runtime, out, to_str(runtime, items[1]).as_string(), true);
  }
  return runtime.text(out);
}

// ---- Numbers

Value float_to_int(double d, const Value& otherwise) {
  if (std::isnan(d) || std::isinf(d)) return otherwise;
  if (std::abs(d) >= 9.2e18) throw_python("OverflowError: an integer does not fit 64 bits");
  return Value::integer(static_cast<int64_t>(d));
}

Value filter_int(Runtime& runtime, const Value& input, const Args& args) {
  Value a[2];
  bind("int", args, {"default", "base"}, 0, a);
  const Value otherwise = a[0].is_missing() ? Value::integer(0) : a[0];
  if (input.is_undefined()) throw_undefined(input.as_undefined());
  if (input.is_integer()) return Value::integer(input.as_int());
  if (input.is(Kind::kFloat)) {
    // int(inf) is an OverflowError, which the filter does not catch.
    if (std::isinf(input.as_real()))
      throw_python("OverflowError: cannot convert float infinity to integer");
    return float_to_int(input.as_real(), otherwise);
  }
  if (!input.is_string()) return otherwise;
  runtime.charge_bytes(input.as_string().size() * 8);
  int64_t parsed = 0;
  if (parse_python_int(input.as_string(), a[1].is_missing() ? 10 : int_argument(a[1]), parsed))
    return Value::integer(parsed);
  double real = 0;
  return parse_python_float(input.as_string(), real) ? float_to_int(real, otherwise) : otherwise;
}

Value filter_float(Runtime& runtime, const Value& input, const Args& args) {
  Value a[1];
  bind("float", args, {"default"}, 0, a);
  if (input.is_undefined()) throw_undefined(input.as_undefined());
  if (input.is_number()) return Value::real(input.as_real());
  double parsed = 0;
  if (input.is_string()) runtime.charge_bytes(input.as_string().size() * 8);
  if (input.is_string() && parse_python_float(input.as_string(), parsed))
    return Value::real(parsed);
  return a[0].is_missing() ? Value::real(0) : a[0];
}

Value filter_abs(Runtime&, const Value& input, const Args& args) {
  bind("abs", args, {}, 0, nullptr);
  if (input.is_undefined()) throw_undefined(input.as_undefined());
  if (!input.is_number())
    throw_python("TypeError: bad operand type for abs(): '" + std::string(type_name(input)) + "'");
  if (input.is(Kind::kFloat)) return Value::real(std::abs(input.as_real()));
  return input.as_int() < 0 ? negate(input) : Value::integer(input.as_int());
}

// round(value, precision): to even where it lies exactly between, judged by the exact binary value.
Value round_common(const Value& input, int64_t precision) {
  if (input.is_integer()) {
    if (precision >= 0) return Value::integer(input.as_int());
    if (precision < -18) return Value::integer(0);
    int64_t unit = 1;
    for (int64_t i = precision; i < 0; ++i) unit *= 10;
    const int64_t rest = ((input.as_int() % unit) + unit) % unit;
    __int128 down = static_cast<__int128>(input.as_int()) - rest;
    const bool up = rest * 2 > unit || (rest * 2 == unit && (down / unit) % 2 != 0);
    if (up) down += unit;
    if (down > INT64_MAX || down < INT64_MIN)
      throw_python("OverflowError: an integer does not fit 64 bits");
    return Value::integer(static_cast<int64_t>(down));
  }
  const double d = input.as_real();
  if (std::isnan(d) || std::isinf(d) || precision > 323) return input;
  if (precision < -308) return Value::real(std::copysign(0.0, d));
  if (precision >= 0) {
    char buffer[700];
    std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), d);
    return Value::real(std::strtod(buffer, nullptr));
  }
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  return Value::real(std::nearbyint(d / unit) * unit);
}

Value filter_round(Runtime& runtime, const Value& input, const Args& args) {
  Value a[2];
  bind("round", args, {"precision", "method"}, 0, a);
  const int64_t precision = a[0].is_missing() ? 0 : int_argument(a[0]);
  const std::string_view method = a[1].is_missing() ? "common" : string_argument("round", a[1]);
  if (method != "common" && method != "ceil" && method != "floor")
    throw_raised("method must be common, ceil or floor");
  if (input.is_undefined()) throw_undefined(input.as_undefined());
  if (!input.is_number())
    throw_python("TypeError: type " + std::string(type_name(input)) +
                 " doesn't define __round__ method");
  if (method == "common") return round_common(input, precision);
  const Value unit =
      binary(runtime, BinaryOp::kPower, Value::integer(10), Value::integer(precision));
  const double scaled = binary(runtime, BinaryOp::kMultiply, input, unit).as_real();
  return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit.as_real());
}

Value filter_filesizeformat(Runtime& runtime, const Value& input, const Args& args) {
  Value a[1];
  bind("filesizeformat", args, {"binary"}, 0, a);
  const bool binary_units = flag_argument(a[0]);
  const double bytes = filter_float(runtime, input, {}).as_real();
  const double base = binary_units ? 1024 : 1000;
  if (bytes == 1) return Value::string("1 Byte");
  char buffer[400];
  if (bytes < base) {
    std::snprintf(buffer, sizeof buffer, "%.0f Bytes", std::trunc(bytes));
    return runtime.text(buffer);
  }
  static constexpr char kPrefixes[] = "kMGTPEZY";
  double unit = base;
  int i = 0;
  while (i < 7 && bytes >= unit * base) unit *= base, ++i;
  const char prefix = binary_units && i == 0 ? 'K' : kPrefixes[i];
  std::snprintf(buffer, sizeof buffer, "%.1f %c%sB", bytes / unit, prefix, binary_units ? "i" : "");
  return runtime.text(buffer);
}

// ---- Any value

Value filter_default(Runtime&, const Value& input, const Args& args) {
  Value a[2];
  bind("default", args, {"default_value", "boolean"}, 0, a);
  const bool boolean = flag_argument(a[1]);
  if (!input.is_undefined() && !(boolean && !truthy(input))) return input;
  return a[0].is_missing() ? Value::string("") : a[0];
}

std::string spaces(Runtime& runtime, int64_t count) {
  Draft out;
  runtime.append_repeated(out, " ", count);
  return std::move(out.bytes);
}

// json.dumps with transformers' parameters, in their order.
Value filter_tojson(Runtime& runtime, const Value& input, const Args& args) {
  Value a[4];
  bind("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, a);
  JsonStyle style;
  style.ensure_ascii = flag_argument(a[0]);
  style.sort_keys = flag_argument(a[3]);
  if (given(a[1])) {
    style.pretty = true;
    style.item_separator = ",";
    if (a[1].is_string()) {
      style.indent = a[1].as_string();
    } else {
      style.indent = spaces(runtime, int_argument(a[1]));
    }
  }
  if (given(a[2])) {
    const std::vector<Value> separators = collect(runtime, a[2]);
    if (separators.size() != 2) throw_python("ValueError: separators must be a pair");
    style.item_separator = string_argument("separators", separators[0]);
    style.key_separator = string_argument("separators", separators[1]);
  }
  return runtime.text(to_json(runtime, input, style));
}

Value filter_attr(Runtime& runtime, const Value& input, const Args& args) {
  Value a[1];
  bind("attr", args, {"name"}, 1, a);
  // Attributes only: never an item of a dict.
  const std::string_view name = string_argument("attr", a[0]);
  if (input.is(Kind::kDict) && find_method(input, name) == nullptr &&
      !is_mutating_method(input, name)) {
    return runtime.undefined_member(input, a[0]);
  }
  return get_attribute(runtime, input, name);
}

Value filter_pprint(Runtime& runtime, const Value& input, const Args& args) {
  bind("pprint", args, {}, 0, nullptr);
  return runtime.text(repr(runtime, input));
}

Value filter_length(Runtime& runtime, const Value& input, const Args& args) {
  bind("length", args, {}, 0, nullptr);
  return Value::integer(length(runtime, input));
}

}  // namespace

std::span<const NamedFilter> text_filters() {
  static constexpr NamedFilter kFilters[] = {
      {"abs", filter_abs},
      {"attr", filter_attr},
      {"capitalize", filter_capitalize},
      {"center", filter_center},
      {"count", filter_length},
      {"d", filter_default},
      {"default", filter_default},
      {"e", filter_escape},
      {"escape", filter_escape},
      {"filesizeformat", filter_filesizeformat},
      {"float", filter_float},
      {"forceescape", filter_forceescape},
      {"format", filter_format},
      {"indent", filter_indent},
      {"int", filter_int},
      {"length", filter_length},
      {"lower", filter_lower},
      {"pprint", filter_pprint},
      {"replace", filter_replace},
      {"round", filter_round},
      {"safe", filter_safe},
      {"string", filter_string},
      {"title", filter_title},
      {"tojson", filter_tojson},
      {"trim", filter_trim},
      {"truncate", filter_truncate},
      {"upper", filter_upper},
      {"urlencode", filter_urlencode},
      {"wordcount", filter_wordcount},
  };
  return kFilters;
}

}  // namespace octavo::text::jinja
