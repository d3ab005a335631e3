#include "text/parsers/output_parser.h"

#include <algorithm>

namespace octavo::text {

namespace {

const std::vector<ReasoningFormat>& reasoning_formats() {
  static const std::vector<ReasoningFormat> formats = {
      {"qwen3", {"<think>"}, {"</think>"}, {}},
      {"deepseek_r1", {"<think>"}, {"</think>"}, {}},
      {"deepseek_v3", {"<think>"}, {"</think>"}, {}},
      {"glm45", {"<think>"}, {"</think>"}, {}},
      {"kimi_k2", {"<think>"}, {"</think>"}, {"<|tool_calls_section_begin|>"}},
      {"granite",
       {"Here is my thought process:", "Here's my thought process:"},
       {"Here is my response:", "Here's my response:"},
       {}},
      {"mistral", {"[THINK]"}, {"[/THINK]"}, {}},
      {"minimax_m2", {"<think>"}, {"</think>"}, {}},
  };
  return formats;
}

struct ToolFormat {
  std::string_view name;
  std::unique_ptr<ToolParser> (*make)(const ToolParserContext&);
};
constexpr ToolFormat kToolFormats[] = {
    {"hermes", make_hermes_parser},
    {"llama3_json", make_llama3_json_parser},
    {"mistral", make_mistral_parser},
    {"qwen3_coder", make_qwen3_coder_parser},
    {"deepseek_v31", make_deepseek_v31_parser},
    {"deepseek_v3", make_deepseek_v3_parser},
    {"pythonic", make_pythonic_parser},
};

const ReasoningFormat* find_reasoning(std::string_view name) {
  for (const ReasoningFormat& format : reasoning_formats()) {
    if (format.name == name) return &format;
  }
  return nullptr;
}

Status unknown(std::string_view kind, const std::string& name,
               const std::vector<std::string_view>& known) {
  std::string message = "unknown " + std::string(kind) + " parser '" + name + "'; known are";
  for (const std::string_view one : known) {
    message += one == known.front() ? " " : ", ";
    message += one;
  }
  return invalid_argument(std::move(message));
}

}  // namespace

std::vector<std::string_view> reasoning_parser_names() {
  std::vector<std::string_view> names;
  for (const ReasoningFormat& format : reasoning_formats()) names.push_back(format.name);
  return names;
}

std::vector<std::string_view> tool_parser_names() {
  std::vector<std::string_view> names;
  for (const ToolFormat& format : kToolFormats) names.push_back(format.name);
  return names;
}

bool prompt_ends_inside_thinking(std::string_view reasoning_parser, std::string_view prompt) {
  const ReasoningFormat* format = find_reasoning(reasoning_parser);
  if (format == nullptr) return false;
  const auto last_end = [&](const std::vector<std::string>& markers) {
    size_t last = 0;  // one past the last marker's first byte; 0: none
    for (const std::string& marker : markers) {
      const size_t at = prompt.rfind(marker);
      if (at != std::string_view::npos) last = std::max(last, at + 1);
    }
    return last;
  };
  return last_end(format->begin) > last_end(format->end);
}

StatusOr<OutputParser> OutputParser::make(const OutputParserOptions& options) {
  OutputParser parser;
  if (!options.reasoning_parser.empty()) {
    const ReasoningFormat* format = find_reasoning(options.reasoning_parser);
    if (format == nullptr) {
      return unknown("reasoning", options.reasoning_parser, reasoning_parser_names());
    }
    parser.reasoning_ =
        std::make_unique<ReasoningParser>(*format, options.prompt_ends_inside_thinking);
  }
  if (!options.tool_parser.empty()) {
    for (const ToolFormat& format : kToolFormats) {
      if (format.name == options.tool_parser) parser.tools_ = format.make({options.tools});
    }
    if (parser.tools_ == nullptr) return unknown("tool", options.tool_parser, tool_parser_names());
  }
  return parser;
}

void OutputParser::add_content(std::string_view text, ParseEvents& out) {
  if (tools_ != nullptr) {
    tools_->feed(text, out);
  } else {
    out.add(ParseEventKind::kContent, text);
  }
}

std::vector<ParseEvent> OutputParser::feed(std::string_view piece) {
  ParseEvents out;
  if (reasoning_ != nullptr) {
    add_content(reasoning_->feed(piece, out), out);
  } else {
    add_content(piece, out);
  }
  return std::move(out).take();
}

std::vector<ParseEvent> OutputParser::finish() {
  ParseEvents out;
  if (reasoning_ != nullptr) add_content(reasoning_->finish(out), out);
  if (tools_ != nullptr) tools_->finish(out);
  return std::move(out).take();
}

}  // namespace octavo::text
