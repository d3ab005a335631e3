// The filters, tests and global functions of the template environment: Jinja2's own and the ones
// that transformers adds for chat templates. Tables only; safe from any thread.
#pragma once

#include <span>
#include <string_view>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace octavo::text::jinja {

using FilterFunction = Value (*)(Runtime&, const Value& input, const Args&);
using TestFunction = bool (*)(Runtime&, const Value& input, const Args&);

struct NamedFilter {
  std::string_view name;
  FilterFunction function;
};

// Null if there is none of that name.
FilterFunction find_filter(std::string_view name);
TestFunction find_test(std::string_view name);

struct NamedGlobal {
  std::string_view name;
  NativeFunction function;
};
std::span<const NamedGlobal> global_functions();

// The parts that find_filter puts together: on text and numbers, and on sequences.
std::span<const NamedFilter> text_filters();
std::span<const NamedFilter> sequence_filters();

// No built-in name is longer.
constexpr size_t kLongestName = 32;

// The method of a string, list, tuple, dict, number or loop; null if there is none of that name.
NativeFunction find_method(const Value& object, std::string_view name);
NativeFunction find_string_method(std::string_view name);
// True for methods that would change a list or dict: the sandbox hides them.
bool is_mutating_method(const Value& object, std::string_view name);

// `format % arguments`, and str.format.
Value percent_format(Runtime& runtime, const Value& format, const Value& arguments);
Value brace_format(Runtime& runtime, const Value& format, const Args& args);

// int(text, base) and float(text); false for text that is none.
bool parse_python_int(std::string_view text, int64_t base, int64_t& out);
bool parse_python_float(std::string_view text, double& out);

}  // namespace octavo::text::jinja
