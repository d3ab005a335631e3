// The formats that write calls as tags and values as plain text, whose type the tool's schema tells
// (typed_value.h). A value is passed on when it is whole.
//   qwen3_coder, qwen3_xml             minimax_m2
//   <tool_call>                        <minimax:tool_call>
//   <function=f>                       <invoke name="f">
//   <parameter=a>                      <parameter name="a">value</parameter>
//   value                              </invoke>
//   </parameter>                       </minimax:tool_call>
//   </function>
//   </tool_call>
// The outer tags may be missing; several functions may stand in one pair.
//   glm45
//   <tool_call>f
//   <arg_key>a</arg_key>
//   <arg_value>value</arg_value>
//   </tool_call>
#include <optional>
#include <set>

#include "text/parsers/json_scanner.h"
#include "text/parsers/tool_parser.h"
#include "text/parsers/typed_value.h"

namespace octavo::text {

namespace {

constexpr size_t kMaxName = 256;

// What the formats of this file share: tags, and arguments that become JSON one by one.
class TagParser : public ToolParser {
 protected:
  TagParser(Opening opening, Value tools)
      : ToolParser(std::move(opening)), tools_(std::move(tools)) {}

  // Compares text_ with the tags that may stand here; the index of the one that is whole.
  std::optional<size_t> tag(std::initializer_list<std::string_view> tags, bool& possible) const {
    possible = false;
    size_t i = 0;
    for (const std::string_view tag : tags) {
      if (text_ == tag) return i;
      possible = possible || tag.starts_with(text_);
      ++i;
    }
    return std::nullopt;
  }
  void begin_function(std::string_view name) {
    function_ = name;
    seen_.clear();
    begin_call(name);
  }
  // False: a parameter without a name, or a second one of that name.
  bool begin_parameter(std::string_view name) {
    parameter_ = name;
    return !name.empty() && seen_.insert(parameter_).second;
  }
  void add_parameter(std::string_view value) {
    std::string json = seen_.size() == 1 ? "{" : ", ";
    json += to_json(Value(parameter_)) + ": ";
    json += to_json(typed_argument(tools_, function_, parameter_, value));
    add_arguments(json);
  }
  void end_function() {
    add_arguments(seen_.empty() ? "{}" : "}");
    end_call();
  }

  std::string text_;  // of the tag, name or value being read

 private:
  Value tools_;
  std::string function_, parameter_;
  std::set<std::string> seen_;
};

struct Tags {
  std::string_view outer_begin, outer_end, function_begin, function_end, parameter_begin;
  std::string_view name_end;
  bool values_on_own_lines;  // one line break at each end of a value is notation
};
constexpr Tags kQwenTags{
    "<tool_call>", "</tool_call>", "<function=", "</function>", "<parameter=", ">", true};
constexpr Tags kMiniMaxTags{"<minimax:tool_call>",
                            "</minimax:tool_call>",
                            "<invoke name=\"",
                            "</invoke>",
                            "<parameter name=\"",
                            "\">",
                            false};

class XmlParser final : public TagParser {
 public:
  XmlParser(const Tags& tags, Value tools)
      : TagParser({{std::string(tags.outer_begin), std::string(tags.function_begin)}},
                  std::move(tools)),
        tags_(tags) {}

 private:
  enum class State { kFunction, kName, kParameter, kParameterName, kValue, kEnd };

  void open(int marker) override {
    outer_tag_ = marker == 0;
    to(outer_tag_ ? State::kFunction : State::kName);
  }
  Verdict to(State state) {
    state_ = state;
    text_.clear();
    return Verdict::kMore;
  }

  Verdict push(char c) override {
    const bool between =
        state_ == State::kFunction || state_ == State::kParameter || state_ == State::kEnd;
    if (between && text_.empty() && is_json_space(c)) return Verdict::kMore;
    text_ += c;
    bool possible = true;
    switch (state_) {
      case State::kFunction:
        if (tag({tags_.function_begin}, possible)) return to(State::kName);
        break;
      case State::kName:
      case State::kParameterName:
        return push_name(c);
      case State::kParameter:
        if (const auto which = tag({tags_.parameter_begin, tags_.function_end}, possible)) {
          if (*which == 0) return to(State::kParameterName);
          end_function();
          return outer_tag_ ? to(State::kEnd) : Verdict::kLeave;
        }
        break;
      case State::kValue:
        if (c == '>' && text_.ends_with(kValueEnd)) return end_value();
        return Verdict::kMore;
      case State::kEnd:
        if (const auto which = tag({tags_.outer_end, tags_.function_begin}, possible)) {
          return *which == 0 ? Verdict::kLeave : to(State::kName);
        }
        break;
    }
    return possible ? Verdict::kMore : Verdict::kRefuse;
  }

