// The lexer follows jinja2/lexer.py rule by rule: outside of tags it looks for the next "{{", "{%"
// or "{#"; inside, a tag ends at its end mark only where all brackets are closed.
#include "text/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/utf8.h"
#include "text/jinja/code_points.h"
#include "text/jinja/error.h"

namespace octavo::text::jinja {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

struct Operator {
  std::string_view text;
  TokenType type;
};
// Longer ones first.
constexpr Operator kOperators[] = {
    {"//", TokenType::kFloorDiv},   {"**", TokenType::kPow},          {"==", TokenType::kEqual},
    {"!=", TokenType::kNotEqual},   {">=", TokenType::kGreaterEqual}, {"<=", TokenType::kLessEqual},
    {"+", TokenType::kAdd},         {"-", TokenType::kSub},           {"*", TokenType::kMul},
    {"/", TokenType::kDiv},         {"%", TokenType::kMod},           {"~", TokenType::kTilde},
    {"[", TokenType::kLeftBracket}, {"]", TokenType::kRightBracket},  {"(", TokenType::kLeftParen},
    {")", TokenType::kRightParen},  {"{", TokenType::kLeftBrace},     {"}", TokenType::kRightBrace},
    {">", TokenType::kGreater},     {"<", TokenType::kLess},          {"=", TokenType::kAssign},
    {".", TokenType::kDot},         {":", TokenType::kColon},         {"|", TokenType::kPipe},
    {",", TokenType::kComma},       {";", TokenType::kSemicolon},
};

class Lexer {
 public:
  Lexer(std::string_view source, Arena& arena) : source_(source), arena_(arena) {}

  std::vector<Token> run() {
    while (pos_ < source_.size()) lex_data();
    push(TokenType::kEnd, {});
    return std::move(tokens_);
  }

 private:
  bool at(std::string_view text) const { return source_.substr(pos_).starts_with(text); }
  void advance(size_t n) {
    line_ += static_cast<int>(std::count(source_.begin() + pos_, source_.begin() + pos_ + n, '\n'));
    pos_ += n;
  }
  void push(TokenType type, std::string_view text) { tokens_.push_back({type, line_, text}); }
  void skip_space() {
    while (pos_ < source_.size()) {
      const Decoded d = decode_utf8(source_, pos_);
      if (!is_space(d.code_point)) return;
      advance(d.length);
    }
  }
  // The position after spaces at `from`.
  size_t after_space(size_t from) const {
    return source_.size() - strip_left(source_.substr(from)).size();
  }

  void lex_data();
  bool lex_raw(std::string_view before);
  void push_data(std::string_view text, char sign, bool may_lstrip, bool line_starting);
  void lex_comment();
  void lex_tag(std::string_view end, TokenType end_type, bool trims_newline);
  bool lex_tag_end(std::string_view end, TokenType end_type, bool trims_newline);
  void lex_token();
  bool lex_number();
  void lex_name();
  void lex_string();
  void balance(char c);
  std::string_view unescape(std::string_view body);

