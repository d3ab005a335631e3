// Parser: Jinja source to the syntax tree. Called once per template, by ChatTemplate::parse.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja/arena.h"
#include "text/jinja/ast.h"

namespace octavo::text::jinja {

// A parsed template. Immutable; any thread may render it.
struct Template {
  static constexpr size_t kMaxArenaBytes = 256 << 20;

  explicit Template(std::string normalized)
      : source(std::move(normalized)), arena(kMaxArenaBytes) {}

  const std::string source;  // the tree points into it
  Arena arena;
  ast::Body body;
  std::unordered_map<std::string_view, ast::SymbolId> symbols;
  ast::SymbolId loop_symbol = 0, caller_symbol = 0, kwargs_symbol = 0, varargs_symbol = 0;
};

// Throws TemplateError kSyntax, with the line, or kLimit.
std::unique_ptr<Template> parse(std::string_view source);

}  // namespace octavo::text::jinja
