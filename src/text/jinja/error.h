// TemplateError: how the engine's own code reports failure inside one parse or one rendering. It is
// thrown only below ChatTemplate, which catches it: no exception leaves the room. The helpers make
// the messages of Python and Jinja2, which template authors know.
#pragma once

#include <string>
#include <utility>

#include "text/chat_template.h"

namespace octavo::text::jinja {

struct TemplateError {
  TemplateErrorKind kind;
  std::string message;
};

// A TypeError, ValueError, ZeroDivisionError … of Python.
[[noreturn]] inline void throw_python(std::string message) {
  throw TemplateError{TemplateErrorKind::kPython, std::move(message)};
}
// raise_exception, and Jinja's own TemplateRuntimeError.
[[noreturn]] inline void throw_raised(std::string message) {
  throw TemplateError{TemplateErrorKind::kRaised, std::move(message)};
}
// One of our bounds on untrusted templates was reached.
[[noreturn]] inline void throw_limit(std::string message) {
  throw TemplateError{TemplateErrorKind::kLimit, std::move(message)};
}
[[noreturn]] inline void throw_syntax(int line, const std::string& message) {
  throw TemplateError{TemplateErrorKind::kSyntax, "line " + std::to_string(line) + ": " + message};
}

}  // namespace octavo::text::jinja
