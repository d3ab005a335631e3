// The harmony format of gpt-oss: samples at every split and cut off everywhere.
#include <gtest/gtest.h>

#include "text/parsers/testing_parse.h"

namespace octavo::text {
namespace {

std::string message(const std::string& header, const std::string& text,
                    const std::string& end = "<|end|>") {
  return "<|channel|>" + header + "<|message|>" + text + end;
}
std::string call(const std::string& recipient, const std::string& text) {
  return message("commentary to=" + recipient + " <|constrain|>json", text, "<|call|>");
}
const std::string kNext = "<|start|>assistant";

TEST(ToolParsers, HarmonyTakesMessagesByTheirHeaders) {
  const std::string think = message("analysis", "Hm, 1 < 2.");
  expect_samples(
      {.reasoning_parser = "openai_gptoss", .tool_parser = "openai"},
      {
          {think + kNext + message("final", "Yes.", "<|return|>"), "Yes.", {}, "Hm, 1 < 2."},
          {message("final", "Yes.", ""), "Yes.", {}},
          {think + kNext + call("functions.f", R"({"a": 1})"),
           "",
           {{"f", R"({"a": 1})"}},
           "Hm, 1 < 2."},
          {" to=functions.f<|channel|>commentary json<|message|>{\"a\": 2}<|call|>",
           "",
           {{"f", R"({"a": 2})"}}},
          {message("commentary", "I look.") + kNext + call("functions.f", "{}") + kNext +
               call("functions.g", R"({"s": "<|x|> é"})"),
           "I look.",
           {{"f", "{}"}, {"g", R"({"s": "<|x|> é"})"}}},
          {call("functions.f", ""), "", {{"f", "{}"}}},
          {call("functions.f", "\n{\n} "), "", {{"f", "{\n}"}}},
          {think + kNext + message("analysis", "More.") + kNext + message("final", "a") + kNext +
               message("final", "b", "<|return|>"),
           "a\nb",
           {},
           "Hm, 1 < 2.\nMore."},
          {call("functions.f", "no json"), "no json", {}},
          {call("browser.search", "{}"), "{}", {}},
          {"The prompt wrote the header.", "The prompt wrote the header.", {}},
          {"to be or not", "to be or not", {}},
          {think, "", {}, "Hm, 1 < 2."},
          {"", "", {}},
      });
}

TEST(ToolParsers, HarmonyWithoutItsReasoningParserShowsTheThinking) {
  EXPECT_EQ(parse_every_way({.tool_parser = "openai"},
                            message("analysis", "Hm.") + kNext + message("final", "Yes.")),
            (ParsedOutput{"", "Hm.\nYes.", {}}));
}

TEST(ToolParsers, HarmonyWithoutItsToolParserShowsTheCall) {
  EXPECT_EQ(parse_every_way({.reasoning_parser = "openai_gptoss"},
                            message("analysis", "Hm.") + kNext + call("functions.f", "{}")),
            (ParsedOutput{"Hm.", "{}", {}}));
}

TEST(ToolParsers, HarmonyGoesOnWithThinkingThatThePromptBegan) {
  EXPECT_EQ(parse_every_way({.reasoning_parser = "openai_gptoss",
                             .tool_parser = "openai",
                             .prompt_ends_inside_thinking = true},
                            "and so<|end|>" + kNext + message("final", "Yes.")),
            (ParsedOutput{"and so", "Yes.", {}}));
}

TEST(ToolParsers, HarmonyLeavesAForcedCallToTheGrammarsNotation) {
  const OutputParserOptions options{.reasoning_parser = "openai_gptoss",
                                    .tool_parser = "openai",
                                    .notation = CallNotation::kNamedArguments,
                                    .named_function = "f"};
  const std::string think = message("analysis", "Hm.") + kNext;
  EXPECT_EQ(parse_every_way(options, think + message("final", "{\"a\": 1}", "<|return|>")),
            (ParsedOutput{"Hm.", "", {{"f", "{\"a\": 1}"}}}));
  EXPECT_EQ(parse_every_way(options, "{\"a\": 1}"), (ParsedOutput{"", "", {{"f", "{\"a\": 1}"}}}));
}

TEST(OutputParser, RefusesHarmonyBesideAnotherFormat) {
  const auto mixed =
      OutputParser::make({.reasoning_parser = "openai_gptoss", .tool_parser = "hermes"});
  ASSERT_FALSE(mixed.ok());
  EXPECT_NE(mixed.status().message().find("not with `hermes`"), std::string::npos);
}

}  // namespace
}  // namespace octavo::text
