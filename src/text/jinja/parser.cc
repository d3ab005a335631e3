// A recursive descent parser after jinja2/parser.py: one function for each level of precedence, one for each
// tag. Its recursion is bounded, since the source may come with a request.
#include "text/jinja/parser.h"

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "base/utf8.h"
#include "text/jinja/error.h"
#include "text/jinja/lexer.h"

namespace octavo::text::jinja {

namespace {

using ast::Body;
using ast::Expr;
using ast::ExprType;
using ast::Stmt;
using ast::StmtType;

constexpr int kMaxNesting = 200;  // of tags and of brackets and prefixes; about 2 KiB of stack each

class Parser {
 public:
  explicit Parser(Template& out) : out_(out), arena_(out.arena), tokens_(tokenize(out.source, out.arena)) {}

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
  bool is_name(std::string_view name) const { return is(TokenType::kName) && current().text == name; }
  bool is_any_name(std::initializer_list<std::string_view> names) const {
    return is(TokenType::kName) && std::find(names.begin(), names.end(), current().text) != names.end();
  }
  bool skip_if(TokenType type) { return is(type) && (next(), true); }
  bool skip_if_name(std::string_view name) { return is_name(name) && (next(), true); }
  const Token& expect(TokenType type, std::string_view what) {
    if (!is(type)) fail("expected " + std::string(what) + ", got " + describe(current()));
    return next();
  }
  void expect_name(std::string_view name) {
    if (!skip_if_name(name)) fail("expected '" + std::string(name) + "', got " + describe(current()));
  }
  [[noreturn]] void fail(const std::string& message) const { throw_syntax(current().line, message); }

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
    return out_.symbols.emplace(name, static_cast<ast::SymbolId>(out_.symbols.size())).first->second;
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
  const ast::Macro* finish_macro(int line, std::string_view name, std::span<const ast::Parameter> parameters,
                                 std::string_view end);

