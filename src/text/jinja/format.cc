// Python's two ways to format: `"%s: %d" % (a, b)` and "{}: {:d}".format(a, b), and the reading of
// numbers.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/utf8.h"
#include "text/jinja/builtins.h"
#include "text/jinja/code_points.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace octavo::text::jinja {

namespace {

constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxPrecision = 400;  // digits of a float; more are zeros

// One conversion, of either language.
struct Spec {
  std::string fill = " ";
  char align = '\0';  // < > = ^
  char sign = '-';    // - + or space
  bool alternate = false, zero = false;
  char grouping = '\0';  // , or _
  int64_t width = 0;
  int64_t precision = -1;
  char type = '\0';
};

std::string digits_of(uint64_t magnitude, int base, bool upper) {
  char buffer[72];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, magnitude, base).ptr;
  std::string out(buffer, end);
  if (upper)
    std::transform(out.begin(), out.end(), out.begin(), [](char c) { return std::toupper(c); });
  return out;
}

std::string group_digits(const std::string& digits, char separator, int every) {
  const size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out;
  for (size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % every == 0) out.push_back(separator);
    out.push_back(digits[i]);
  }
  return out + digits.substr(whole);
}

std::string float_digits(double magnitude, const Spec& spec) {
  if (std::isnan(magnitude)) return std::isupper(spec.type) ? "NAN" : "nan";
  if (std::isinf(magnitude)) return std::isupper(spec.type) ? "INF" : "inf";
  if (spec.type == '\0' && spec.precision < 0) return float_repr(magnitude);
  const int precision =
      static_cast<int>(std::min(spec.precision < 0 ? 6 : spec.precision, kMaxPrecision));
  char type = spec.type == '\0' || spec.type == 'n' ? 'g' : spec.type;
  const bool percent = type == '%';
  if (percent) type = 'f';
  const std::string pattern = std::string(spec.alternate ? "%#.*" : "%.*") + type;
  char buffer[1024];
  const int size = std::snprintf(buffer, sizeof buffer, pattern.c_str(), precision,
                                 percent ? magnitude * 100 : magnitude);
  std::string out(buffer, std::min<size_t>(size, sizeof buffer - 1));
  if (percent) out.push_back('%');
  return out;
}

// Sign, prefix and digits, padded to the width.
void append_number(Runtime& runtime, Draft& out, bool negative, const std::string& prefix,
                   const std::string& digits, const Spec& spec) {
  const std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  const std::string head = sign + prefix;
  const int64_t pad =
      std::max<int64_t>(0, spec.width - static_cast<int64_t>(head.size() + digits.size()));
  const char align = spec.align != '\0' ? spec.align : spec.zero ? '=' : '>';
  const std::string fill = spec.zero && spec.align == '\0' ? "0" : spec.fill;
  const int64_t before = align == '>' ? pad : align == '^' ? pad / 2 : 0;
  runtime.append_repeated(out, fill, before);
  runtime.append_own(out, head);
  if (align == '=') runtime.append_repeated(out, fill, pad);
  runtime.append_own(out, digits);
  if (align != '=') runtime.append_repeated(out, fill, pad - before);
}

void append_integer(Runtime& runtime, Draft& out, int64_t value, const Spec& spec) {
  const bool negative = value < 0;
  const uint64_t magnitude =
      negative ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  const int base = spec.type == 'b'                       ? 2
                   : spec.type == 'o'                     ? 8
                   : spec.type == 'x' || spec.type == 'X' ? 16
                                                          : 10;
  std::string digits = digits_of(magnitude, base, spec.type == 'X');
  if (spec.precision > static_cast<int64_t>(digits.size())) {
    digits.insert(0, std::min(spec.precision, kMaxWidth) - digits.size(), '0');
  }
  if (spec.grouping != '\0') digits = group_digits(digits, spec.grouping, base == 10 ? 3 : 4);
  const std::string prefix = spec.alternate && base != 10 ? std::string("0") + spec.type : "";
  append_number(runtime, out, negative, prefix, digits, spec);
}

