// The parsers that are chosen for the models' own templates.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "text/parsers/detect.h"
#include "text/parsers/output_parser.h"
#include "text/parsers/testing_parse.h"
#include "text/template_file.h"

namespace octavo::text {
namespace {

TEST(DetectParsers, ReadsTheNotationFromTheTemplate) {
  const auto hermes = detect_parsers(
      R"({{ '<tool_call>\n{"name": "' + call.name + '", "arguments": ' }} {{ '</think>' }})", "",
      false);
  EXPECT_EQ(hermes, (ParserChoice{"hermes", "qwen3"}));
  EXPECT_EQ(detect_parsers("<|channel|>analysis functions.", "", false),
            (ParserChoice{"openai", "openai_gptoss"}));
  EXPECT_EQ(detect_parsers("<minimax:tool_call> <think> </think>", "", false),
            (ParserChoice{"minimax_m2", "minimax_m2"}));
  EXPECT_EQ(detect_parsers("<|tool_calls_section_begin|> <|im_assistant|> </think>", "", false),
            (ParserChoice{"kimi_k2", "kimi_k2"}));
  EXPECT_EQ(detect_parsers("{{ message.content }}", "", false), ParserChoice{});
}

TEST(DetectParsers, AsksTheArchitectureWhereTheTemplateSaysNothing) {
  EXPECT_EQ(detect_parsers("", "GptOssForCausalLM", false),
            (ParserChoice{"openai", "openai_gptoss"}));
  EXPECT_EQ(detect_parsers("", "LlamaForCausalLM", false), ParserChoice{});
}

TEST(DetectParsers, TakesATokenOfTheVocabularyForThinking) {
  EXPECT_EQ(detect_parsers("{{ message.content }}", "", true), (ParserChoice{"", "qwen3"}));
}

TEST(DetectParsers, MakesOnlyPairsThatGoTogether) {
  for (const char* source : {"<|channel|>analysis functions. </think>", "[TOOL_CALLS] [THINK]",
                             "<function= <parameter= </think>"}) {
    const ParserChoice choice = detect_parsers(source, "GptOssForCausalLM", true);
    EXPECT_TRUE(
        OutputParser::make({.reasoning_parser = choice.reasoning, .tool_parser = choice.tool}).ok())
        << source;
  }
}

TEST(DetectParsers, FindsTheParsersOfKnownTemplates) {
  if (!std::filesystem::exists(templates_folder())) {
    GTEST_SKIP() << "DetectParsers.FindsTheParsersOfKnownTemplates needs "
                    "shared/data/chat_templates (OCTAVO_SHARED)";
  }
  struct Case {
    const char* file;
    ParserChoice choice;
  };
  const std::vector<Case> cases = {
      {"qwen3.jinja", {"hermes", "qwen3"}},
      {"qwen35.jinja", {"qwen3_coder", "qwen3"}},
      {"qwen3_30b_thinking", {"hermes", "qwen3"}},
      {"deepseek_v31", {"deepseek_v31", "deepseek_r1"}},
      {"deepseek_r1_qwen_14b", {"deepseek_v3", "deepseek_r1"}},
      {"tool_chat_template_deepseekv3.jinja", {"deepseek_v3", ""}},
      {"tool_chat_template_deepseekv31.jinja", {"deepseek_v31", "deepseek_r1"}},
      {"tool_chat_template_glm4.jinja", {"glm45", ""}},
      {"tool_chat_template_granite.jinja", {"granite", ""}},
      {"tool_chat_template_hermes.jinja", {"hermes", ""}},
      {"tool_chat_template_llama3.1_json.jinja", {"llama3_json", ""}},
      {"tool_chat_template_llama3.2_json.jinja", {"llama3_json", ""}},
      {"tool_chat_template_llama4_json.jinja", {"llama3_json", ""}},
      {"tool_chat_template_llama3.2_pythonic.jinja", {"pythonic", ""}},
      {"tool_chat_template_gemma3_pythonic.jinja", {"pythonic", ""}},
      {"tool_chat_template_toolace.jinja", {"pythonic", ""}},
      {"tool_chat_template_llama4_pythonic.jinja", {"llama4_pythonic", ""}},
      {"tool_chat_template_mistral.jinja", {"mistral", ""}},
      {"tool_chat_template_mistral3.jinja", {"mistral", ""}},
      {"tool_chat_template_phi4_mini.jinja", {"phi4_mini_json", ""}},
      {"tool_chat_template_qwen3coder.jinja", {"qwen3_coder", ""}},
      {"template_chatml.jinja", {"", ""}},
      {"template_alpaca.jinja", {"", ""}},
      {"nemotron-rerank.jinja", {"", ""}},
  };
  for (const Case& c : cases) {
    const auto source = read_chat_template(templates_folder() / c.file);
    ASSERT_TRUE(source.ok()) << source.status().to_string();
    const ParserChoice choice = detect_parsers(*source, "", false);
    EXPECT_EQ(choice, c.choice) << c.file << ": " << choice.tool << ", " << choice.reasoning;
  }
}

}  // namespace
}  // namespace octavo::text
