// OutputParser as a whole: thinking, the two parsers together, random texts at every split.
#include <gtest/gtest.h>

#include "base/testing_files.h"
#include "text/parsers/testing_parse.h"
#include "text/tokenizer.h"

namespace octavo::text {
namespace {

TEST(ToolParsers, ACallIsStreamedBeforeItIsWholeAndTakenBackIfItBreaks) {
  auto parser = OutputParser::make({.tool_parser = "hermes"});
  ASSERT_TRUE(parser.ok());
  const auto events = parser->feed("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"b");
  EXPECT_EQ(events, (std::vector<ParseEvent>{{ParseEventKind::kCallBegin, "f", 0},
                                             {ParseEventKind::kCallArguments, "{\"a\": \"b", 0}}));
  EXPECT_EQ(
      parser->finish(),
      (std::vector<ParseEvent>{{ParseEventKind::kCallRetracted, "", 0},
                               {ParseEventKind::kContent,
                                "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"b", -1}}));
}

TEST(ReasoningParsers, TakeTheThinkingOffTheHead) {
  struct Case {
    std::string text, reasoning, content;
    bool inside = false;
  };
  for (const std::string_view name : reasoning_parser_names()) {
    if (name == "openai_gptoss") continue;  // harmony_test.cc
    std::string begin = "<think>", end = "</think>";
    if (name == "mistral") begin = "[THINK]", end = "[/THINK]";
    if (name == "granite") begin = "Here is my thought process:", end = "Here's my response:";
    const std::vector<Case> cases = {
        {begin + "\nhm, 1 < 2\n" + end + "\n\nYes.\n", "hm, 1 < 2", "Yes.\n"},
        {"\n" + begin + "a" + end + "b", "a", "b"},
        {begin + "\n\n" + end + "\n\nYes.", "", "Yes."},
        {"Yes, no thinking.", "", "Yes, no thinking."},
        {"\n\nYes.", "", "\n\nYes."},
        {"Not at the head: " + begin + "a" + end, "", "Not at the head: " + begin + "a" + end},
        {"stray " + end + " tag", "", "stray " + end + " tag"},
        {begin + "cut off", "cut off", ""},
        {begin + "a\n\nb \n" + end, "a\n\nb", ""},
        {"a" + end + "\nb" + end + "c", "a", "b" + end + "c", true},
        {begin + "\na\n" + end + "\nb", "a", "b", true},
        {"never closed </thin", "never closed </thin", "", true},
        {end + "\n\nYes.", "", "Yes.", true},
        {"", "", "", true},
        {"北京<\n" + end + "\n\n东京", "北京<", "东京", true},
    };
    for (const Case& c : cases) {
      SCOPED_TRACE(std::string(name) + ": " + c.text);
      OutputParserOptions options{.reasoning_parser = std::string(name),
                                  .prompt_ends_inside_thinking = c.inside};
      EXPECT_EQ(parse_every_way(options, c.text), (ParsedOutput{c.reasoning, c.content, {}}));
    }
  }
}

TEST(ReasoningParsers, HandTheContentToTheToolParser) {
  const std::string call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
  const OutputParserOptions options{
      .reasoning_parser = "qwen3", .tool_parser = "hermes", .prompt_ends_inside_thinking = true};
  EXPECT_EQ(parse_every_way(options, "I may " + call + "\n</think>\n\n" + call),
            (ParsedOutput{"I may " + call, "", {{"f", "{}"}}}));
}

TEST(ReasoningParsers, ReadFromThePromptsEndWhetherThinkingIsOpen) {
  using enum PromptThinking;
  EXPECT_EQ(prompt_thinking("qwen3", "<|im_start|>assistant\n<think>\n"), kOpen);
  EXPECT_EQ(prompt_thinking("qwen3", "assistant\n<think>\n\n</think>\n\n"), kClosed);
  EXPECT_EQ(prompt_thinking("qwen3", "<|im_start|>assistant\n"), kNone);
  EXPECT_EQ(prompt_thinking("qwen3", "user\nWhat is <think>?\n<|im_start|>assistant\n"), kNone);
  EXPECT_EQ(prompt_thinking("openai_gptoss", "<|start|>assistant"), kNone);
  EXPECT_EQ(prompt_thinking("", "<think>"), kNone);
}

TEST(ReasoningParsers, ReadFromAMessageThatIsGoneOnWithWhetherItThinks) {
  using enum PromptThinking;
  EXPECT_EQ(prompt_thinking("qwen3", "assistant\n<think>Hm", "<think>Hm"), kOpen);
  EXPECT_EQ(prompt_thinking("qwen3", "a\n<think>Hm</think>Yes", "<think>Hm</think>Yes"), kClosed);
  EXPECT_EQ(prompt_thinking("qwen3", "assistant\nYes", "Yes"), kNone);
}

TEST(ReasoningParsers, SayWhetherTheyAreInTheMiddleOfTheThinking) {
  auto parser = OutputParser::make({.reasoning_parser = "qwen3"});
  ASSERT_TRUE(parser.ok());
  const auto thinking_after = [&](std::string_view piece) {
    parser->feed(piece);
    return parser->thinking();
  };
  EXPECT_FALSE(thinking_after("<thi"));
  EXPECT_TRUE(thinking_after("nk>"));
  EXPECT_TRUE(thinking_after("Hm."));
  EXPECT_FALSE(thinking_after("</think>"));
  EXPECT_FALSE(thinking_after("Yes."));
}

TEST(OutputParser, LeavesHiddenMarkersOutOfWhatItGivesBack) {
  EXPECT_EQ(parse_every_way({.reasoning_parser = "mistral",
                             .tool_parser = "mistral",
                             .hidden_markers = {"[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]"}},
                            "[THINK]a[ARGS]b[/THINK]x[TOOL_CALLS] not a call [TOOL"),
            (ParsedOutput{"ab", "x not a call [TOOL", {}}));
}

TEST(OutputParser, NamesTheMarkersOfItsParsers) {
  const auto markers = parser_markers("llama3_json", "qwen3");
  EXPECT_EQ(markers, (std::vector<std::string>{"<|python_tag|>", "<think>", "</think>"}));
  EXPECT_TRUE(parser_markers("", "").empty());
}

TEST(OutputParser, RefusesAnUnknownNameAndListsTheKnown) {
  const auto tool = OutputParser::make({.tool_parser = "herme"});
  ASSERT_FALSE(tool.ok());
  EXPECT_NE(tool.status().message().find("'herme'; known are hermes, llama3_json"),
            std::string::npos);
  const auto reasoning = OutputParser::make({.reasoning_parser = "gptoss"});
  ASSERT_FALSE(reasoning.ok());
  EXPECT_NE(reasoning.status().message().find("known are qwen3, deepseek_r1"), std::string::npos);
}

TEST(OutputParser, GivesTheSameForEverySplitOfPiecesOfFormatsThrownTogether) {
  const std::vector<std::string> scraps = {"<think>",
                                           "</think>",
                                           "<tool_call>",
                                           "</tool_call>",
                                           "{",
                                           "}",
                                           "\"name\": \"f\"",
                                           ", ",
                                           "\"arguments\": {\"a\": 1}",
                                           "\"parameters\": {}",
                                           "[TOOL_CALLS]",
                                           "[",
                                           "]",
                                           "f",
                                           "(a=1)",
                                           "<function=f>",
                                           "</function>",
                                           "<parameter=a>",
                                           "</parameter>",
                                           "<｜tool▁calls▁begin｜>",
                                           "<｜tool▁call▁begin｜>",
                                           "<｜tool▁sep｜>",
                                           "<｜tool▁call▁end｜>",
                                           "<|tool_calls_section_begin|>",
                                           "<|tool_call_begin|>",
                                           "<|tool_call_argument_begin|>",
                                           "<|tool_call_end|>",
                                           "<|channel|>",
                                           "<|message|>",
                                           "<|end|>",
                                           "<|start|>",
                                           "to=functions.f",
                                           "analysis",
                                           "<minimax:tool_call>",
                                           "<invoke name=\"f\">",
                                           "</invoke>",
                                           "<arg_key>",
                                           "</arg_key>",
                                           "<arg_value>",
                                           "</arg_value>",
                                           "functools",
                                           "<",
                                           " ",
                                           "\n",
                                           "\"",
                                           "\\",
                                           "é"};
  uint32_t state = 1;
  for (const std::string_view tool : tool_parser_names()) {
    for (int round = 0; round < 200; ++round) {
      std::vector<std::string> pieces, bytes;
      std::string text;
      for (int i = 0; i < 12; ++i) {
        state = state * 1664525 + 1013904223;
        pieces.push_back(scraps[(state >> 16) % scraps.size()]);
        text += pieces.back();
      }
      for (const char c : text) bytes.emplace_back(1, c);
      const bool harmony = tool == "openai";
      const OutputParserOptions options{.reasoning_parser = round % 2 == 0 ? ""
                                                            : harmony      ? "openai_gptoss"
                                                                           : "qwen3",
                                        .tool_parser = std::string(tool)};
      const ParsedOutput whole = parse(options, {text});
      EXPECT_EQ(parse(options, pieces), whole) << text;
      EXPECT_EQ(parse(options, bytes), whole) << text;
      if (round % 2 == 0 && whole.calls.empty() && !harmony) {
        EXPECT_EQ(whole.content, text);
      }
    }
  }
}
// A parser that looks at all of it for each byte would take minutes.
TEST(OutputParser, TakesAFloodOfWhiteSpaceInItsStride) {
  const std::string flood(500'000, ' ');
  for (const std::string_view tool : tool_parser_names()) {
    const std::string reasoning = tool == "openai" ? "openai_gptoss" : "qwen3";
    const OutputParserOptions options{.reasoning_parser = reasoning,
                                      .tool_parser = std::string(tool)};
    EXPECT_EQ(parse(options, {flood + "x"}).content, flood + "x");
  }
  const std::string header = "<|channel|>commentary to=functions.f<|message|>";
  EXPECT_EQ(parse({.tool_parser = "openai"}, {header + flood + "{}"}).calls.size(), 1u);
}

// The pieces that a tokenizer's tokens make of a text, as the output processor sees them.
std::vector<std::string> token_pieces(const Tokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.encode(text, {.add_special_tokens = false});
  EXPECT_TRUE(ids.ok());
  TokenStreamer streamer(tokenizer, false);
  std::vector<std::string> pieces;
  for (const TokenId id : *ids) pieces.push_back(streamer.append(id));
  pieces.push_back(streamer.flush());
  return pieces;
}

TEST(OutputParser, GivesTheSameForTokensAsForTheWhole) {
  const auto tokenizer = load_tokenizer(octavo::testing::source_dir() / "models" / "octavo-tiny");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  const std::string json = R"({"name": "f", "arguments": {"s": "北京 é \" </think>", "i": 12}})";
  const std::string think = "<think>\nHm, 1 < 2 […].\n</think>\n\nI look.\n";
  struct Case {
    const char *tool, *reasoning;
    std::string text;
  };
  const std::vector<Case> cases = {
      {"hermes", "qwen3", think + "<tool_call>\n" + json + "\n</tool_call>"},
      {"llama3_json", "", "<|python_tag|>" + json},
      {"mistral", "mistral", "[THINK]Hm.[/THINK]ok[TOOL_CALLS] [" + json + "]"},
      {"granite", "", "<|tool_call|>[" + json + ", " + json + "]"},
      {"qwen3_coder", "qwen3",
       think + "<tool_call>\n<function=f>\n<parameter=s>\n北京\n</parameter>\n</function>\n"
               "</tool_call>"},
      {"glm45", "glm45",
       think + "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>北京</arg_value>\n</tool_call>"},
      {"kimi_k2", "kimi_k2",
       think + "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
               "<|tool_call_argument_begin|>{\"s\": \"北京\"}<|tool_call_end|>"
               "<|tool_calls_section_end|>"},
      {"pythonic", "", "[f(s=\"北京 (é)\", l=[1, {'k': None}]), g()]"},
      {"openai", "openai_gptoss",
       "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
       "to=functions.f<|message|>{\"s\": \"北京\"}<|call|>"},
      {"hermes", "qwen3", "No call, no thinking: < <tool 北京."},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.text);
    const OutputParserOptions options{.reasoning_parser = c.reasoning, .tool_parser = c.tool};
    const ParsedOutput whole = parse(options, {c.text});
    EXPECT_EQ(parse(options, token_pieces(**tokenizer, c.text)), whole);
    EXPECT_EQ(whole.calls.empty(), c.text.starts_with("No call"));
  }
}

}  // namespace
}  // namespace octavo::text
