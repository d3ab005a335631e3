// The formats whose calls are JSON objects: hermes, llama3_json, mistral, deepseek_v31,
// deepseek_v3.
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

// <tool_call>
// {"name": "f", "arguments": {…}}
// </tool_call>            (the last line may be missing)
class HermesParser final : public ToolParser {
 public:
  HermesParser() : ToolParser({{"<tool_call>"}}), object_({}, sink()) {}

 private:
  void open(int) override {
    object_ = CallObject({}, sink());
    closing_.reset();
    object_is_over_ = false;
  }
  Verdict push(char c) override {
    if (object_is_over_) {
      const auto result = closing_.push(c);
      if (result == Literal::Result::kDone) return Verdict::kLeave;
      return result == Literal::Result::kMore ? Verdict::kMore : Verdict::kRefuse;
    }
    const auto result = object_.push(c);
    if (result == CallObject::Result::kBroken) return Verdict::kRefuse;
    if (result == CallObject::Result::kDone) {
      end_call();
      object_is_over_ = true;
    }
    return Verdict::kMore;
  }

  CallObject object_;
  Literal closing_{"</tool_call>"};
  bool object_is_over_ = false;
};

// {"name": "f", "parameters": {…}}, as the whole answer or after <|python_tag|>; more after ";".
// Any other object is an answer in JSON.
class Llama3JsonParser final : public ToolParser {
 public:
  Llama3JsonParser() : ToolParser({{"<|python_tag|>"}, '{'}), object_(kRules, sink()) {}

 private:
  static constexpr CallObject::Rules kRules{.needs_arguments = true, .only_known_keys = true};
  void open(int) override {
    object_ = CallObject(kRules, sink());
    object_is_over_ = false;
  }
  Verdict push(char c) override {
    if (object_is_over_) {
      if (is_json_space(c)) return Verdict::kMore;
      if (c != ';') return Verdict::kRefuse;
      open(0);
      return Verdict::kMore;
    }
    const auto result = object_.push(c);
    if (result == CallObject::Result::kBroken) return Verdict::kRefuse;
    if (result == CallObject::Result::kDone) {
      end_call();
      object_is_over_ = true;
    }
    return Verdict::kMore;
  }

  CallObject object_;
  bool object_is_over_ = false;
};

// [TOOL_CALLS] [{"name": "f", "arguments": {…}, "id": "…"}, …]      models up to 2024
// [TOOL_CALLS]f[CALL_ID]…[ARGS]{…}[TOOL_CALLS]g{…}                   later ones; the tags are
// optional
class MistralParser final : public ToolParser {
 public:
  MistralParser() : ToolParser({{"[TOOL_CALLS]"}}), object_({}, sink()) {}

 private:
  enum class State { kStart, kObject, kAfterObject, kName, kArguments };
  void open(int) override {
    state_ = State::kStart;
    name_.clear();
  }
  Verdict next_object() {
    object_ = CallObject({}, sink());
    state_ = State::kObject;
    return Verdict::kMore;
  }
  Verdict push(char c) override {
    switch (state_) {
      case State::kStart:
        if (is_json_space(c)) return Verdict::kMore;
        if (c == '[') return next_object();
        state_ = State::kName;
        return push_name(c);
      case State::kObject: {
        const auto result = object_.push(c);
        if (result == CallObject::Result::kBroken) return Verdict::kRefuse;
        if (result == CallObject::Result::kDone) {
          end_call();
          state_ = State::kAfterObject;
        }
        return Verdict::kMore;
      }
      case State::kAfterObject:
        if (is_json_space(c)) return Verdict::kMore;
        if (c == ',') return next_object();
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
  CallObject object_;
  JsonScanner scanner_;
};

// <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{…}<｜tool▁call▁end｜>…<｜tool▁calls▁end｜>
// and in v3 and r1:
// …<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{…}\n```<｜tool▁call▁end｜>
class DeepSeekParser final : public ToolParser {
 public:
  explicit DeepSeekParser(bool v3) : ToolParser({{"<｜tool▁calls▁begin｜>"}}), v3_(v3) {}

 private:
  enum class State { kBegin, kName, kArguments, kEnd };
  void open(int) override { next_call(); }
  void next_call() {
    state_ = State::kBegin;
    text_.clear();
  }
  Verdict push(char c) override {
    if (state_ == State::kArguments) {
      const auto result = scanner_.push(c);
      if (result == JsonScanner::Result::kBroken) return Verdict::kRefuse;
      if (text_.empty() && is_json_space(c)) return Verdict::kMore;
      if (text_.empty()) {
        if (c != '{') return Verdict::kRefuse;
        begin_call(name_);
        text_ = c;
      }
      add_arguments({&c, 1});
      if (result == JsonScanner::Result::kDone) {
        state_ = State::kEnd;
        text_.clear();
      }
      return Verdict::kMore;
    }
    if (text_.empty() && is_json_space(c)) return Verdict::kMore;
    text_ += c;
    switch (state_) {
      case State::kBegin:
        if (text_ == kCallsEnd) return Verdict::kLeave;
        if (text_ == kCallBegin) {
          state_ = State::kName;
          text_.clear();
          return Verdict::kMore;
        }
        return kCallBegin.starts_with(text_) || kCallsEnd.starts_with(text_) ? Verdict::kMore
                                                                             : Verdict::kRefuse;
      case State::kName:
        return push_name();
      default: {
        const std::string_view end = v3_ ? kCallEndV3 : kCallEnd;
        if (text_ == end) {
          end_call();
          next_call();
          return Verdict::kMore;
        }
        return end.starts_with(text_) ? Verdict::kMore : Verdict::kRefuse;
      }
    }
  }
  Verdict push_name() {
    if (text_.size() > 512) return Verdict::kRefuse;
    const std::string_view end = v3_ ? "\n```json\n" : kSeparator;
    if (!text_.ends_with(end)) return Verdict::kMore;
    std::string_view name = text_;
    name.remove_suffix(end.size());
    if (v3_) {
      const size_t separator = name.find(kSeparator);
      if (separator == std::string_view::npos) return Verdict::kRefuse;
      name.remove_prefix(separator + kSeparator.size());
    }
    if (name.empty() || name.find_first_of(" \t\r\n<") != std::string_view::npos) {
      return Verdict::kRefuse;
    }
    name_ = name;
    scanner_ = JsonScanner();
    text_.clear();
    state_ = State::kArguments;
    return Verdict::kMore;
  }

  static constexpr std::string_view kCallBegin = "<｜tool▁call▁begin｜>";
  static constexpr std::string_view kCallsEnd = "<｜tool▁calls▁end｜>";
  static constexpr std::string_view kSeparator = "<｜tool▁sep｜>";
  static constexpr std::string_view kCallEnd = "<｜tool▁call▁end｜>";
  static constexpr std::string_view kCallEndV3 = "```<｜tool▁call▁end｜>";
  bool v3_;
  State state_ = State::kBegin;
  std::string text_;  // of the tag or name being read; in kArguments whether they have begun
  std::string name_;
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
std::unique_ptr<ToolParser> make_deepseek_v31_parser(const ToolParserContext&) {
  return std::make_unique<DeepSeekParser>(false);
}
std::unique_ptr<ToolParser> make_deepseek_v3_parser(const ToolParserContext&) {
  return std::make_unique<DeepSeekParser>(true);
}

}  // namespace octavo::text