  std::string_view source_;
  Arena& arena_;
  std::vector<Token> tokens_;
  std::string open_brackets_;  // the closing ones expected, innermost last
  size_t pos_ = 0;
  int line_ = 1;
};

// Template data up to the next tag, with what the tag's sign or lstrip_blocks strips from its end.
void Lexer::push_data(std::string_view text, char sign, bool may_lstrip, bool line_starting) {
  const size_t whole = text.size();
  if (sign == '-') {
    text = strip_right(text);
  } else if (sign != '+' && may_lstrip) {
    const size_t newline = text.rfind('\n');
    const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    if ((line_start > 0 || line_starting) && strip_left(text.substr(line_start)).empty()) {
      text = text.substr(0, line_start);
    }
  }
  if (!text.empty()) push(TokenType::kText, text);
  advance(whole);
}

void Lexer::lex_data() {
  const bool line_starting = pos_ == 0 || source_[pos_ - 1] == '\n';
  size_t tag = pos_;
  for (;; ++tag) {
    tag = source_.find('{', tag);
    if (tag == std::string_view::npos || tag + 1 >= source_.size()) {
      push(TokenType::kText, source_.substr(pos_));
      advance(source_.size() - pos_);
      return;
    }
    const char c = source_[tag + 1];
    if (c == '%' || c == '{' || c == '#') break;
  }
  const char mark = source_[tag + 1];
  char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
  if (sign != '-' && sign != '+') sign = '\0';
  push_data(source_.substr(pos_, tag - pos_), sign, mark != '{', line_starting);
  const size_t begin_size = sign ? 3 : 2;
  if (mark == '%') {
    if (lex_raw(source_.substr(pos_ + begin_size))) return;
    push(TokenType::kBlockBegin, source_.substr(pos_, begin_size));
    advance(begin_size);
    lex_tag("%}", TokenType::kBlockEnd, true);
  } else if (mark == '{') {
    push(TokenType::kVariableBegin, source_.substr(pos_, begin_size));
    advance(begin_size);
    lex_tag("}}", TokenType::kVariableEnd, false);
  } else {
    advance(begin_size);
    lex_comment();
  }
}

// {% raw %} … {% endraw %}, at a "{%" whose sign is read. `rest`: what follows the sign.
bool Lexer::lex_raw(std::string_view rest) {
  const auto offset = [&](std::string_view part) {
    return static_cast<size_t>(part.data() - source_.data());
  };
  std::string_view word = strip_left(rest);
  if (!word.starts_with("raw")) return false;
  word = strip_left(word.substr(3));
  size_t body = 0;
  if (word.starts_with("-%}")) {
    body = after_space(offset(word) + 3);
  } else if (word.starts_with("%}")) {
    body = offset(word) + 2;
  } else {
    return false;
  }
  advance(body - pos_);
  for (size_t tag = source_.find("{%", pos_); tag != std::string_view::npos;
       tag = source_.find("{%", tag + 1)) {
    size_t p = tag + 2;
    const char sign =
        p < source_.size() && (source_[p] == '-' || source_[p] == '+') ? source_[p++] : '\0';
    p = after_space(p);
    if (!source_.substr(p).starts_with("endraw")) continue;
    p = after_space(p + 6);
    const std::string_view end = source_.substr(p);
    size_t after = 0;
    if (end.starts_with("+%}")) {
      after = p + 3;
    } else if (end.starts_with("-%}")) {
      after = after_space(p + 3);
    } else if (end.starts_with("%}")) {
      after = p + 2 + (end.substr(2).starts_with("\n") ? 1 : 0);
    } else {
      continue;
    }
    push_data(source_.substr(pos_, tag - pos_), sign, true, pos_ == 0 || source_[pos_ - 1] == '\n');
    advance(after - pos_);
    return true;
  }
  throw_syntax(line_, "Missing end of raw directive");
}

void Lexer::lex_comment() {
  const size_t end = source_.find("#}", pos_);
  if (end == std::string_view::npos) throw_syntax(line_, "Missing end of comment tag");
  const char sign = end > pos_ ? source_[end - 1] : '\0';
  advance(end + 2 - pos_);
  if (sign == '-') {
    skip_space();
  } else if (sign != '+' && at("\n")) {
    advance(1);
  }
}

void Lexer::lex_tag(std::string_view end, TokenType end_type, bool trims_newline) {
  open_brackets_.clear();
  while (pos_ < source_.size()) {
    if (open_brackets_.empty() && lex_tag_end(end, end_type, trims_newline)) return;
    if (is_space(decode_utf8(source_, pos_).code_point)) {
      skip_space();
    } else {
      lex_token();
    }
  }
}

bool Lexer::lex_tag_end(std::string_view end, TokenType end_type, bool trims_newline) {
  const std::string_view rest = source_.substr(pos_);
  const bool minus = rest.starts_with("-") && rest.substr(1).starts_with(end);
  const bool plus = trims_newline && rest.starts_with("+") && rest.substr(1).starts_with(end);
  if (!minus && !plus && !rest.starts_with(end)) return false;
  push(end_type, end);
  advance(end.size() + (minus || plus ? 1 : 0));
  if (minus) {
    skip_space();
  } else if (!plus && trims_newline && at("\n")) {
    advance(1);
  }
  return true;
}

void Lexer::lex_token() {
  const char c = source_[pos_];
  if (is_digit(c) && lex_number()) return;
  const Decoded d = decode_utf8(source_, pos_);
  if (c == '_' || is_alpha(d.code_point)) return lex_name();
  if (c == '\'' || c == '"') return lex_string();
  for (const Operator& op : kOperators) {
    if (!at(op.text)) continue;
    if (op.text.size() == 1) balance(c);
    push(op.type, op.text);
    advance(op.text.size());
    return;
  }
  throw_syntax(line_, "unexpected char '" + std::string(source_.substr(pos_, d.length)) + "'");
}

void Lexer::balance(char c) {
  if (c == '(') open_brackets_.push_back(')');
  if (c == '[') open_brackets_.push_back(']');
  if (c == '{') open_brackets_.push_back('}');
  if (c != ')' && c != ']' && c != '}') return;
  if (open_brackets_.empty()) throw_syntax(line_, std::string("unexpected '") + c + "'");
  if (open_brackets_.back() != c) {
    throw_syntax(line_,
                 std::string("unexpected '") + c + "', expected '" + open_brackets_.back() + "'");
  }
  open_brackets_.pop_back();
}

// An integer in base 2, 8, 10 or 16, or a float; digits may be grouped by single underscores.
bool Lexer::lex_number() {
  const auto digits = [&](size_t p, int base) {
    const auto is_base_digit = [&](char c) {
      if (base == 16) return std::isxdigit(static_cast<unsigned char>(c)) != 0;
      return c >= '0' && c < '0' + base;
    };
    const size_t start = p;
    while (p < source_.size()) {
      const bool underscore = source_[p] == '_' && (p > start || base != 10);
      const size_t digit = underscore ? p + 1 : p;
      if (digit >= source_.size() || !is_base_digit(source_[digit])) break;
      p = digit + 1;
    }
    return p;
  };
  const auto clean = [&](size_t from, size_t to) {
    std::string text(source_.substr(from, to - from));
    std::erase(text, '_');
    return text;
  };

  size_t end = digits(pos_, 10);
  size_t float_end = 0;
  size_t p = end;
  if (p + 1 < source_.size() && source_[p] == '.' && is_digit(source_[p + 1]))
    float_end = p = digits(p + 1, 10);
  if (p < source_.size() && (source_[p] | 0x20) == 'e') {
    size_t e = p + 1;
    if (e < source_.size() && (source_[e] == '+' || source_[e] == '-')) ++e;
    if (e < source_.size() && is_digit(source_[e])) float_end = digits(e, 10);
  }
  const bool after_dot = pos_ > 0 && source_[pos_ - 1] == '.';
  if (float_end != 0 && !after_dot) {
    Token token{TokenType::kFloat, line_, source_.substr(pos_, float_end - pos_)};
    token.real = std::strtod(clean(pos_, float_end).c_str(), nullptr);
    tokens_.push_back(token);
    advance(float_end - pos_);
    return true;
  }
  int base = 10;
  size_t start = pos_;
  if (source_[pos_] == '0' && pos_ + 1 < source_.size()) {
    const char letter = static_cast<char>(source_[pos_ + 1] | 0x20);
    const int prefixed = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 10;
    if (prefixed != 10 && digits(pos_ + 2, prefixed) > pos_ + 2) {
      base = prefixed;
      start = pos_ + 2;
      end = digits(start, base);
    }
  }
  // A decimal may not begin with 0: Jinja reads 01 as two integers.
  if (base == 10 && source_[pos_] == '0') {
    end = pos_;
    while (end < source_.size() && source_[end] == '0') ++end;
  }
  Token token{TokenType::kInteger, line_, source_.substr(pos_, end - pos_)};
  const std::string text = clean(start, end);
  const auto result = std::from_chars(text.data(), text.data() + text.size(), token.integer, base);
  if (result.ec != std::errc()) throw_syntax(line_, "integer literal is too large");
  tokens_.push_back(token);
  advance(end - pos_);
  return true;
}

void Lexer::lex_name() {
  size_t end = pos_;
  while (end < source_.size()) {
    const Decoded d = decode_utf8(source_, end);
    if (source_[end] != '_' && !is_alnum(d.code_point)) break;
    end += d.length;
  }
  push(TokenType::kName, source_.substr(pos_, end - pos_));
  advance(end - pos_);
}

void Lexer::lex_string() {
  const char quote = source_[pos_];
  size_t end = pos_ + 1;
  while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
  if (end >= source_.size()) throw_syntax(line_, std::string("unexpected char '") + quote + "'");
  push(TokenType::kString, unescape(source_.substr(pos_ + 1, end - pos_ - 1)));
  advance(end + 1 - pos_);
}

// Python's string escapes. One that Python does not know keeps its backslash.
std::string_view Lexer::unescape(std::string_view body) {
  if (body.find('\\') == std::string_view::npos) return body;
  static constexpr std::string_view kSimple = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
  std::string out;
  for (size_t i = 0; i < body.size(); ++i) {
    if (body[i] != '\\' || i + 1 >= body.size()) {
      out.push_back(body[i]);
      continue;
    }
    const char c = body[++i];
    size_t simple = 0;
    while (simple < kSimple.size() && kSimple[simple] != c) simple += 2;
    if (simple < kSimple.size()) {
      out.push_back(kSimple[simple + 1]);
    } else if (c == '\n') {
      // An escaped line end is nothing.
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t width = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      const auto hex = [&](size_t at, uint32_t& code) {
        if (at + width > body.size()) return false;
        const char* begin = body.data() + at;
        return std::from_chars(begin, begin + width, code, 16).ptr == begin + width;
      };
      uint32_t code = 0;
      if (!hex(i + 1, code) || code > 0x10FFFF)
        throw_syntax(line_, "truncated or invalid \\" + std::string(1, c) + " escape");
      i += width;
      // UTF-8 has no lone surrogates; a pair is the character that it stands for.
      uint32_t low = 0;
      if (code >= 0xD800 && code < 0xDC00 && body.substr(i + 1).starts_with("\\u") &&
          hex(i + 3, low) && low >= 0xDC00 && low < 0xE000) {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        i += 6;
      }
      append_utf8(out, code >= 0xD800 && code < 0xE000 ? 0xFFFD : code);
    } else if (c >= '0' && c <= '7') {
      uint32_t code = 0;
      size_t n = 0;
      for (; n < 3 && i + n < body.size() && body[i + n] >= '0' && body[i + n] <= '7'; ++n) {
        code = code * 8 + static_cast<uint32_t>(body[i + n] - '0');
      }
      i += n - 1;
      append_utf8(out, code);
    } else if (c == 'N') {
      throw_syntax(line_, "\\N{...} escapes are not supported");
    } else {
      out.push_back('\\');
      out.push_back(c);
    }
  }
  return arena_.copy(out);
}

}  // namespace

std::string describe(const Token& token) {
  switch (token.type) {
    case TokenType::kEnd:
      return "end of template";
    case TokenType::kText:
      return "template data";
    case TokenType::kBlockBegin:
      return "begin of statement block";
    case TokenType::kBlockEnd:
      return "end of statement block";
    case TokenType::kVariableBegin:
      return "begin of print statement";
    case TokenType::kVariableEnd:
      return "end of print statement";
    case TokenType::kString:
      return "string '" + std::string(token.text.substr(0, 40)) + "'";
    default:
      return "'" + std::string(token.text.substr(0, 40)) + "'";
  }
}

std::string normalize_source(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

std::vector<Token> tokenize(std::string_view source, Arena& arena) {
  return Lexer(source, arena).run();
}

}  // namespace octavo::text::jinja
