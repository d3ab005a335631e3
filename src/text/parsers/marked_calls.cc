// The formats that set function names and JSON arguments between special tokens: deepseek_v31,
// deepseek_v3, kimi_k2.
#include "text/parsers/json_scanner.h"
#include "text/parsers/tool_parser.h"

namespace octavo::text {

namespace {

// calls_begin (call_begin NAME separator {…} call_end)* calls_end, the last of them optional. White
// space between the marks is notation.
struct Notation {
  std::string_view calls_begin, calls_end, call_begin, separator, call_end;
  // The name in what the model wrote before the separator; empty: there is none.
  std::string_view (*name)(std::string_view written);
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_json_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_json_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view plain_name(std::string_view written) {
  return written;
}

// function<｜tool▁sep｜>f
std::string_view name_after_type(std::string_view written) {
  constexpr std::string_view kSeparator = "<｜tool▁sep｜>";
  const size_t at = written.find(kSeparator);
  return at == std::string_view::npos ? "" : written.substr(at + kSeparator.size());
}

// functions.f:0, where the number counts the calls of the conversation
std::string_view name_in_id(std::string_view written) {
  written = trim(written);
  if (written.starts_with("functions.")) written.remove_prefix(10);
  const size_t colon = written.rfind(':');
  const bool numbered = colon != std::string_view::npos && colon + 1 < written.size() &&
                        written.find_first_not_of("0123456789", colon + 1) == written.npos;
  return numbered ? written.substr(0, colon) : written;
}

constexpr Notation kDeepSeekV31{"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>",
                                "<｜tool▁call▁begin｜>",  "<｜tool▁sep｜>",
                                "<｜tool▁call▁end｜>",    plain_name};
constexpr Notation kDeepSeekV3{"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>",
                               "<｜tool▁call▁begin｜>",  "\n```json\n",
                               "```<｜tool▁call▁end｜>", name_after_type};
constexpr Notation kKimiK2{
    "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>", "<|tool_call_end|>",          name_in_id};

class MarkedCallsParser final : public ToolParser {
 public:
  explicit MarkedCallsParser(const Notation& notation)
      : ToolParser({{std::string(notation.calls_begin)}}), notation_(notation) {}

 private:
  enum class State { kBegin, kName, kArguments, kEnd };
  static constexpr size_t kMaxName = 512;

  void open(int) override { to(State::kBegin); }
  Verdict to(State state) {
    state_ = state;
    text_.clear();
    return Verdict::kMore;
  }

  Verdict push(char c) override {
    if (state_ == State::kArguments) return push_arguments(c);
    if (text_.empty() && is_json_space(c)) return Verdict::kMore;
    text_ += c;
    switch (state_) {
      case State::kBegin:
        if (text_ == notation_.calls_end) return Verdict::kLeave;
        if (text_ == notation_.call_begin) return to(State::kName);
        return expect(notation_.call_begin.starts_with(text_) ||
                      notation_.calls_end.starts_with(text_));
      case State::kName:
        return push_name();
      default:
        if (text_ != notation_.call_end) return expect(notation_.call_end.starts_with(text_));
        end_call();
        return to(State::kBegin);
    }
  }
  static Verdict expect(bool possible) { return possible ? Verdict::kMore : Verdict::kRefuse; }

  Verdict push_name() {
    if (text_.size() > kMaxName) return Verdict::kRefuse;
    if (!text_.ends_with(notation_.separator)) return Verdict::kMore;
    std::string_view written = text_;
    written.remove_suffix(notation_.separator.size());
    name_ = notation_.name(written);
    if (name_.empty() || name_.find_first_of(" \t\r\n<") != std::string::npos) {
      return Verdict::kRefuse;
    }
    scanner_ = JsonScanner();
    began_ = false;
    return to(State::kArguments);
  }

  Verdict push_arguments(char c) {
    const auto result = scanner_.push(c);
    if (result == JsonScanner::Result::kBroken) return Verdict::kRefuse;
    if (!began_) {
      if (is_json_space(c)) return Verdict::kMore;
      if (c != '{') return Verdict::kRefuse;
      begin_call(name_);
      began_ = true;
    }
    add_arguments({&c, 1});
    return result == JsonScanner::Result::kDone ? to(State::kEnd) : Verdict::kMore;
  }

  const Notation& notation_;
  State state_ = State::kBegin;
  std::string text_;  // of the mark or name being read
  std::string name_;
  bool began_ = false;  // the arguments
  JsonScanner scanner_;
};

}  // namespace

std::unique_ptr<ToolParser> make_deepseek_v31_parser(const ToolParserContext&) {
  return std::make_unique<MarkedCallsParser>(kDeepSeekV31);
}
std::unique_ptr<ToolParser> make_deepseek_v3_parser(const ToolParserContext&) {
  return std::make_unique<MarkedCallsParser>(kDeepSeekV3);
}
std::unique_ptr<ToolParser> make_kimi_k2_parser(const ToolParserContext&) {
  return std::make_unique<MarkedCallsParser>(kKimiK2);
}

}  // namespace octavo::text