void append_float(Runtime& runtime, Draft& out, double value, const Spec& spec) {
  std::string digits = float_digits(std::abs(value), spec);
  if (spec.grouping != '\0') digits = group_digits(digits, spec.grouping, 3);
  append_number(runtime, out, std::signbit(value) && !std::isnan(value), "", digits, spec);
}

// REQUIRES: text of a Value, whose bytes say by their place whose they are.
void append_text(Runtime& runtime, Draft& out, std::string_view text, const Spec& spec) {
  if (spec.precision >= 0) text = text.substr(0, byte_offset(text, spec.precision));
  const int64_t pad = std::max<int64_t>(0, spec.width - count_code_points(text));
  const int64_t before = spec.align == '>' ? pad : spec.align == '^' ? pad / 2 : 0;
  runtime.append_repeated(out, spec.fill, before);
  runtime.append(out, text);
  runtime.append_repeated(out, spec.fill, pad - before);
}

// ---- %

class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, const Value& format, const Value& arguments)
      : runtime_(runtime),
        format_(format.as_string()),
        safe_(format.is_safe()),
        arguments_(arguments) {}
  Draft run();

 private:
  char peek() const {
    if (pos_ >= format_.size()) throw_python("ValueError: incomplete format");
    return format_[pos_];
  }
  Value next_argument() {
    if (!arguments_.is(Kind::kTuple)) {
      if (used_++ > 0) throw_python("TypeError: not enough arguments for format string");
      return arguments_;
    }
    if (used_ >= arguments_.items().size())
      throw_python("TypeError: not enough arguments for format string");
    return arguments_.items()[used_++];
  }
  int64_t parse_size(bool& is_left) {
    if (peek() == '*') {
      ++pos_;
      const int64_t n = int_argument(next_argument());
      if (n < 0) is_left = true;
      return std::min(std::abs(std::max(n, -kMaxWidth)), kMaxWidth);
    }
    int64_t n = 0;
    while (peek() >= '0' && peek() <= '9')
      n = std::min(n * 10 + (format_[pos_++] - '0'), kMaxWidth);
    return n;
  }
  Value named_argument();
  Spec parse_spec();
  void convert();
  void append_as_text(const Value& value, Spec spec);
  void append_as_integer(Value value, const Spec& spec);

  Runtime& runtime_;
  std::string_view format_;
  bool safe_;
  const Value& arguments_;
  size_t pos_ = 0;
  size_t used_ = 0;
  bool used_key_ = false;
  Draft out_;
};

Draft PercentFormatter::run() {
  while (pos_ < format_.size()) {
    const size_t percent = std::min(format_.find('%', pos_), format_.size());
    runtime_.append(out_, format_.substr(pos_, percent - pos_));
    pos_ = percent + 1;
    if (percent < format_.size()) convert();
  }
  const bool all_used =
      arguments_.is(Kind::kTuple) ? used_ == arguments_.items().size() : used_ > 0 || used_key_;
  const bool is_mapping = arguments_.is(Kind::kDict) || arguments_.is(Kind::kList) ||
                          arguments_.is(Kind::kRange) || arguments_.is_undefined();
  if (!all_used && !is_mapping)
    throw_python("TypeError: not all arguments converted during string formatting");
  return std::move(out_);
}

// %(key)s: the argument of that name; kMissing where the conversion names none.
Value PercentFormatter::named_argument() {
  if (peek() != '(') return {};
  const size_t close = format_.find(')', pos_);
  if (close == std::string_view::npos) throw_python("ValueError: incomplete format key");
  if (!arguments_.is(Kind::kDict)) throw_python("TypeError: format requires a mapping");
  const std::string_view key = format_.substr(pos_ + 1, close - pos_ - 1);
  const Value* found = arguments_.as_dict().find(runtime_, key);
  if (found == nullptr) throw_python("KeyError: '" + std::string(key) + "'");
  used_key_ = true;
  pos_ = close + 1;
  return *found;
}

