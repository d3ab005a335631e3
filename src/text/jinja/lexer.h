// Lexer: Jinja source to tokens, with the whitespace rules of trim_blocks, lstrip_blocks and the
// signs - and
// + in tags already applied. Called by the parser, once per template.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/arena.h"

namespace octavo::text::jinja {

enum class TokenType : uint8_t {
  kText,  // template data
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kTilde,
  kLeftBracket,
  kRightBracket,
  kLeftParen,
  kRightParen,
  kLeftBrace,
  kRightBrace,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kAssign,
  kDot,
  kColon,
  kPipe,
  kComma,
  kSemicolon,
  kEnd,
};

struct Token {
  TokenType type = TokenType::kEnd;
  int line = 1;
  std::string_view text;  // of text, names and strings (unescaped); of others as written
  int64_t integer = 0;
  double real = 0;
};

// "name 'foo'", "end of print statement", for messages.
std::string describe(const Token& token);

// Line ends become "\n", and one at the very end is dropped, as Jinja reads a source.
std::string normalize_source(std::string_view source);

// The tokens of a normalized, valid UTF-8 source, ending in kEnd. They point into `source` and
// `arena`. Throws TemplateError kSyntax.
std::vector<Token> tokenize(std::string_view source, Arena& arena);

}  // namespace octavo::text::jinja
