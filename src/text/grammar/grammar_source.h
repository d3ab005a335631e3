// What a user asks of an answer, checked and put into a form that xgrammar compiles without leaving
// anything out. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "octavo/sampling_params.h"
#include "octavo/status.h"

namespace octavo::text {

struct GrammarSource {
  enum class Form { kJsonSchema, kRegex, kEbnf, kStructuralTag };
  Form form = Form::kEbnf;
  std::string text;
  bool disable_any_whitespace = false;
};

// vLLM's name of the field: "json", "regex", …
std::string_view name_of(StructuredOutput::Kind kind);

// Errors: kInvalidArgument that names what is malformed or would not be enforced.
StatusOr<GrammarSource> prepare_grammar(const StructuredOutput& output);

// Of a regular expression: refuses look-around, which xgrammar passes over, and nesting too deep;
// writes what is not printable ASCII as escapes.
StatusOr<std::string> prepare_regex(std::string_view pattern);

}  // namespace octavo::text