  Verdict push_name(char c) {
    if (c != '>' || !text_.ends_with(tags_.name_end)) {
      const bool fits = c != '<' && c != '\n' && text_.size() <= kMaxName;
      return fits ? Verdict::kMore : Verdict::kRefuse;
    }
    const std::string name = text_.substr(0, text_.size() - tags_.name_end.size());
    if (state_ == State::kParameterName) {
      return begin_parameter(name) ? to(State::kValue) : Verdict::kRefuse;
    }
    if (name.empty()) return Verdict::kRefuse;
    begin_function(name);
    return to(State::kParameter);
  }

  Verdict end_value() {
    std::string_view value = text_;
    value.remove_suffix(kValueEnd.size());
    if (tags_.values_on_own_lines) {
      if (value.starts_with('\n')) value.remove_prefix(1);
      if (value.ends_with('\n')) value.remove_suffix(1);
    }
    add_parameter(value);
    return to(State::kParameter);
  }

  static constexpr std::string_view kValueEnd = "</parameter>";
  const Tags& tags_;
  State state_ = State::kFunction;
  bool outer_tag_ = false;
};

class Glm45Parser final : public TagParser {
 public:
  explicit Glm45Parser(Value tools) : TagParser({{"<tool_call>"}}, std::move(tools)) {}

 private:
  enum class State { kName, kKeyOrEnd, kKey, kValueBegin, kValue };

  void open(int) override { to(State::kName); }
  Verdict to(State state) {
    state_ = state;
    text_.clear();
    return Verdict::kMore;
  }

  Verdict push(char c) override {
    if (state_ == State::kName) return push_name(c);
    const bool between = state_ == State::kKeyOrEnd || state_ == State::kValueBegin;
    if (between && text_.empty() && is_json_space(c)) return Verdict::kMore;
    text_ += c;
    bool possible = true;
    switch (state_) {
      case State::kKeyOrEnd:
        if (const auto which = tag({"<arg_key>", "</tool_call>"}, possible)) {
          if (*which == 0) return to(State::kKey);
          end_function();
          return Verdict::kLeave;
        }
        break;
      case State::kKey:
        possible = text_.size() <= kMaxName + kKeyEnd.size();
        if (!text_.ends_with(kKeyEnd)) break;
        possible = begin_parameter(trimmed(text_.substr(0, text_.size() - kKeyEnd.size())));
        if (possible) return to(State::kValueBegin);
        break;
      case State::kValueBegin:
        if (tag({"<arg_value>"}, possible)) return to(State::kValue);
        break;
      default:
        if (c != '>' || !text_.ends_with(kValueEnd)) return Verdict::kMore;
        add_parameter(std::string_view(text_).substr(0, text_.size() - kValueEnd.size()));
        return to(State::kKeyOrEnd);
    }
    return possible ? Verdict::kMore : Verdict::kRefuse;
  }

  // The name stands up to the line's end or the next tag.
  Verdict push_name(char c) {
    if (text_.empty() && is_json_space(c)) return Verdict::kMore;
    if (c != '\n' && c != '<') {
      text_ += c;
      const bool fits = text_.size() <= kMaxName && c != '{' && c != '"';
      return fits ? Verdict::kMore : Verdict::kRefuse;
    }
    const std::string name = trimmed(text_);
    if (name.empty() || name.find_first_of(" \t") != std::string::npos) return Verdict::kRefuse;
    begin_function(name);
    to(State::kKeyOrEnd);
    return c == '<' ? push(c) : Verdict::kMore;
  }

  static std::string trimmed(std::string text) {
    while (!text.empty() && is_json_space(text.back())) text.pop_back();
    while (!text.empty() && is_json_space(text.front())) text.erase(0, 1);
    return text;
  }

  static constexpr std::string_view kKeyEnd = "</arg_key>";
  static constexpr std::string_view kValueEnd = "</arg_value>";
  State state_ = State::kName;
};

}  // namespace

std::unique_ptr<ToolParser> make_qwen3_coder_parser(const ToolParserContext& context) {
  return std::make_unique<XmlParser>(kQwenTags, context.tools);
}
std::unique_ptr<ToolParser> make_minimax_m2_parser(const ToolParserContext& context) {
  return std::make_unique<XmlParser>(kMiniMaxTags, context.tools);
}
std::unique_ptr<ToolParser> make_glm45_parser(const ToolParserContext& context) {
  return std::make_unique<Glm45Parser>(context.tools);
}

}  // namespace octavo::text