// Flags, width, precision and type; pos_ is behind them then.
Spec PercentFormatter::parse_spec() {
  Spec spec;
  bool is_left = false;
  for (;; ++pos_) {
    const char c = peek();
    if (c == '-') {
      is_left = true;
    } else if (c == '+') {
      spec.sign = '+';
    } else if (c == '#') {
      spec.alternate = true;
    } else if (c == '0') {
      spec.zero = true;
    } else if (c != ' ') {
      break;
    } else if (spec.sign != '+') {
      spec.sign = ' ';
    }
  }
  spec.width = parse_size(is_left);
  if (peek() == '.') {
    ++pos_;
    bool ignored = false;
    spec.precision = parse_size(ignored);
  }
  while (peek() == 'h' || peek() == 'l' || peek() == 'L') ++pos_;
  spec.type = format_[pos_++];
  if (is_left) {
    spec.align = '<';
    spec.zero = false;
  }
  return spec;
}

void PercentFormatter::convert() {
  Value value = named_argument();
  Spec spec = parse_spec();
  if (spec.type == '%') return runtime_.append(out_, "%");
  if (value.is_missing()) value = next_argument();
  const auto is_one_of = [&](std::string_view types) {
    return types.find(spec.type) != std::string_view::npos;
  };
  if (is_one_of("srac")) return append_as_text(value, spec);
  if (is_one_of("diuxXo")) return append_as_integer(value, spec);
  if (!is_one_of("eEfFgG")) {
    throw_python(std::string("ValueError: unsupported format character '") + spec.type + "'");
  }
  require_defined(value);
  if (!value.is_number())
    throw_python("TypeError: must be real number, not " + std::string(type_name(value)));
  append_float(runtime_, out_, value.as_real(), spec);
}

void PercentFormatter::append_as_text(const Value& value, Spec spec) {
  Draft text;
  if (spec.type == 's') {
    append_str(runtime_, text, safe_ ? escape(runtime_, value) : value);
  } else if (spec.type != 'c') {
    append_repr(runtime_, text, value);
  } else if (value.is_integer()) {
    const int64_t code = value.as_int();
    if (code < 0 || code > 0x10FFFF) throw_python("OverflowError: %c arg not in range(0x110000)");
    // UTF-8 has no surrogates.
    append_utf8(text.bytes, code >= 0xD800 && code < 0xE000 ? 0xFFFD : static_cast<char32_t>(code));
  } else if (value.is_string() && count_code_points(value.as_string()) == 1) {
    runtime_.append(text, value.as_string());
  } else {
    throw_python("TypeError: %c requires int or char");
  }
  if (spec.type == 'c') spec.precision = -1;
  if (spec.align != '<') spec.align = '>';
  append_text(runtime_, out_, runtime_.text(text).as_string(), spec);
}

void PercentFormatter::append_as_integer(Value value, const Spec& spec) {
  const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
  if (decimal && value.is(Kind::kFloat) && std::abs(value.as_real()) < 9.2e18) {
    value = Value::integer(static_cast<int64_t>(value.as_real()));
  }
  if (decimal) require_defined(value);
  if (!value.is_integer()) {
    throw_python(std::string("TypeError: %") + spec.type +
                 " format: a real number is required, not " + std::string(type_name(value)));
  }
  append_integer(runtime_, out_, value.as_int(), spec);
}

// ---- str.format

class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const Value& format, const Args& args)
      : runtime_(runtime), safe_(format.is_safe()), args_(args) {}
  Draft run(std::string_view format, int depth);

 private:
  Value field(std::string_view name);
  Value first_part(std::string_view name);
  void replace(Draft& out, std::string_view field, int depth);
  void format_value(Draft& out, const Value& value, std::string_view spec_text);

  Runtime& runtime_;
  const bool safe_;
  const Args& args_;
  size_t next_ = 0;
};

