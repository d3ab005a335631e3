#include "text/parsers/output_parser.h"

#include <algorithm>

#include "text/parsers/json_scanner.h"

namespace octavo::text {

namespace {

constexpr std::string_view kHarmonyReasoning = "openai_gptoss", kHarmonyTools = "openai";

const std::vector<ReasoningFormat>& reasoning_formats() {
  static const std::vector<ReasoningFormat> formats = {
      {"qwen3", {"<think>"}, {"</think>"}, {}},
      {"deepseek_r1", {"<think>"}, {"</think>"}, {}},
      {"deepseek_v3", {"<think>"}, {"</think>"}, {}},
      // Read by HarmonyParser; here for the markers alone.
      {kHarmonyReasoning,
       {"<|channel|>analysis<|message|>"},
       {"<|end|><|start|>assistant<|channel|>final<|message|>", "<|end|>", "<|start|>"},
       {}},
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

using Markers = std::vector<std::string>;
struct ToolFormat {
  std::string_view name;
  std::unique_ptr<ToolParser> (*make)(const ToolParserContext&);  // null: HarmonyParser
  Markers markers;
};
const std::vector<ToolFormat>& tool_formats() {
  static const Markers kTags = {"<tool_call>", "</tool_call>"};
  static const Markers kDeepSeek = {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>",
                                    "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
                                    "<｜tool▁call▁end｜>"};
  static const std::vector<ToolFormat> formats = {
      {"hermes", make_hermes_parser, kTags},
      {"llama3_json", make_llama3_json_parser, {"<|python_tag|>"}},
      {"mistral", make_mistral_parser, {"[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"}},
      {"qwen3_coder", make_qwen3_coder_parser, kTags},
      {"qwen3_xml", make_qwen3_coder_parser, kTags},
      {"deepseek_v31", make_deepseek_v31_parser, kDeepSeek},
      {"deepseek_v3", make_deepseek_v3_parser, kDeepSeek},
      {kHarmonyTools,
       nullptr,
       {"<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>",
        "<|return|>"}},
      {"pythonic", make_pythonic_parser, {}},
      {"llama4_pythonic", make_llama4_pythonic_parser, {"<|python_start|>", "<|python_end|>"}},
      {"glm45",
       make_glm45_parser,
       {"<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"}},
      {"kimi_k2",
       make_kimi_k2_parser,
       {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
        "<|tool_call_argument_begin|>", "<|tool_call_end|>"}},
      {"granite", make_granite_parser, {"<|tool_call|>", "<tool_call>"}},
      {"phi4_mini_json", make_phi4_mini_json_parser, {"functools"}},
      {"minimax_m2", make_minimax_m2_parser, {"<minimax:tool_call>", "</minimax:tool_call>"}},
  };
  return formats;
}

const ReasoningFormat* find_reasoning(std::string_view name) {
  for (const ReasoningFormat& format : reasoning_formats()) {
    if (format.name == name) return &format;
  }
  return nullptr;
}

const ToolFormat* find_tool_format(std::string_view name) {
  for (const ToolFormat& format : tool_formats()) {
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
  for (const ToolFormat& format : tool_formats()) names.push_back(format.name);
  return names;
}

PromptThinking prompt_thinking(std::string_view reasoning_parser, std::string_view prompt,
                               std::string_view continued) {
  const ReasoningFormat* format = find_reasoning(reasoning_parser);
  if (format == nullptr) return PromptThinking::kNone;
  const auto last = [&](const Markers& markers) {
    size_t at = 0;  // one past the last marker's first byte; 0: none
    for (const std::string& marker : markers) at = std::max(at, continued.rfind(marker) + 1);
    return at;
  };
  const auto ends_with = [&](const Markers& markers) {
    return std::any_of(markers.begin(), markers.end(),
                       [&](const std::string& marker) { return prompt.ends_with(marker); });
  };
  if (!continued.empty()) {
    const size_t begin = last(format->begin), end = last(format->end);
    if (begin == end) return PromptThinking::kNone;  // neither is there
    return begin > end ? PromptThinking::kOpen : PromptThinking::kClosed;
  }
  while (!prompt.empty() && is_json_space(prompt.back())) prompt.remove_suffix(1);
  if (ends_with(format->begin)) return PromptThinking::kOpen;
  return ends_with(format->end) ? PromptThinking::kClosed : PromptThinking::kNone;
}

ThinkingMarkers thinking_markers(std::string_view reasoning_parser) {
  const ReasoningFormat* format = find_reasoning(reasoning_parser);
  if (format == nullptr) return {};
  return {format->begin.front(), format->end.front()};
}

std::vector<std::string> parser_markers(std::string_view tool_parser,
                                        std::string_view reasoning_parser) {
  std::vector<std::string> markers;
  const auto add = [&](const Markers& more) {
    markers.insert(markers.end(), more.begin(), more.end());
  };
  if (reasoning_parser == kHarmonyReasoning) tool_parser = kHarmonyTools;
  if (const ToolFormat* format = find_tool_format(tool_parser)) add(format->markers);
  if (const ReasoningFormat* format = find_reasoning(reasoning_parser)) {
    add(format->begin);
    add(format->end);
    add(format->end_and_keep);
  }
  return markers;
}

StatusOr<OutputParser> OutputParser::make(const OutputParserOptions& options) {
  OutputParser parser;
  const bool model_calls = options.notation == CallNotation::kModel;
  const ReasoningFormat* reasoning = find_reasoning(options.reasoning_parser);
  if (reasoning == nullptr && !options.reasoning_parser.empty()) {
    return unknown("reasoning", options.reasoning_parser, reasoning_parser_names());
  }
  const ToolFormat* calls = find_tool_format(options.tool_parser);
  if (calls == nullptr && !options.tool_parser.empty()) {
    return unknown("tool", options.tool_parser, tool_parser_names());
  }
  const bool harmony_calls = options.tool_parser == kHarmonyTools;
  const bool harmony_reasoning = options.reasoning_parser == kHarmonyReasoning;
  const bool others = (calls != nullptr && !harmony_calls) || (reasoning && !harmony_reasoning);
  if ((harmony_calls || harmony_reasoning) && others) {
    return invalid_argument(
        "the tool parser `openai` and the reasoning parser `openai_gptoss` go "
        "with each other alone, not with `" +
        (harmony_calls ? options.reasoning_parser : options.tool_parser) + "`");
  }

  if (options.notation == CallNotation::kCallList) parser.tools_ = make_call_list_parser();
  if (options.notation == CallNotation::kNamedArguments) {
    parser.tools_ = make_named_call_parser(options.named_function);
  }
  if (harmony_calls || harmony_reasoning) {
    parser.harmony_ = std::make_unique<HarmonyParser>(
        HarmonyParser::Options{.reasoning = harmony_reasoning,
                               .calls = harmony_calls && model_calls,
                               .inside_thinking = options.prompt_ends_inside_thinking,
                               .content_parser = parser.tools_.get()});
  } else {
    if (reasoning != nullptr) {
      parser.reasoning_ =
          std::make_unique<ReasoningParser>(*reasoning, options.prompt_ends_inside_thinking);
    }
    if (calls != nullptr && model_calls) parser.tools_ = calls->make({options.tools});
  }
  if (!options.hidden_markers.empty()) {
    parser.content_filter_ = std::make_unique<MarkerFilter>(options.hidden_markers);
    parser.reasoning_filter_ = std::make_unique<MarkerFilter>(options.hidden_markers);
  }
  return parser;
}

bool OutputParser::thinking() const {
  return (reasoning_ != nullptr && reasoning_->thinking()) ||
         (harmony_ != nullptr && harmony_->thinking());
}

void OutputParser::add_content(std::string_view text, ParseEvents& out) {
  if (tools_ != nullptr) {
    tools_->feed(text, out);
  } else {
    out.add(ParseEventKind::kContent, text);
  }
}

std::vector<ParseEvent> OutputParser::hide_markers(std::vector<ParseEvent> events, bool last) {
  if (content_filter_ == nullptr) return events;
  ParseEvents out;
  for (const ParseEvent& event : events) {
    if (event.kind == ParseEventKind::kReasoning) {
      out.add(event.kind, reasoning_filter_->feed(event.text));
      continue;
    }
    out.add(ParseEventKind::kReasoning, reasoning_filter_->flush());
    if (event.kind == ParseEventKind::kContent) {
      out.add(event.kind, content_filter_->feed(event.text));
      continue;
    }
    out.add(ParseEventKind::kContent, content_filter_->flush());
    out.add(event.kind, event.text, event.call);
  }
  if (last) {
    out.add(ParseEventKind::kReasoning, reasoning_filter_->flush());
    out.add(ParseEventKind::kContent, content_filter_->flush());
  }
  return std::move(out).take();
}

std::vector<ParseEvent> OutputParser::feed(std::string_view piece) {
  ParseEvents out;
  if (harmony_ != nullptr) {
    harmony_->feed(piece, out);
  } else if (reasoning_ != nullptr) {
    add_content(reasoning_->feed(piece, out), out);
  } else {
    add_content(piece, out);
  }
  return hide_markers(std::move(out).take(), false);
}

std::vector<ParseEvent> OutputParser::finish() {
  ParseEvents out;
  if (harmony_ != nullptr) {
    harmony_->finish(out);
  } else {
    if (reasoning_ != nullptr) add_content(reasoning_->finish(out), out);
    if (tools_ != nullptr) tools_->finish(out);
  }
  return hide_markers(std::move(out).take(), true);
}

}  // namespace octavo::text
