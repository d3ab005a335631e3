// The formats whose calls are JSON objects: hermes, llama3_json, mistral, granite, phi4_mini_json,
// and what a grammar leaves of calls.
#include "text/parsers/json_scanner.h"
#include "text/parsers/tool_parser.h"

namespace octavo::text {

namespace {

// Reads a fixed text byte by byte, white space before it skipped.
class Literal {
 public:
  enum class Result { kMore, kDone, kBroken };
  explicit Literal(std::string_view text) : text_(text) {}
  Result push(char c) {
    if (at_ == 0 && is_json_space(c) && !is_json_space(text_[0])) return Result::kMore;
    if (c != text_[at_]) return Result::kBroken;
    return ++at_ == text_.size() ? Result::kDone : Result::kMore;
  }
  void reset() { at_ = 0; }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

// Calls that are objects, with notation around them.
class ObjectCallsParser : public ToolParser {
 protected:
  explicit ObjectCallsParser(Opening opening, CallObject::Rules rules = {})
      : ToolParser(std::move(opening)), rules_(rules), object_(rules, sink()) {}

  // A byte outside of objects.
  virtual Verdict push_notation(char c) = 0;
  Verdict expect_object() {
    object_ = CallObject(rules_, sink());
    in_object_ = true;
    return Verdict::kMore;
  }
  void expect_notation() { in_object_ = false; }

 private:
  Verdict push(char c) final {
    if (!in_object_) return push_notation(c);
    const auto result = object_.push(c);
    if (result == CallObject::Result::kBroken) return Verdict::kRefuse;
    if (result == CallObject::Result::kDone) {
      end_call();
      expect_notation();
    }
    return Verdict::kMore;
  }

  const CallObject::Rules rules_;
  CallObject object_;
  bool in_object_ = false;
};

// <tool_call>
// {"name": "f", "arguments": {…}}
// </tool_call>            (the last line may be missing)
class HermesParser final : public ObjectCallsParser {
 public:
  HermesParser() : ObjectCallsParser({{"<tool_call>"}}) {}

 private:
  void open(int) override {
    closing_.reset();
    expect_object();
  }
  Verdict push_notation(char c) override {
    const auto result = closing_.push(c);
    if (result == Literal::Result::kDone) return Verdict::kLeave;
    return result == Literal::Result::kMore ? Verdict::kMore : Verdict::kRefuse;
  }

  Literal closing_{"</tool_call>"};
};

// {"name": "f", "parameters": {…}}, as the whole answer or after <|python_tag|>; more after ";".
// Any other object is an answer in JSON.
class Llama3JsonParser final : public ObjectCallsParser {
 public:
  Llama3JsonParser()
      : ObjectCallsParser({{"<|python_tag|>"}, '{'},
                          {.needs_arguments = true, .only_known_keys = true}) {}

 private:
  void open(int) override { expect_object(); }
  Verdict push_notation(char c) override {
    if (is_json_space(c)) return Verdict::kMore;
    return c == ';' ? expect_object() : Verdict::kRefuse;
  }
};

// [TOOL_CALLS] [{"name": "f", "arguments": {…}, "id": "…"}, …]      models up to 2024
// [TOOL_CALLS]f[CALL_ID]…[ARGS]{…}[TOOL_CALLS]g{…}                   later ones; the tags are
// optional
class MistralParser final : public ObjectCallsParser {
 public:
  MistralParser() : ObjectCallsParser({{"[TOOL_CALLS]"}}) {}

