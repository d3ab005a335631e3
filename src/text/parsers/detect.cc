#include "text/parsers/detect.h"

#include <algorithm>
#include <vector>

namespace octavo::text {

namespace {

// Holds if all of `marks` stand in the template.
struct Rule {
  std::vector<std::string_view> marks;
  std::string_view parser;
};

// The first that holds decides; the more telling marks come first.
const std::vector<Rule>& tool_rules() {
  static const std::vector<Rule> rules = {
      {{"<|channel|>", "functions."}, "openai"},
      {{"<minimax:tool_call>"}, "minimax_m2"},
      {{"<|tool_calls_section_begin|>"}, "kimi_k2"},
      {{"<arg_key>"}, "glm45"},
      {{"<｜tool▁calls▁begin｜>", "```json"}, "deepseek_v3"},
      {{"<｜tool▁calls▁begin｜>"}, "deepseek_v31"},
      {{"<function=", "<parameter="}, "qwen3_coder"},
      {{"[TOOL_CALLS]"}, "mistral"},
      {{"functools["}, "phi4_mini_json"},
      {{"<|tool_call|>"}, "granite"},
      {{"<tool_call>", "\"name\"", "\"arguments\""}, "hermes"},
      {{"<|header_start|>", "[func_name1("}, "llama4_pythonic"},
      {{"[func_name1("}, "pythonic"},
      {{"\"parameters\": ", "<|start_header_id|>"}, "llama3_json"},
      {{"\"parameters\": ", "<|header_start|>"}, "llama3_json"},
  };
  return rules;
}

const std::vector<Rule>& reasoning_rules() {
  static const std::vector<Rule> rules = {
      {{"<|channel|>", "analysis"}, "openai_gptoss"},
      {{"[THINK]"}, "mistral"},
      {{"Here is my thought process:"}, "granite"},
      {{"</think>", "<minimax:tool_call>"}, "minimax_m2"},
      {{"</think>", "<|im_assistant|>"}, "kimi_k2"},
      {{"</think>", "<arg_key>"}, "glm45"},
      {{"</think>", "<｜tool▁calls▁begin｜>"}, "deepseek_r1"},
      {{"</think>"}, "qwen3"},
  };
  return rules;
}

std::string first_match(const std::vector<Rule>& rules, std::string_view text) {
  const auto in_text = [&](std::string_view mark) { return text.find(mark) != text.npos; };
  for (const Rule& rule : rules) {
    if (std::all_of(rule.marks.begin(), rule.marks.end(), in_text)) {
      return std::string(rule.parser);
    }
  }
  return "";
}

}  // namespace

ParserChoice detect_parsers(std::string_view chat_template, std::string_view architecture,
                            bool has_think_token) {
  ParserChoice choice{first_match(tool_rules(), chat_template),
                      first_match(reasoning_rules(), chat_template)};
  struct Known {
    std::string_view architecture, tool, reasoning;
  };
  static constexpr Known kKnown[] = {
      {"GptOssForCausalLM", "openai", "openai_gptoss"},
      {"Glm4MoeForCausalLM", "glm45", "glm45"},
      {"MiniMaxM2ForCausalLM", "minimax_m2", "minimax_m2"},
  };
  for (const Known& known : kKnown) {
    if (known.architecture != architecture) continue;
    if (choice.tool.empty()) choice.tool = known.tool;
    if (choice.reasoning.empty()) choice.reasoning = known.reasoning;
  }
  if (choice.reasoning.empty() && choice.tool != "openai" && has_think_token) {
    choice.reasoning = "qwen3";
  }
  return choice;
}

}  // namespace octavo::text