Draft BraceFormatter::run(std::string_view format, int depth) {
  if (depth > 2) throw_python("ValueError: Max string recursion exceeded");
  Draft out;
  for (size_t i = 0; i < format.size();) {
    const size_t brace = std::min(format.find_first_of("{}", i), format.size());
    runtime_.append(out, format.substr(i, brace - i));
    if (brace == format.size()) break;
    if (brace + 1 < format.size() && format[brace + 1] == format[brace]) {
      runtime_.append(out, format.substr(brace, 1));
      i = brace + 2;
      continue;
    }
    if (format[brace] == '}') throw_python("ValueError: Single '}' encountered in format string");
    size_t end = brace + 1;
    for (int open = 1; end < format.size(); ++end) {
      if (format[end] == '{') ++open;
      if (format[end] == '}' && --open == 0) break;
    }
    if (end >= format.size()) throw_python("ValueError: expected '}' before end of string");
    replace(out, format.substr(brace + 1, end - brace - 1), depth);
    i = end + 1;
  }
  return out;
}

Value BraceFormatter::first_part(std::string_view name) {
  const bool numbered = name.find_first_not_of("0123456789") == std::string_view::npos;
  if (numbered) {
    size_t index = next_;
    if (name.empty())
      ++next_;
    else
      std::from_chars(name.data(), name.data() + name.size(), index);
    if (index >= args_.positional.size()) {
      throw_python("IndexError: Replacement index " + std::to_string(index) +
                   " out of range for positional args tuple");
    }
    return args_.positional[index];
  }
  for (const Keyword& keyword : args_.keywords) {
    if (keyword.name == name) return keyword.value;
  }
  throw_python("KeyError: '" + std::string(name) + "'");
}

Value BraceFormatter::field(std::string_view name) {
  const size_t end = std::min(name.find_first_of(".["), name.size());
  Value value = first_part(name.substr(0, end));
  for (size_t i = end; i < name.size();) {
    if (name[i] == '.') {
      const size_t stop = std::min(name.find_first_of(".[", i + 1), name.size());
      value = get_attribute(runtime_, value, name.substr(i + 1, stop - i - 1));
      i = stop;
      continue;
    }
    const size_t close = name.find(']', i);
    if (name[i] != '[' || close == std::string_view::npos)
      throw_python("ValueError: Missing ']' in format string");
    const std::string_view key = name.substr(i + 1, close - i - 1);
    int64_t index = 0;
    const auto parsed = std::from_chars(key.data(), key.data() + key.size(), index);
    const bool is_index = parsed.ec == std::errc() && parsed.ptr == key.data() + key.size();
    value = get_item(runtime_, value, is_index ? Value::integer(index) : Value::string(key));
    i = close + 1;
  }
  return value;
}

void BraceFormatter::replace(Draft& out, std::string_view text, int depth) {
  const size_t colon = text.find(':');
  const std::string_view spec_source =
      colon == std::string_view::npos ? "" : text.substr(colon + 1);
  std::string_view name = text.substr(0, colon);
  char conversion = '\0';
  if (name.size() >= 2 && name[name.size() - 2] == '!') {
    conversion = name.back();
    name.remove_suffix(2);
  }
  Value value = field(name);
  if (conversion == 'r' || conversion == 'a') value = runtime_.text(repr(runtime_, value));
  if (conversion == 's') value = to_str(runtime_, value);
  if (safe_) value = escape(runtime_, value);
  format_value(out, value, run(spec_source, depth + 1).bytes);
}

Spec parse_brace_spec(std::string_view text) {
  Spec spec;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '=' || c == '^'; };
  const size_t first = byte_offset(text, 1);
  if (first < text.size() && is_align(text[first])) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    text.remove_prefix(first + 1);
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[0];
    text.remove_prefix(1);
  }
  const auto take = [&](std::string_view options) -> char {
    if (text.empty() || options.find(text[0]) == std::string_view::npos) return '\0';
    const char c = text[0];
    text.remove_prefix(1);
    return c;
  };
  const auto number = [&] {
    int64_t n = 0;
    while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
      n = std::min(n * 10 + (text[0] - '0'), kMaxWidth);
      text.remove_prefix(1);
    }
    return n;
  };
  if (const char sign = take("+- ")) spec.sign = sign;
  spec.alternate = take("#") != '\0';
  spec.zero = take("0") != '\0';
  spec.width = number();
  spec.grouping = take(",_");
  if (take(".") != '\0') spec.precision = number();
  spec.type = take("bcdeEfFgGnosxX%");
  if (!text.empty()) throw_python("ValueError: Invalid format specifier");
  return spec;
}

