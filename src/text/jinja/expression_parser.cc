// The parser's expressions, from the loosest binding to names and literals.
#include <optional>

#include "text/jinja/parser_impl.h"

namespace octavo::text::jinja {

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
      case TokenType::kEqual:
        op = CompareOp::kEqual;
        break;
      case TokenType::kNotEqual:
        op = CompareOp::kNotEqual;
        break;
      case TokenType::kLess:
        op = CompareOp::kLess;
        break;
      case TokenType::kLessEqual:
        op = CompareOp::kLessEqual;
        break;
      case TokenType::kGreater:
        op = CompareOp::kGreater;
        break;
      case TokenType::kGreaterEqual:
        op = CompareOp::kGreaterEqual;
        break;
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
      case TokenType::kMul:
        op = BinaryOp::kMultiply;
        break;
      case TokenType::kDiv:
        op = BinaryOp::kDivide;
        break;
      case TokenType::kFloorDiv:
        op = BinaryOp::kFloorDivide;
        break;
      case TokenType::kMod:
        op = BinaryOp::kModulo;
        break;
      default:
        return left;
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
  const auto constant = [&](Value value) {
    return expr<ast::Constant>(ExprType::kConstant, token.line, value);
  };
  switch (token.type) {
    case TokenType::kName:
      next();
      if (token.text == "true" || token.text == "True") return constant(Value::boolean(true));
      if (token.text == "false" || token.text == "False") return constant(Value::boolean(false));
      if (token.text == "none" || token.text == "None") return constant(Value::none());
      return name_expr(token.text, token.line);
    case TokenType::kString:
      return parse_string();
    case TokenType::kInteger:
      next();
      return constant(Value::integer(token.integer));
    case TokenType::kFloat:
      next();
      return constant(Value::real(token.real));
    case TokenType::kLeftParen: {
      next();
      const Expr* node = parse_tuple(true, {}, true);
      expect(TokenType::kRightParen, "')'");
      return node;
    }
    case TokenType::kLeftBracket:
      return parse_list();
    case TokenType::kLeftBrace:
      return parse_dict();
    default:
      fail("unexpected " + describe(token));
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

// An expression, or a tuple where commas follow. `end_name`: a word that may end it ("in",
// "recursive").
const Expr* Parser::parse_tuple(bool with_conditional, std::string_view end_name,
                                bool in_parentheses) {
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
    const ast::Arguments arguments =
        is(TokenType::kLeftParen) ? parse_arguments() : ast::Arguments();
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
  const bool begins_operand = is(TokenType::kName) || is(TokenType::kString) ||
                              is(TokenType::kInteger) || is(TokenType::kFloat) ||
                              is(TokenType::kLeftBracket) || is(TokenType::kLeftBrace);
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
    if (name.type == TokenType::kName)
      return expr<ast::Attribute>(ExprType::kAttribute, begin.line, object, name.text);
    if (name.type != TokenType::kInteger) throw_syntax(name.line, "expected name or number");
    const Expr* key =
        expr<ast::Constant>(ExprType::kConstant, name.line, Value::integer(name.integer));
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
    while (skip_if(TokenType::kComma) && !is(TokenType::kRightBracket))
      items.push_back(parse_expression());
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
    return expr<ast::NamespaceTarget>(ExprType::kNamespaceTarget, name.line, symbol(name.text),
                                      name.text, attribute);
  }
  return expr<ast::Name>(ExprType::kName, name.line, symbol(name.text), name.text);
}

}  // namespace octavo::text::jinja