  // Jinja refuses an unknown filter or test when it compiles, except in a branch, where it fails only if reached.
  struct UnknownName {
    std::string message;
    int line;
  };
  void note_unknown(std::string_view kind, const Token& name) {
    if (!in_branch_) unknown_names_.push_back({"No " + std::string(kind) + " named '" + std::string(name.text) + "'.", name.line});
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

// ---- Expressions

const Expr* Parser::name_expr(std::string_view name, int line) {
  used_.caller |= name == "caller";
  used_.kwargs |= name == "kwargs";
  used_.varargs |= name == "varargs";
  return expr<ast::Name>(ExprType::kName, line, symbol(name), name);
}

const Expr* Parser::parse_expression(bool with_conditional) {
  const Nesting nesting(*this);
  if (!with_conditional) return parse_or();
  const size_t unknown_before = unknown_names_.size();
  const int line = current().line;
  const Expr* node = parse_or();
  while (skip_if_name("if")) {
    const Expr* test = parse_or();
    const Expr* otherwise = skip_if_name("else") ? parse_expression() : nullptr;
    unknown_names_.resize(unknown_before);
    node = expr<ast::Conditional>(ExprType::kConditional, line, test, node, otherwise);
  }
  return node;
}

const Expr* Parser::parse_or() {
  const int line = current().line;
  const Expr* left = parse_and();
  while (skip_if_name("or")) left = expr<ast::Logic>(ExprType::kOr, line, left, parse_and());
  return left;
}

const Expr* Parser::parse_and() {
  const int line = current().line;
  const Expr* left = parse_not();
  while (skip_if_name("and")) left = expr<ast::Logic>(ExprType::kAnd, line, left, parse_not());
  return left;
}

const Expr* Parser::parse_not() {
  if (!is_name("not")) return parse_compare();
  const Nesting nesting(*this);
  const int line = next().line;
  return expr<ast::Unary>(ExprType::kNot, line, parse_not());
}

const Expr* Parser::parse_compare() {
  const int line = current().line;
  const Expr* first = parse_sum();
  std::vector<ast::CompareLink> links;
  for (;;) {
    std::optional<CompareOp> op;
    switch (current().type) {
      case TokenType::kEqual: op = CompareOp::kEqual; break;
      case TokenType::kNotEqual: op = CompareOp::kNotEqual; break;
      case TokenType::kLess: op = CompareOp::kLess; break;
      case TokenType::kLessEqual: op = CompareOp::kLessEqual; break;
      case TokenType::kGreater: op = CompareOp::kGreater; break;
      case TokenType::kGreaterEqual: op = CompareOp::kGreaterEqual; break;
      default:
        if (is_name("in")) op = CompareOp::kIn;
        if (is_name("not") && look().type == TokenType::kName && look().text == "in") {
          next();
          op = CompareOp::kNotIn;
        }
    }
    if (!op) break;
    next();
    links.push_back({*op, parse_sum()});
  }
  if (links.empty()) return first;
  return expr<ast::Compare>(ExprType::kCompare, line, first, arena_.copy(links));
}

const Expr* Parser::parse_sum() {
  const int line = current().line;
  const Expr* left = parse_concat();
  while (is(TokenType::kAdd) || is(TokenType::kSub)) {
    const BinaryOp op = next().type == TokenType::kAdd ? BinaryOp::kAdd : BinaryOp::kSubtract;
    left = expr<ast::Binary>(ExprType::kBinary, line, op, left, parse_concat());
  }
  return left;
}

const Expr* Parser::parse_concat() {
  const int line = current().line;
  std::vector<const Expr*> items{parse_product()};
  while (skip_if(TokenType::kTilde)) items.push_back(parse_product());
  if (items.size() == 1) return items[0];
  return expr<ast::Items>(ExprType::kConcat, line, arena_.copy(items));
}

const Expr* Parser::parse_product() {
  const int line = current().line;
  const Expr* left = parse_power();
  for (;;) {
    BinaryOp op;
    switch (current().type) {
      case TokenType::kMul: op = BinaryOp::kMultiply; break;
      case TokenType::kDiv: op = BinaryOp::kDivide; break;
      case TokenType::kFloorDiv: op = BinaryOp::kFloorDivide; break;
      case TokenType::kMod: op = BinaryOp::kModulo; break;
      default: return left;
    }
    next();
    left = expr<ast::Binary>(ExprType::kBinary, line, op, left, parse_power());
  }
}

const Expr* Parser::parse_power() {
  const int line = current().line;
  const Expr* left = parse_unary();
  while (skip_if(TokenType::kPow)) {
    left = expr<ast::Binary>(ExprType::kBinary, line, BinaryOp::kPower, left, parse_unary());
  }
  return left;
}

const Expr* Parser::parse_unary(bool with_filter) {
  const Nesting nesting(*this);
  const int line = current().line;
  const Expr* node = nullptr;
  if (skip_if(TokenType::kSub)) {
    node = expr<ast::Unary>(ExprType::kNegate, line, parse_unary(false));
  } else if (skip_if(TokenType::kAdd)) {
    node = expr<ast::Unary>(ExprType::kPositive, line, parse_unary(false));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(node);
  return with_filter ? parse_filter_and_test(node) : node;
}

const Expr* Parser::parse_primary() {
  const Token& token = current();
  const auto constant = [&](Value value) { return expr<ast::Constant>(ExprType::kConstant, token.line, value); };
  switch (token.type) {
    case TokenType::kName:
      next();
      if (token.text == "true" || token.text == "True") return constant(Value::boolean(true));
      if (token.text == "false" || token.text == "False") return constant(Value::boolean(false));
      if (token.text == "none" || token.text == "None") return constant(Value::none());
      return name_expr(token.text, token.line);
    case TokenType::kString: return parse_string();
    case TokenType::kInteger: next(); return constant(Value::integer(token.integer));
    case TokenType::kFloat: next(); return constant(Value::real(token.real));
    case TokenType::kLeftParen: {
      next();
      const Expr* node = parse_tuple(true, {}, true);
      expect(TokenType::kRightParen, "')'");
      return node;
    }
    case TokenType::kLeftBracket: return parse_list();
    case TokenType::kLeftBrace: return parse_dict();
    default: fail("unexpected " + describe(token));
  }
}

// Adjacent string literals are one.
const Expr* Parser::parse_string() {
  const int line = current().line;
  std::string_view text = next().text;
  if (is(TokenType::kString)) {
    std::string joined(text);
    while (is(TokenType::kString)) joined.append(next().text);
    text = arena_.copy(joined);
  }
  return expr<ast::Constant>(ExprType::kConstant, line, Value::string(text));
}

// An expression, or a tuple where commas follow. `end_name`: a word that may end it ("in", "recursive").
const Expr* Parser::parse_tuple(bool with_conditional, std::string_view end_name, bool in_parentheses) {
  const int line = current().line;
  std::vector<const Expr*> items;
  bool is_tuple = false;
  for (;;) {
    if (is(TokenType::kVariableEnd) || is(TokenType::kBlockEnd) || is(TokenType::kRightParen) ||
        (!end_name.empty() && is_name(end_name))) {
      break;
    }
    items.push_back(parse_expression(with_conditional));
    if (!skip_if(TokenType::kComma)) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return items[0];
    if (!in_parentheses) fail("Expected an expression, got " + describe(current()));
  }
  return expr<ast::Items>(ExprType::kTuple, line, arena_.copy(items));
}

const Expr* Parser::parse_list() {
  const int line = next().line;
  std::vector<const Expr*> items;
  while (!is(TokenType::kRightBracket)) {
    if (!items.empty()) expect(TokenType::kComma, "','");
    if (is(TokenType::kRightBracket)) break;
    items.push_back(parse_expression());
  }
  next();
  return expr<ast::Items>(ExprType::kList, line, arena_.copy(items));
}

const Expr* Parser::parse_dict() {
  const int line = next().line;
  std::vector<ast::DictItem> items;
  while (!is(TokenType::kRightBrace)) {
    if (!items.empty()) expect(TokenType::kComma, "','");
    if (is(TokenType::kRightBrace)) break;
    const Expr* key = parse_expression();
    expect(TokenType::kColon, "':'");
    items.push_back({key, parse_expression()});
  }
  next();
  return expr<ast::DictLiteral>(ExprType::kDict, line, arena_.copy(items));
}

const Expr* Parser::parse_postfix(const Expr* node) {
  for (;;) {
    if (is(TokenType::kDot) || is(TokenType::kLeftBracket)) {
      node = parse_subscript(node);
    } else if (is(TokenType::kLeftParen)) {
      node = parse_call(node);
    } else {
      return node;
    }
  }
}

const Expr* Parser::parse_filter_and_test(const Expr* node) {
  for (;;) {
    if (is(TokenType::kPipe)) {
      node = parse_filters(node, false);
    } else if (is_name("is")) {
      node = parse_test(node);
    } else if (is(TokenType::kLeftParen)) {
      node = parse_call(node);
    } else {
      return node;
    }
  }
}

const Expr* Parser::parse_filters(const Expr* node, bool first_without_pipe) {
  while (first_without_pipe || skip_if(TokenType::kPipe)) {
    first_without_pipe = false;
    const Token& name = expect(TokenType::kName, "the name of a filter");
    const FilterFunction function = find_filter(name.text);
    if (function == nullptr) note_unknown("filter", name);
    const ast::Arguments arguments = is(TokenType::kLeftParen) ? parse_arguments() : ast::Arguments();
    node = expr<ast::Filter>(ExprType::kFilter, name.line, node, name.text, function, arguments);
  }
  return node;
}

const Expr* Parser::parse_test(const Expr* node) {
  const int line = next().line;
  const bool negated = skip_if_name("not");
  const Token& name = expect(TokenType::kName, "the name of a test");
  const TestFunction function = find_test(name.text);
  if (function == nullptr) note_unknown("test", name);
  ast::Arguments arguments;
  const bool begins_operand = is(TokenType::kName) || is(TokenType::kString) || is(TokenType::kInteger) ||
                              is(TokenType::kFloat) || is(TokenType::kLeftBracket) ||
                              is(TokenType::kLeftBrace);
  if (is(TokenType::kLeftParen)) {
    arguments = parse_arguments();
  } else if (begins_operand && !is_any_name({"else", "or", "and"})) {
    if (is_name("is")) fail("You cannot chain multiple tests with is");
    arguments.positional = arena_.copy(std::vector<const Expr*>{parse_postfix(parse_primary())});
  }
  const Expr* test = expr<ast::Test>(ExprType::kTest, line, node, name.text, function, arguments);
  return negated ? expr<ast::Unary>(ExprType::kNot, line, test) : test;
}

const Expr* Parser::parse_subscript(const Expr* object) {
  const Token& begin = next();
  if (begin.type == TokenType::kDot) {
    const Token& name = next();
    if (name.type == TokenType::kName) return expr<ast::Attribute>(ExprType::kAttribute, begin.line, object, name.text);
    if (name.type != TokenType::kInteger) throw_syntax(name.line, "expected name or number");
    const Expr* key = expr<ast::Constant>(ExprType::kConstant, name.line, Value::integer(name.integer));
    return expr<ast::Subscript>(ExprType::kSubscript, begin.line, object, key);
  }
  std::vector<const Expr*> parts(3, nullptr);
  bool is_slice = false;
  if (!is(TokenType::kColon)) parts[0] = parse_expression();
  for (size_t i = 1; i < 3 && skip_if(TokenType::kColon); ++i) {
    is_slice = true;
    if (!is(TokenType::kRightBracket) && !is(TokenType::kColon)) parts[i] = parse_expression();
  }
  if (is_slice) {
    expect(TokenType::kRightBracket, "']'");
    return expr<ast::Slice>(ExprType::kSlice, begin.line, object, parts[0], parts[1], parts[2]);
  }
  const Expr* key = parts[0];
  if (is(TokenType::kComma)) {
    std::vector<const Expr*> items{key};
    while (skip_if(TokenType::kComma) && !is(TokenType::kRightBracket)) items.push_back(parse_expression());
    key = expr<ast::Items>(ExprType::kTuple, begin.line, arena_.copy(items));
  }
  expect(TokenType::kRightBracket, "']'");
  return expr<ast::Subscript>(ExprType::kSubscript, begin.line, object, key);
}

const ast::Call* Parser::parse_call(const Expr* callee) {
  const int line = current().line;
  return expr<ast::Call>(ExprType::kCall, line, callee, parse_arguments());
}

ast::Arguments Parser::parse_arguments() {
  expect(TokenType::kLeftParen, "'('");
  ast::Arguments out;
  std::vector<const Expr*> positional;
  std::vector<ast::KeywordExpr> keywords;
  const auto ensure = [&](bool valid) {
    if (!valid) fail("invalid syntax for function call expression");
  };
  bool first = true;
  while (!is(TokenType::kRightParen)) {
    if (!first) {
      expect(TokenType::kComma, "','");
      if (is(TokenType::kRightParen)) break;
    }
    first = false;
    if (skip_if(TokenType::kMul)) {
      ensure(out.star == nullptr && out.double_star == nullptr);
      out.star = parse_expression();
    } else if (skip_if(TokenType::kPow)) {
      ensure(out.double_star == nullptr);
      out.double_star = parse_expression();
    } else if (is(TokenType::kName) && look().type == TokenType::kAssign) {
      ensure(out.double_star == nullptr);
      const std::string_view name = next().text;
      next();
      keywords.push_back({name, parse_expression()});
    } else {
      ensure(out.star == nullptr && out.double_star == nullptr && keywords.empty());
      positional.push_back(parse_expression());
    }
  }
  next();
  out.positional = arena_.copy(positional);
  out.keywords = arena_.copy(keywords);
  return out;
}

// What a loop or {% set %} assigns to: a name, a namespace's attribute, or a tuple of them.
const Expr* Parser::parse_target(bool with_namespace, std::string_view end_name) {
  const int line = current().line;
  std::vector<const Expr*> items;
  bool is_tuple = false;
  for (;;) {
    if (is(TokenType::kBlockEnd) || is(TokenType::kVariableEnd) || is(TokenType::kRightParen) ||
        (!end_name.empty() && is_name(end_name))) {
      break;
    }
    items.push_back(parse_target_item(with_namespace));
    if (!skip_if(TokenType::kComma)) break;
    is_tuple = true;
  }
  if (items.empty() && !is_tuple) fail("Expected an expression, got " + describe(current()));
  if (!is_tuple) return items[0];
  return expr<ast::Items>(ExprType::kTuple, line, arena_.copy(items));
}

const Expr* Parser::parse_target_item(bool with_namespace) {
  const Nesting nesting(*this);
  if (skip_if(TokenType::kLeftParen)) {
    const Expr* target = parse_target(with_namespace);
    expect(TokenType::kRightParen, "')'");
    return target;
  }
  const Token& name = expect(TokenType::kName, "a name to assign to");
  for (const std::string_view reserved : {"true", "false", "none", "True", "False", "None"}) {
    if (name.text == reserved) throw_syntax(name.line, "can't assign to 'const'");
  }
  if (with_namespace && skip_if(TokenType::kDot)) {
    const std::string_view attribute = expect(TokenType::kName, "an attribute").text;
    return expr<ast::NamespaceTarget>(ExprType::kNamespaceTarget, name.line, symbol(name.text), name.text, attribute);
  }
  return expr<ast::Name>(ExprType::kName, name.line, symbol(name.text), name.text);
}

// ---- Statements

// Up to one of the `ends`, which becomes the current token; without ends, to the end of the template.
Body Parser::parse_body(std::initializer_list<std::string_view> ends) {
  const Nesting nesting(*this);
  std::vector<const Stmt*> body;
  for (;;) {
    const Token& token = current();
    if (token.type == TokenType::kEnd) {
      if (ends.size() != 0) fail("Unexpected end of template, looking for '" + std::string(*ends.begin()) + "'");
      return arena_.copy(body);
    }
    next();
    if (token.type == TokenType::kText) {
      body.push_back(stmt<ast::Text>(StmtType::kText, token.line, token.text));
    } else if (token.type == TokenType::kVariableBegin) {
      body.push_back(stmt<ast::Output>(StmtType::kOutput, token.line, parse_tuple()));
      expect(TokenType::kVariableEnd, "end of print statement");
    } else {
      if (is_any_name(ends)) return arena_.copy(body);
      body.push_back(parse_statement());
      expect(TokenType::kBlockEnd, "end of statement block");
    }
  }
}

// The rest of a tag, then a body. Afterwards the current token is the one after the end's name.
Body Parser::parse_block(std::initializer_list<std::string_view> ends) {
  skip_if(TokenType::kColon);
  expect(TokenType::kBlockEnd, "end of statement block");
  return parse_body(ends);
}

// The body of a tag with variables of its own, which an outer {% if %} does not make a branch. Where its text
// is `captured`, no break may leave it.
Body Parser::parse_scoped_block(std::string_view end, bool captured) {
  const bool outer_branch = std::exchange(in_branch_, false);
  const int outer_loops = loops_;
  if (captured) loops_ = 0;
  const Body body = parse_block({end});
  next();
  loops_ = outer_loops;
  in_branch_ = outer_branch;
  return body;
}

const Stmt* Parser::parse_statement() {
  const Token& tag = expect(TokenType::kName, "a tag");
  const int line = tag.line;
  if (tag.text == "if") return parse_if(line);
  if (tag.text == "for") return parse_for(line);
  if (tag.text == "set") return parse_set(line);
  if (tag.text == "macro") return parse_macro(line);
  if (tag.text == "call") return parse_call_block(line);
  if (tag.text == "filter") return parse_filter_block(line);
  if (tag.text == "with") return parse_with(line);
  if (tag.text == "block") return parse_named_block(line);
  if (tag.text == "generation") return stmt<ast::Scope>(StmtType::kScope, line, parse_scoped_block("endgeneration", false));
  if (tag.text == "do") return stmt<ast::Do>(StmtType::kDo, line, parse_tuple());
  if (tag.text == "break") return parse_loop_control(line, StmtType::kBreak);
  if (tag.text == "continue") return parse_loop_control(line, StmtType::kContinue);
  for (const std::string_view known : {"include", "import", "from", "extends"}) {
    if (tag.text == known) return parse_unsupported(line, tag.text);
  }
  throw_syntax(line, "Encountered unknown tag '" + std::string(tag.text) + "'.");
}

const Stmt* Parser::parse_if(int line) {
  const bool outer = std::exchange(in_branch_, true);
  std::vector<ast::Branch> branches;
  Body otherwise;
  for (;;) {
    const Expr* test = parse_tuple(false);
    const Body body = parse_block({"elif", "else", "endif"});
    branches.push_back({test, body});
    const std::string_view end = next().text;
    if (end == "elif") continue;
    if (end == "else") {
      otherwise = parse_block({"endif"});
      next();
    }
    break;
  }
  in_branch_ = outer;
  return stmt<ast::If>(StmtType::kIf, line, arena_.copy(branches), otherwise);
}

const Stmt* Parser::parse_for(int line) {
  const bool outer = std::exchange(in_branch_, false);
  const Expr* target = parse_target(false, "in");
  expect_name("in");
  const Expr* iterable = parse_tuple(false, "recursive");
  const Expr* filter = skip_if_name("if") ? parse_expression() : nullptr;
  const bool recursive = skip_if_name("recursive");
  ++loops_;
  const Body body = parse_block({"endfor", "else"});
  --loops_;
  Body otherwise;
  if (next().text == "else") {
    otherwise = parse_block({"endfor"});
    next();
  }
  in_branch_ = outer;
  return stmt<ast::For>(StmtType::kFor, line, target, iterable, filter, recursive, body, otherwise);
}

const Stmt* Parser::parse_set(int line) {
  const Expr* target = parse_target(true);
  if (skip_if(TokenType::kAssign)) return stmt<ast::Set>(StmtType::kSet, line, target, parse_tuple());
  const Expr* filter = is(TokenType::kPipe) ? parse_filters(nullptr, false) : nullptr;
  return stmt<ast::SetBlock>(StmtType::kSetBlock, line, target, filter, parse_scoped_block("endset", true));
}

std::span<const ast::Parameter> Parser::parse_parameters() {
  expect(TokenType::kLeftParen, "'('");
  std::vector<ast::Parameter> parameters;
  bool has_fallback = false;
  while (!is(TokenType::kRightParen)) {
    if (!parameters.empty()) expect(TokenType::kComma, "','");
    const std::string_view name = expect(TokenType::kName, "the name of a parameter").text;
    const Expr* fallback = skip_if(TokenType::kAssign) ? parse_expression() : nullptr;
    if (has_fallback && fallback == nullptr) fail("non-default argument follows default argument");
    has_fallback = fallback != nullptr;
    parameters.push_back({symbol(name), name, fallback});
  }
  next();
  return arena_.copy(parameters);
}

// The body of a macro, and which of the special names it reads.
const ast::Macro* Parser::finish_macro(int line, std::string_view name,
                                       std::span<const ast::Parameter> parameters, std::string_view end) {
  const auto outer_used = std::exchange(used_, {});
  const Body body = parse_scoped_block(end, true);
  const auto used = used_;
  used_ = {outer_used.caller || used.caller, outer_used.kwargs || used.kwargs, outer_used.varargs || used.varargs};
  return stmt<ast::Macro>(StmtType::kMacro, line, name, symbol(name), parameters, body, used.caller, used.kwargs,
                          used.varargs);
}

const Stmt* Parser::parse_macro(int line) {
  const std::string_view name = expect(TokenType::kName, "the name of a macro").text;
  const auto parameters = parse_parameters();
  return finish_macro(line, name, parameters, "endmacro");
}

const Stmt* Parser::parse_call_block(int line) {
  std::span<const ast::Parameter> parameters;
  if (is(TokenType::kLeftParen)) parameters = parse_parameters();
  const Expr* call = parse_expression();
  if (call->type != ExprType::kCall) throw_syntax(line, "expected call");
  const ast::Macro* caller = finish_macro(line, "caller", parameters, "endcall");
  return stmt<ast::CallBlock>(StmtType::kCallBlock, line, static_cast<const ast::Call*>(call), caller);
}

const Stmt* Parser::parse_filter_block(int line) {
  const Expr* filter = parse_filters(nullptr, true);
  return stmt<ast::FilterBlock>(StmtType::kFilterBlock, line, filter, parse_scoped_block("endfilter", true));
}

const Stmt* Parser::parse_with(int line) {
  std::vector<const Expr*> targets, values;
  while (!is(TokenType::kBlockEnd)) {
    if (!targets.empty()) expect(TokenType::kComma, "','");
    targets.push_back(parse_target_item(false));
    expect(TokenType::kAssign, "'='");
    values.push_back(parse_expression());
  }
  return stmt<ast::With>(StmtType::kWith, line, arena_.copy(targets), arena_.copy(values), parse_scoped_block("endwith", false));
}

// No template extends this one, so a block is its own body.
const Stmt* Parser::parse_named_block(int line) {
  const std::string_view name = expect(TokenType::kName, "the name of a block").text;
  skip_if_name("scoped");
  skip_if_name("required");
  const Body body = parse_scoped_block("endblock", false);
  skip_if_name(name);
  return stmt<ast::Scope>(StmtType::kScope, line, body);
}

const Stmt* Parser::parse_loop_control(int line, StmtType type) {
  if (loops_ == 0) throw_syntax(line, "break or continue outside of a loop");
  return stmt<Stmt>(type, line);
}

const Stmt* Parser::parse_unsupported(int line, std::string_view tag) {
  while (!is(TokenType::kBlockEnd) && !is(TokenType::kEnd)) next();
  return stmt<ast::Unsupported>(StmtType::kUnsupported, line, tag);
}

}  // namespace

std::unique_ptr<Template> parse(std::string_view source) {
  if (!valid_utf8(source)) throw_syntax(1, "the template is not valid UTF-8");
  auto out = std::make_unique<Template>(normalize_source(source));
  Parser(*out).run();
  return out;
}

}  // namespace octavo::text::jinja