 private:
  enum class State { kStart, kList, kName, kArguments };
  void open(int) override {
    expect_notation();
    state_ = State::kStart;
    name_.clear();
  }
  Verdict push_notation(char c) override {
    switch (state_) {
      case State::kStart:
        if (is_json_space(c)) return Verdict::kMore;
        state_ = c == '[' ? State::kList : State::kName;
        return c == '[' ? expect_object() : push_name(c);
      case State::kList:
        if (is_json_space(c)) return Verdict::kMore;
        if (c == ',') return expect_object();
        return c == ']' ? Verdict::kLeave : Verdict::kRefuse;
      case State::kName:
        return push_name(c);
      case State::kArguments:
        break;
    }
    const auto result = scanner_.push(c);
    if (result == JsonScanner::Result::kBroken) return Verdict::kRefuse;
    add_arguments({&c, 1});
    if (result == JsonScanner::Result::kMore) return Verdict::kMore;
    end_call();
    return Verdict::kLeave;
  }
  Verdict push_name(char c) {
    if (c != '{') {
      name_ += c;
      return name_.size() > kMaxName ? Verdict::kRefuse : Verdict::kMore;
    }
    std::string_view name = name_;
    if (name.ends_with("[ARGS]")) name.remove_suffix(6);
    name = name.substr(0, name.find("[CALL_ID]"));
    while (!name.empty() && is_json_space(name.back())) name.remove_suffix(1);
    if (name.empty() || name.find_first_of(" \t\r\n[]<>") != std::string_view::npos) {
      return Verdict::kRefuse;
    }
    begin_call(name);
    add_arguments("{");
    scanner_ = JsonScanner();
    scanner_.push('{');
    state_ = State::kArguments;
    return Verdict::kMore;
  }

  static constexpr size_t kMaxName = 256;
  State state_ = State::kStart;
  std::string name_;
  JsonScanner scanner_;
};

// [{"name": "f", "arguments": {…}}, …] after one of the format's markers, or, where the format says
// so, as the whole answer; granite, phi4_mini_json, and answers that a grammar holds to such a
// list.
class ObjectListParser final : public ObjectCallsParser {
 public:
  explicit ObjectListParser(Opening opening)
      : ObjectCallsParser(std::move(opening), {.needs_arguments = true}) {}

 private:
  void open(int) override {
    expect_notation();
    in_list_ = false;
  }
  Verdict push_notation(char c) override {
    if (is_json_space(c)) return Verdict::kMore;
    if (in_list_ && c == ']') return Verdict::kLeave;
    if (c != (in_list_ ? ',' : '[')) return Verdict::kRefuse;
    in_list_ = true;
    return expect_object();
  }

  bool in_list_ = false;
};

// The whole answer is the arguments of one function, which the request named.
class NamedCallParser final : public ToolParser {
 public:
  explicit NamedCallParser(std::string function)
      : ToolParser({{}, '{'}), function_(std::move(function)) {}

 private:
  void open(int) override {
    scanner_ = JsonScanner();
    begin_call(function_);
  }
  Verdict push(char c) override {
    const auto result = scanner_.push(c);
    if (result == JsonScanner::Result::kBroken) return Verdict::kRefuse;
    add_arguments({&c, 1});
    if (result == JsonScanner::Result::kMore) return Verdict::kMore;
    end_call();
    return Verdict::kLeave;
  }

  std::string function_;
  JsonScanner scanner_;
};

}  // namespace

std::unique_ptr<ToolParser> make_hermes_parser(const ToolParserContext&) {
  return std::make_unique<HermesParser>();
}
std::unique_ptr<ToolParser> make_llama3_json_parser(const ToolParserContext&) {
  return std::make_unique<Llama3JsonParser>();
}
std::unique_ptr<ToolParser> make_mistral_parser(const ToolParserContext&) {
  return std::make_unique<MistralParser>();
}
std::unique_ptr<ToolParser> make_granite_parser(const ToolParserContext&) {
  return std::make_unique<ObjectListParser>(
      ToolParser::Opening{{"<|tool_call|>", "<tool_call>"}, '['});
}
std::unique_ptr<ToolParser> make_phi4_mini_json_parser(const ToolParserContext&) {
  return std::make_unique<ObjectListParser>(ToolParser::Opening{{"functools"}});
}
std::unique_ptr<ToolParser> make_call_list_parser() {
  return std::make_unique<ObjectListParser>(ToolParser::Opening{{}, '['});
}
std::unique_ptr<ToolParser> make_named_call_parser(std::string function) {
  return std::make_unique<NamedCallParser>(std::move(function));
}

}  // namespace octavo::text
