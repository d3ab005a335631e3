// Text of values: str and repr follow CPython's, JSON its json module. All output goes through
// Runtime::append, which bounds it; all nesting takes a DepthGuard.
#include "text/jinja/printing.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/json_writer.h"
#include "text/jinja/ast.h"
#include "text/jinja/code_points.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/loop.h"
#include "text/jinja/operators.h"

namespace octavo::text::jinja {

std::string float_repr(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, end - buffer);
  const size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  // Python writes 1e16 and 1e-05, and plain digits between.
  if (exponent < -4 || exponent >= 16) return std::string(text);
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::fixed).ptr;
  std::string out(buffer, fixed);
  if (out.find('.') == std::string::npos) out.append(".0");
  return out;
}

namespace {

void append_hex(std::string& out, std::string_view prefix, uint32_t code, int digits) {
  static constexpr char kHex[] = "0123456789abcdef";
  out.append(prefix);
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
    out.push_back(kHex[(code >> shift) & 15]);
}

bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= 0x20;
  if (c < 0xA1 || c == 0xAD) return false;
  return !is_space(c) && !(c >= 0x200B && c <= 0x200F) && !(c >= 0x202A && c <= 0x202E) &&
         !(c >= 0x2060 && c <= 0x206F) && !(c >= 0xE000 && c <= 0xF8FF) && c != 0xFEFF;
}

void append_string_repr(Runtime& runtime, Draft& out, std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string body(1, quote);
  for (const auto [c, begin, end] : CodePoints(text)) {
    if (c == static_cast<unsigned char>(quote) || c == '\\') {
      body.push_back('\\');
      body.push_back(static_cast<char>(c));
    } else if (c == '\n') {
      body.append("\\n");
    } else if (c == '\r') {
      body.append("\\r");
    } else if (c == '\t') {
      body.append("\\t");
    } else if (is_printable(c)) {
      body.append(text.substr(begin, end - begin));
    } else if (c < 0x100) {
      append_hex(body, "\\x", c, 2);
    } else if (c < 0x10000) {
      append_hex(body, "\\u", c, 4);
    } else {
      append_hex(body, "\\U", c, 8);
    }
  }
  body.push_back(quote);
  runtime.append(out, body);
}

void append_items(Runtime& runtime, Draft& out, std::span<const Value> items) {
  const DepthGuard guard(runtime);
  bool first = true;
  for (const Value& item : items) {
    if (!std::exchange(first, false)) runtime.append(out, ", ");
    append_repr(runtime, out, item);
  }
}

void append_dict(Runtime& runtime, Draft& out, const Dict& dict) {
  const DepthGuard guard(runtime);
  runtime.append(out, "{");
  bool first = true;
  for (const Dict::Entry& entry : dict.entries()) {
    if (!std::exchange(first, false)) runtime.append(out, ", ");
    append_repr(runtime, out, entry.key);
    runtime.append(out, ": ");
    append_repr(runtime, out, entry.value);
  }
  runtime.append(out, "}");
}

void append_view(Runtime& runtime, Draft& out, const Value& view) {
  runtime.append(out, type_name(view));
  runtime.append(out, "([");
  append_items(runtime, out, collect(runtime, view));
  runtime.append(out, "])");
}

}  // namespace

void append_repr(Runtime& runtime, Draft& out, const Value& value) {
  runtime.charge(1);
  switch (value.kind()) {
    case Kind::kMissing:
      return;
    case Kind::kUndefined:
      return runtime.append(out, "Undefined");
    case Kind::kNone:
      return runtime.append(out, "None");
    case Kind::kBool:
      return runtime.append_own(out, value.as_int() ? "True" : "False");
    case Kind::kInt:
      return runtime.append_own(out, std::to_string(value.as_int()));
    case Kind::kFloat:
      return runtime.append_own(out, float_repr(value.as_real()));
    case Kind::kString:
      if (value.is_safe()) runtime.append(out, "Markup(");
      append_string_repr(runtime, out, value.as_string());
      if (value.is_safe()) runtime.append(out, ")");
      return;
    case Kind::kList:
      runtime.append(out, "[");
      append_items(runtime, out, value.items());
      return runtime.append(out, "]");
    case Kind::kTuple:
      runtime.append(out, "(");
      append_items(runtime, out, value.items());
      return runtime.append(out, value.items().size() == 1 ? ",)" : ")");
    case Kind::kDict:
      return append_dict(runtime, out, value.as_dict());
    case Kind::kDictView:
      return append_view(runtime, out, value);
    case Kind::kRange: {
      const Range& r = value.as_range();
      const std::string step = r.step == 1 ? "" : ", " + std::to_string(r.step);
      return runtime.append(
          out, "range(" + std::to_string(r.start) + ", " + std::to_string(r.stop) + step + ")");
    }
    case Kind::kIterator:
      return runtime.append(out, "<" + std::string(type_name(value)) + " object>");
    case Kind::kNamespace:
      runtime.append(out, "<Namespace ");
      append_dict(runtime, out, value.as_namespace());
      return runtime.append(out, ">");
    case Kind::kFunction: {
      const Function& f = value.as_function();
      if (f.self.is_missing()) return runtime.append(out, "<function " + std::string(f.name) + ">");
      return runtime.append(out, "<built-in method " + std::string(f.name) + " of " +
                                     std::string(type_name(f.self)) + " object>");
    }
    case Kind::kMacro:
      return runtime.append(out,
                            "<Macro '" + std::string(value.as_macro().definition->name) + "'>");
    case Kind::kLoop: {
      Loop& loop = value.as_loop();
      return runtime.append(out, "<LoopContext " + std::to_string(loop.index0 + 1) + "/" +
                                     std::to_string(loop.length(runtime)) + ">");
    }
  }
}