void BraceFormatter::format_value(Draft& out, const Value& value, std::string_view spec_text) {
  if (spec_text.empty()) return append_str(runtime_, out, value);
  const Spec spec = parse_brace_spec(spec_text);
  const bool wants_float =
      spec.type != '\0' && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  const bool wants_text = spec.type == 's' || spec.type == '\0';
  if (value.is(Kind::kFloat) && (wants_float || spec.type == '\0' || spec.type == 'n')) {
    return append_float(runtime_, out, value.as_real(), spec);
  }
  if (value.is_integer() && wants_float) return append_float(runtime_, out, value.as_real(), spec);
  if (value.is_integer() && spec.type != 's')
    return append_integer(runtime_, out, value.as_int(), spec);
  if (value.is_string() && wants_text) return append_text(runtime_, out, value.as_string(), spec);
  throw_python("ValueError: Unknown format code for object of type '" +
               std::string(type_name(value)) + "'");
}

}  // namespace

Value percent_format(Runtime& runtime, const Value& format, const Value& arguments) {
  return runtime.text(PercentFormatter(runtime, format, arguments).run(), format.is_safe());
}

Value brace_format(Runtime& runtime, const Value& format, const Args& args) {
  return runtime.text(BraceFormatter(runtime, format, args).run(format.as_string(), 0),
                      format.is_safe());
}

namespace {
// Digits with single underscores between them, as Python's int() and float() take.
bool drop_underscores(std::string& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') continue;
    const auto is_digit = [&](size_t at) {
      return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at]));
    };
    if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) return false;
  }
  std::erase(text, '_');
  return true;
}
}  // namespace

bool parse_python_int(std::string_view source, int64_t base, int64_t& out) {
  std::string text(strip_left(strip_right(source)));
  if (!drop_underscores(text) || text.empty()) return false;
  if (base != 0 && (base < 2 || base > 36))
    throw_python("ValueError: int() base must be >= 2 and <= 36, or 0");
  const bool negative = text[0] == '-';
  size_t begin = text[0] == '-' || text[0] == '+' ? 1 : 0;
  if (begin + 1 < text.size() && text[begin] == '0') {
    const char letter = static_cast<char>(text[begin + 1] | 0x20);
    const int prefixed = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 0;
    if (prefixed != 0 && (base == prefixed || base == 0)) {
      base = prefixed;
      begin += 2;
    }
  }
  if (base == 0) base = 10;
  uint64_t magnitude = 0;
  const auto result = std::from_chars(text.data() + begin, text.data() + text.size(), magnitude,
                                      static_cast<int>(base));
  if (begin >= text.size() || result.ptr != text.data() + text.size()) return false;
  if (result.ec != std::errc() || magnitude > static_cast<uint64_t>(INT64_MAX) + negative) {
    throw_python("OverflowError: an integer does not fit 64 bits");
  }
  out = static_cast<int64_t>(negative ? 0 - magnitude : magnitude);
  return true;
}

bool parse_python_float(std::string_view source, double& out) {
  std::string text(strip_left(strip_right(source)));
  if (!drop_underscores(text) || text.empty()) return false;
  // strtod also reads hexadecimal and "nan(…)", which Python does not.
  const std::string lower = to_lower(text);
  const std::string_view word =
      std::string_view(lower).substr(lower[0] == '-' || lower[0] == '+' ? 1 : 0);
  const bool special = word == "inf" || word == "infinity" || word == "nan";
  if (!special && word.find_first_not_of("0123456789.e+-") != std::string_view::npos) return false;
  char* end = nullptr;
  out = std::strtod(text.c_str(), &end);
  return end == text.c_str() + text.size();
}

}  // namespace octavo::text::jinja
