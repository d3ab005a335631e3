// qwen3_coder: calls written as tags, the values as plain text whose type the tool's schema tells.
//   <tool_call>
//   <function=f>
//   <parameter=a>
//   value
//   </parameter>
//   </function>
//   </tool_call>          (the outer tags may be missing)
// A value is passed on when it is whole. One line break at each of its ends is notation. A string
// (or a parameter that no schema knows) stays as it is; other types are read as JSON, or as Python
// prints them (True, None), and stay strings where they cannot be.
#include <algorithm>
#include <optional>
#include <set>

#include "text/parsers/json_scanner.h"
#include "text/parsers/tool_parser.h"

namespace octavo::text {

namespace {

// The JSON types that a schema names, through anyOf and oneOf.
void add_types(const Value& schema, int depth, std::set<std::string>& types) {
  if (depth == 0) return;
  if (const Value* type = schema.find("type")) {
    if (type->is_string()) types.insert(type->as_string());
    if (type->is_list()) {
      for (const Value& one : type->as_list()) {
        if (one.is_string()) types.insert(one.as_string());
      }
    }
  }
  for (const char* key : {"anyOf", "oneOf"}) {
    const Value* choices = schema.find(key);
    if (choices == nullptr || !choices->is_list()) continue;
    for (const Value& choice : choices->as_list()) add_types(choice, depth - 1, types);
  }
}

const Value* schema_of(const Value& tools, std::string_view function, std::string_view parameter) {
  if (!tools.is_list()) return nullptr;
  for (const Value& tool : tools.as_list()) {
    const Value* described = tool.find("function");
    const Value& f = described == nullptr ? tool : *described;
    const Value* name = f.find("name");
    if (name == nullptr || !name->is_string() || name->as_string() != function) continue;
    const Value* parameters = f.find("parameters");
    const Value* properties = parameters == nullptr ? nullptr : parameters->find("properties");
    return properties == nullptr ? nullptr : properties->find(parameter);
  }
  return nullptr;
}

Value typed(std::string_view text, const Value* schema) {
  if (schema == nullptr) return Value(text);
  std::set<std::string> types;
  add_types(*schema, 8, types);
  const bool any = types.empty();
  if (types == std::set<std::string>{"string"}) return Value(text);
  const auto takes = [&](const Value& v) {
    if (v.is_string()) return false;  // a quoted text is the text with its quotes
    if (any || types.count(std::string(v.type_name())) > 0) return true;
    return v.is_number() && types.count("number") > 0;
  };
  std::string json(text);
  if (json == "None") json = "null";
  if (json == "True") json = "true";
  if (json == "False") json = "false";
  const auto value = parse_json(json);
  return value.ok() && takes(*value) ? *value : Value(text);
}

class Qwen3CoderParser final : public ToolParser {
 public:
  explicit Qwen3CoderParser(Value tools)
      : ToolParser({{"<tool_call>", "<function="}}), tools_(std::move(tools)) {}

 private:
  enum class State { kFunction, kName, kParameter, kParameterName, kValue, kEnd };

  void open(int marker) override {
    state_ = marker == 0 ? State::kFunction : State::kName;
    outer_tag_ = marker == 0;
    text_.clear();
    seen_.clear();
  }

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
        if (tag({"<function="}, possible)) return to(State::kName);
        break;
      case State::kName:
      case State::kParameterName:
        return push_name(c);
      case State::kParameter:
        if (const auto which = tag({"<parameter=", "</function>"}, possible)) {
          if (*which == 0) return to(State::kParameterName);
          add_arguments(seen_.empty() ? "{}" : "}");
          end_call();
          return outer_tag_ ? to(State::kEnd) : Verdict::kLeave;
        }
        break;
      case State::kValue:
        if (c == '>' && text_.ends_with(kValueEnd)) return end_value();
        return Verdict::kMore;
      case State::kEnd:
        if (tag({"</tool_call>"}, possible)) return Verdict::kLeave;
        break;
    }
    return possible ? Verdict::kMore : Verdict::kRefuse;
  }

  Verdict push_name(char c) {
    if (c != '>') {
      const bool fits = c != '<' && c != '\n' && text_.size() <= 256;
      return fits ? Verdict::kMore : Verdict::kRefuse;
    }
    const std::string name = text_.substr(0, text_.size() - 1);
    if (name.empty()) return Verdict::kRefuse;
    if (state_ == State::kName) {
      function_ = name;
      begin_call(name);
      return to(State::kParameter);
    }
    if (!seen_.insert(name).second) return Verdict::kRefuse;
    parameter_ = name;
    return to(State::kValue);
  }

  Verdict end_value() {
    std::string_view value = text_;
    value.remove_suffix(kValueEnd.size());
    if (value.starts_with('\n')) value.remove_prefix(1);
    if (value.ends_with('\n')) value.remove_suffix(1);
    std::string json = seen_.size() == 1 ? "{" : ", ";
    json += to_json(Value(parameter_)) + ": ";
    json += to_json(typed(value, schema_of(tools_, function_, parameter_)));
    add_arguments(json);
    return to(State::kParameter);
  }

  static constexpr std::string_view kValueEnd = "</parameter>";
  Value tools_;
  State state_ = State::kFunction;
  bool outer_tag_ = false;
  std::string text_;  // of the tag, name or value being read
  std::string function_, parameter_;
  std::set<std::string> seen_;
};

}  // namespace

std::unique_ptr<ToolParser> make_qwen3_coder_parser(const ToolParserContext& context) {
  return std::make_unique<Qwen3CoderParser>(context.tools);
}

}  // namespace octavo::text
