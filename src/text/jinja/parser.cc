// The parser's statements: one function for each tag.
#include "text/jinja/parser.h"

#include <utility>

#include "base/utf8.h"
#include "text/jinja/parser_impl.h"

namespace octavo::text::jinja {

// Up to one of the `ends`, which becomes the current token; without ends, to the end of the
// template.
Body Parser::parse_body(std::initializer_list<std::string_view> ends) {
  const Nesting nesting(*this);
  std::vector<const Stmt*> body;
  for (;;) {
    const Token& token = current();
    if (token.type == TokenType::kEnd) {
      if (ends.size() != 0)
        fail("Unexpected end of template, looking for '" + std::string(*ends.begin()) + "'");
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

// The body of a tag with variables of its own, which an outer {% if %} does not make a branch.
// Where its text is `captured`, no break may leave it.
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
  if (tag.text == "generation")
    return stmt<ast::Scope>(StmtType::kScope, line, parse_scoped_block("endgeneration", false));
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
  if (skip_if(TokenType::kAssign))
    return stmt<ast::Set>(StmtType::kSet, line, target, parse_tuple());
  const Expr* filter = is(TokenType::kPipe) ? parse_filters(nullptr, false) : nullptr;
  return stmt<ast::SetBlock>(StmtType::kSetBlock, line, target, filter,
                             parse_scoped_block("endset", true));
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
                                       std::span<const ast::Parameter> parameters,
                                       std::string_view end) {
  const auto outer_used = std::exchange(used_, {});
  const Body body = parse_scoped_block(end, true);
  const auto used = used_;
  used_ = {outer_used.caller || used.caller, outer_used.kwargs || used.kwargs,
           outer_used.varargs || used.varargs};
  return stmt<ast::Macro>(StmtType::kMacro, line, name, symbol(name), parameters, body, used.caller,
                          used.kwargs, used.varargs);
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
  return stmt<ast::CallBlock>(StmtType::kCallBlock, line, static_cast<const ast::Call*>(call),
                              caller);
}

const Stmt* Parser::parse_filter_block(int line) {
  const Expr* filter = parse_filters(nullptr, true);
  return stmt<ast::FilterBlock>(StmtType::kFilterBlock, line, filter,
                                parse_scoped_block("endfilter", true));
}

const Stmt* Parser::parse_with(int line) {
  std::vector<const Expr*> targets, values;
  while (!is(TokenType::kBlockEnd)) {
    if (!targets.empty()) expect(TokenType::kComma, "','");
    targets.push_back(parse_target_item(false));
    expect(TokenType::kAssign, "'='");
    values.push_back(parse_expression());
  }
  return stmt<ast::With>(StmtType::kWith, line, arena_.copy(targets), arena_.copy(values),
                         parse_scoped_block("endwith", false));
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

std::unique_ptr<Template> parse(std::string_view source) {
  if (!valid_utf8(source)) throw_syntax(1, "the template is not valid UTF-8");
  auto out = std::make_unique<Template>(normalize_source(source));
  Parser(*out).run();
  return out;
}

}  // namespace octavo::text::jinja