void append_str(Runtime& runtime, Draft& out, const Value& value) {
  if (value.is_string()) return runtime.append(out, value.as_string());
  if (value.is_undefined()) return;
  append_repr(runtime, out, value);
}

Value to_str(Runtime& runtime, const Value& value) {
  if (value.is_string()) return value;
  Draft out;
  append_str(runtime, out, value);
  return runtime.text(out);
}

std::string repr(Runtime& runtime, const Value& value) {
  Draft out;
  append_repr(runtime, out, value);
  return std::move(out.bytes);
}

// ---- JSON

namespace {

class JsonPrinter {
 public:
  JsonPrinter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}
  void print(const Value& value);
  std::string take() && { return std::move(out_); }

 private:
  void append(std::string_view text) { runtime_.append(out_, text); }
  void new_line() {
    if (!style_.pretty) return;
    append("\n");
    for (int i = 0; i < level_; ++i) append(style_.indent);
  }
  // Brackets around what `item(i)` prints for each of `count` items.
  template <typename F>
  void print_all(std::string_view brackets, size_t count, F item) {
    if (count == 0) return append(brackets);
    const DepthGuard guard(runtime_);
    append(brackets.substr(0, 1));
    ++level_;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) append(style_.item_separator);
      new_line();
      item(i);
    }
    --level_;
    new_line();
    append(brackets.substr(1));
  }
  void print_string(std::string_view text);
  void print_float(double d) {
    append(std::isnan(d)   ? "NaN"
           : std::isinf(d) ? (d < 0 ? "-Infinity" : "Infinity")
                           : float_repr(d));
  }
  void print_dict(const Dict& dict);
  void print_key(const Value& key);

  Runtime& runtime_;
  const JsonStyle& style_;
  std::string out_;
  int level_ = 0;
};

void JsonPrinter::print_string(std::string_view text) {
  std::string quoted;
  append_json_string(quoted, text);
  if (!style_.ensure_ascii) return append(quoted);
  std::string ascii;
  for (const CodePoint at : CodePoints(quoted)) {
    const char32_t c = at.value;
    if (c < 0x80) {
      ascii.push_back(static_cast<char>(c));
    } else if (c < 0x10000) {
      append_hex(ascii, "\\u", c, 4);
    } else {
      append_hex(ascii, "\\u", 0xD800 + ((c - 0x10000) >> 10), 4);
      append_hex(ascii, "\\u", 0xDC00 + ((c - 0x10000) & 0x3FF), 4);
    }
  }
  append(ascii);
}

void JsonPrinter::print_key(const Value& key) {
  switch (key.kind()) {
    case Kind::kString:
      return print_string(key.as_string());
    case Kind::kNone:
      return append("\"null\"");
    case Kind::kBool:
      return append(key.as_int() ? "\"true\"" : "\"false\"");
    case Kind::kInt:
    case Kind::kFloat:
      append("\""), print(key);
      return append("\"");
    default:
      throw_python("TypeError: keys must be str, int, float, bool or None, not " +
                   std::string(type_name(key)));
  }
}

void JsonPrinter::print_dict(const Dict& dict) {
  std::vector<Dict::Entry> entries(dict.entries().begin(), dict.entries().end());
  if (style_.sort_keys) {
    std::stable_sort(
        entries.begin(), entries.end(),
        [&](const Dict::Entry& a, const Dict::Entry& b) { return less(runtime_, a.key, b.key); });
  }
  print_all("{}", entries.size(), [&](size_t i) {
    print_key(entries[i].key);
    append(style_.key_separator);
    print(entries[i].value);
  });
}

void JsonPrinter::print(const Value& value) {
  runtime_.charge(1);
  switch (value.kind()) {
    case Kind::kNone:
      return append("null");
    case Kind::kBool:
      return append(value.as_int() ? "true" : "false");
    case Kind::kInt:
      return append(std::to_string(value.as_int()));
    case Kind::kFloat:
      return print_float(value.as_real());
    case Kind::kString:
      return print_string(value.as_string());
    case Kind::kList:
    case Kind::kTuple:
      return print_all("[]", value.items().size(), [&](size_t i) { print(value.items()[i]); });
    case Kind::kDict:
      return print_dict(value.as_dict());
    default:
      throw_python("TypeError: Object of type " + std::string(type_name(value)) +
                   " is not JSON serializable");
  }
}

}  // namespace

std::string to_json(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonPrinter printer(runtime, style);
  printer.print(value);
  return std::move(printer).take();
}

}  // namespace octavo::text::jinja
