// The parser's own class: its statements are in parser.cc, its expressions in expression_parser.cc.
// A recursive descent after jinja2/parser.py, with one function for each level of precedence and
// one for each tag. Its recursion is bounded, since the source may come with a request. Included by
// those two files only.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/error.h"
#include "text/jinja/lexer.h"
#include "text/jinja/parser.h"

namespace octavo::text::jinja {

using ast::Body;
using ast::Expr;
using ast::ExprType;
using ast::Stmt;
using ast::StmtType;

class Parser {
 public:
  // Of tags, brackets and prefixes; each takes about 2 KiB of stack.
  static constexpr int kMaxNesting = 200;

  explicit Parser(Template& out)
      : out_(out), arena_(out.arena), tokens_(tokenize(out.source, out.arena)) {}

  void run() {
    out_.loop_symbol = symbol("loop");
    out_.caller_symbol = symbol("caller");
    out_.kwargs_symbol = symbol("kwargs");
    out_.varargs_symbol = symbol("varargs");
    out_.body = parse_body({});
    check_unknown_names();
  }

 private:
  class Nesting {
   public:
    explicit Nesting(Parser& parser) : parser_(parser) {
      if (++parser_.nesting_ > kMaxNesting) parser_.fail("the template nests too deeply");
    }
    ~Nesting() { --parser_.nesting_; }

   private:
    Parser& parser_;
  };

  // Tokens.
  const Token& current() const { return tokens_[pos_]; }
  const Token& look() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  const Token& next() {
    const Token& token = tokens_[pos_];
    if (pos_ + 1 < tokens_.size()) ++pos_;
    return token;
  }
  bool is(TokenType type) const { return current().type == type; }
  bool is_name(std::string_view name) const {
    return is(TokenType::kName) && current().text == name;
  }
  bool is_any_name(std::initializer_list<std::string_view> names) const {
    return is(TokenType::kName) &&
           std::find(names.begin(), names.end(), current().text) != names.end();
  }
  bool skip_if(TokenType type) { return is(type) && (next(), true); }
  bool skip_if_name(std::string_view name) { return is_name(name) && (next(), true); }
  const Token& expect(TokenType type, std::string_view what) {
    if (!is(type)) fail("expected " + std::string(what) + ", got " + describe(current()));
    return next();
  }
  void expect_name(std::string_view name) {
    if (!skip_if_name(name))
      fail("expected '" + std::string(name) + "', got " + describe(current()));
  }
  [[noreturn]] void fail(const std::string& message) const {
    throw_syntax(current().line, message);
  }

  // Nodes.
  template <typename T, typename... Fields>
  const T* expr(ExprType type, int line, Fields... fields) {
    return arena_.make<T>(Expr{type, line}, fields...);
  }
  template <typename T, typename... Fields>
  const T* stmt(StmtType type, int line, Fields... fields) {
    return arena_.make<T>(Stmt{type, line}, fields...);
  }
  ast::SymbolId symbol(std::string_view name) {
    return out_.symbols.emplace(name, static_cast<ast::SymbolId>(out_.symbols.size()))
        .first->second;
  }
  const Expr* name_expr(std::string_view name, int line);

  // Expressions, loosest binding first.
  const Expr* parse_expression(bool with_conditional = true);
  const Expr* parse_or();
  const Expr* parse_and();
  const Expr* parse_not();
  const Expr* parse_compare();
  const Expr* parse_sum();
  const Expr* parse_concat();
  const Expr* parse_product();
  const Expr* parse_power();
  const Expr* parse_unary(bool with_filter = true);
  const Expr* parse_primary();
  const Expr* parse_string();
  const Expr* parse_tuple(bool with_conditional = true, std::string_view end_name = {},
                          bool in_parentheses = false);
  const Expr* parse_list();
  const Expr* parse_dict();
  const Expr* parse_postfix(const Expr* node);
  const Expr* parse_filter_and_test(const Expr* node);
  const Expr* parse_filters(const Expr* node, bool first_without_pipe);
  const Expr* parse_test(const Expr* node);
  const Expr* parse_subscript(const Expr* node);
  const ast::Call* parse_call(const Expr* callee);
  ast::Arguments parse_arguments();
  const Expr* parse_target(bool with_namespace, std::string_view end_name = {});
  const Expr* parse_target_item(bool with_namespace);

  // Statements.
  Body parse_body(std::initializer_list<std::string_view> ends);
  Body parse_block(std::initializer_list<std::string_view> ends);
  Body parse_scoped_block(std::string_view end, bool captured);
  const Stmt* parse_statement();
  const Stmt* parse_if(int line);
  const Stmt* parse_for(int line);
  const Stmt* parse_set(int line);
  const Stmt* parse_macro(int line);
  const Stmt* parse_call_block(int line);
  const Stmt* parse_filter_block(int line);
  const Stmt* parse_with(int line);
  const Stmt* parse_named_block(int line);
  const Stmt* parse_loop_control(int line, StmtType type);
  const Stmt* parse_unsupported(int line, std::string_view tag);
  std::span<const ast::Parameter> parse_parameters();
  const ast::Macro* finish_macro(int line, std::string_view name,
                                 std::span<const ast::Parameter> parameters, std::string_view end);

  // Jinja refuses an unknown filter or test when it compiles, except in a branch, where it fails
  // only if reached.
  struct UnknownName {
    std::string message;
    int line;
  };
  void note_unknown(std::string_view kind, const Token& name) {
    if (!in_branch_)
      unknown_names_.push_back(
          {"No " + std::string(kind) + " named '" + std::string(name.text) + "'.", name.line});
  }
  void check_unknown_names() const {
    if (!unknown_names_.empty()) throw_syntax(unknown_names_[0].line, unknown_names_[0].message);
  }

  Template& out_;
  Arena& arena_;
  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int nesting_ = 0;
  int loops_ = 0;  // that a break here could end
  bool in_branch_ = false;
  std::vector<UnknownName> unknown_names_;
  struct {
    bool caller = false, kwargs = false, varargs = false;
  } used_;  // names read since the start of the macro
};

}  // namespace octavo::text::jinja
