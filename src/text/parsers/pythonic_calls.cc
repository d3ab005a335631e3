// pythonic: the whole answer is a Python list of calls, [f(a=1, b="x"), g()], whose arguments are
// literals by keyword. llama4_pythonic: it may stand in <|python_start|> … <|python_end|>, and then
// anywhere. A value is passed on, as JSON, when it is whole. What is not a literal
// (a name, an expression, a positional argument) makes the call malformed.
#include <cctype>
#include <optional>
#include <set>

#include "base/utf8.h"
#include "text/parsers/json_scanner.h"
#include "text/parsers/tool_parser.h"

namespace octavo::text {

namespace {

// Python's literals: strings, numbers, True, False, None (JSON's words too), lists, tuples, dicts
// with string keys.
class PythonLiteral {
 public:
  explicit PythonLiteral(std::string_view text) : text_(text) {}
  std::optional<Value> read() {
    auto value = read_value(0);
    skip_space();
    return at_ == text_.size() ? value : std::nullopt;
  }

 private:
  static constexpr int kMaxDepth = 64;
  void skip_space() {
    while (at_ < text_.size() && is_json_space(text_[at_])) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::optional<Value> read_value(int depth) {
    skip_space();
    if (at_ == text_.size() || depth > kMaxDepth) return std::nullopt;
    const char c = text_[at_];
    if (c == '"' || c == '\'') return read_string();
    if (c == '[' || c == '(') return read_list(depth, c == '[' ? ']' : ')');
    if (c == '{') return read_dict(depth);
    return read_word();
  }
  std::optional<Value> read_list(int depth, char close) {
    ++at_;
    Value::List list;
    bool comma = true;
    while (!take(close)) {
      if (!comma) return std::nullopt;
      auto item = read_value(depth + 1);
      if (!item) return std::nullopt;
      list.push_back(std::move(*item));
      comma = take(',');
    }
    if (close == ')' && list.size() == 1 && !comma) return list[0];
    return Value(std::move(list));
  }
  std::optional<Value> read_dict(int depth) {
    ++at_;
    Value dict(Value::Dict{});
    bool comma = true;
    while (!take('}')) {
      if (!comma) return std::nullopt;
      const auto key = read_value(depth + 1);
      if (!key || !key->is_string() || !take(':')) return std::nullopt;
      auto item = read_value(depth + 1);
      if (!item) return std::nullopt;
      dict.set(key->as_string(), std::move(*item));
      comma = take(',');
    }
    return dict;
  }
  std::optional<Value> read_word() {
    const size_t begin = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) ||
            std::string_view("+-._").find(text_[at_]) != std::string_view::npos)) {
      ++at_;
    }
    std::string word(text_.substr(begin, at_ - begin));
    if (word == "True") return Value(true);
    if (word == "False") return Value(false);
    if (word == "None") return Value();
    if (word.starts_with('+')) word.erase(0, 1);
    if (word.ends_with('.')) word += '0';
    if (word.starts_with('.')) word = "0" + word;
    auto value = parse_json(word);
    if (!value.ok()) return std::nullopt;
    return *value;
  }
  std::optional<Value> read_string() {
    const char quote = text_[at_++];
    std::string out;
    while (at_ < text_.size() && text_[at_] != quote) {
      const char c = text_[at_++];
      if (c == '\n') return std::nullopt;
      if (c != '\\') {
        out += c;
      } else if (!read_escape(out)) {
        return std::nullopt;
      }
    }
    if (at_ == text_.size()) return std::nullopt;
    ++at_;
    return Value(std::move(out));
  }
  bool read_escape(std::string& out) {
    if (at_ == text_.size()) return false;
    const char c = text_[at_++];
    constexpr std::string_view kNames = "ntrbfav\\'\"";
    constexpr std::string_view kBytes = "\n\t\r\b\f\a\v\\'\"";
    if (const size_t i = kNames.find(c); i != std::string_view::npos) {
      out += kBytes[i];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const int digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      uint32_t code_point = 0;
      for (int i = 0; i < digits; ++i) {
        if (at_ == text_.size() || !std::isxdigit(static_cast<unsigned char>(text_[at_])))
          return false;
        const char d = text_[at_++];
        code_point =
            code_point * 16 + static_cast<uint32_t>(d <= '9' ? d - '0' : (d | 32) - 'a' + 10);
      }
      if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) return false;
      append_utf8(out, code_point);
    } else if (c != '\n') {
      if (std::isdigit(static_cast<unsigned char>(c)) || c == 'N') return false;  // octal, names
      out += '\\';  // Python keeps an escape that it does not know
      out += c;
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

class PythonicParser final : public ToolParser {
 public:
  explicit PythonicParser(Opening opening) : ToolParser(std::move(opening)) {}

 private:
  enum class State { kOpen, kName, kKeyword, kValue, kAfterCall, kEndTag };
  void open(int marker) override {
    tagged_ = marker >= 0;
    to(State::kOpen);
  }

  Verdict to(State state) {
    state_ = state;
    text_.clear();
    return Verdict::kMore;
  }

  Verdict push(char c) override {
    switch (state_) {
      case State::kOpen:
        if (tagged_ && is_json_space(c)) return Verdict::kMore;
        return c == '[' ? to(State::kName) : Verdict::kRefuse;
      case State::kName:
        if (text_.empty() && is_json_space(c)) return Verdict::kMore;
        if (is_name_byte(c) || (c == '.' && !text_.empty())) return keep(c);
        if (c != '(' || !is_name(text_)) return Verdict::kRefuse;
        begin_call(text_);
        seen_.clear();
        return to(State::kKeyword);
      case State::kKeyword:
        if (is_json_space(c)) return Verdict::kMore;
        if (is_name_byte(c)) return keep(c);
        if (c == ')' && text_.empty()) return close();
        if (c != '=' || !is_name(text_) || !seen_.insert(text_).second) return Verdict::kRefuse;
        keyword_ = text_;
        depth_ = 0;
        quote_ = 0;
        escaped_ = false;
        return to(State::kValue);
      case State::kValue:
        return push_value(c);
      case State::kAfterCall:
        if (is_json_space(c)) return Verdict::kMore;
        if (c == ',') return to(State::kName);
        if (c != ']') return Verdict::kRefuse;
        if (!tagged_) return Verdict::kLeave;
        take_notation();
        return to(State::kEndTag);
      case State::kEndTag:
        break;
    }
    if (text_.empty() && is_json_space(c)) return Verdict::kMore;
    text_ += c;
    if (text_ == kEndTag) return Verdict::kLeave;
    return kEndTag.starts_with(text_) ? Verdict::kMore : Verdict::kRefuse;
  }

  // Finds the value's end: a comma or bracket outside of strings and brackets.
  Verdict push_value(char c) {
    if (quote_ != 0) {
      if (!escaped_ && c == quote_) quote_ = 0;
      escaped_ = !escaped_ && c == '\\';
      return keep(c);
    }
    if (depth_ == 0 && (c == ',' || c == ')')) {
      const auto value = PythonLiteral(text_).read();
      if (!value) return Verdict::kRefuse;
      add_arguments((seen_.size() == 1 ? "{" : ", ") + to_json(Value(keyword_)) + ": " +
                    to_json(*value));
      return c == ')' ? close() : to(State::kKeyword);
    }
    if (c == '"' || c == '\'') quote_ = c;
    if (c == '[' || c == '{' || c == '(') ++depth_;
    if (c == ']' || c == '}' || c == ')') --depth_;
    return depth_ < 0 ? Verdict::kRefuse : keep(c);
  }

  Verdict close() {
    add_arguments(seen_.empty() ? "{}" : "}");
    end_call();
    return to(State::kAfterCall);
  }
  Verdict keep(char c) {
    text_ += c;
    return Verdict::kMore;
  }
  static bool is_name_byte(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  }
  static bool is_name(const std::string& text) {
    return !text.empty() && !std::isdigit(static_cast<unsigned char>(text[0])) &&
           text.back() != '.';
  }

  static constexpr std::string_view kEndTag = "<|python_end|>";
  State state_ = State::kOpen;
  bool tagged_ = false;
  std::string text_;  // of the name, keyword, value or tag being read
  std::string keyword_;
  std::set<std::string> seen_;
  int depth_ = 0;
  char quote_ = 0;
  bool escaped_ = false;
};

}  // namespace

std::unique_ptr<ToolParser> make_pythonic_parser(const ToolParserContext&) {
  return std::make_unique<PythonicParser>(ToolParser::Opening{{}, '['});
}
std::unique_ptr<ToolParser> make_llama4_pythonic_parser(const ToolParserContext&) {
  return std::make_unique<PythonicParser>(ToolParser::Opening{{"<|python_start|>"}, '['});
}

}  // namespace octavo::text
