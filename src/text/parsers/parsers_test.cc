// The tool and reasoning parsers: written samples of every format, what the models' own templates
// make of calls, and for each of them every split into pieces and every place to be cut off.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "octavo/value.h"
#include "text/chat_template.h"
#include "text/parsers/json_scanner.h"
#include "text/parsers/output_parser.h"

namespace octavo::text {

// For the messages of failed tests.
void PrintTo(const ParsedOutput& out, std::ostream* os) {
  *os << "reasoning <" << out.reasoning << "> content <" << out.content << ">";
  for (const auto& call : out.calls) *os << " " << call.name << "(" << call.arguments << ")";
}

namespace {

namespace fs = std::filesystem;

ParsedOutput parse(const OutputParserOptions& options, const std::vector<std::string>& pieces) {
  auto parser = OutputParser::make(options);
  EXPECT_TRUE(parser.ok()) << parser.status().to_string();
  std::vector<ParseEvent> events;
  for (const std::string& piece : pieces) {
    for (auto& event : parser->feed(piece)) events.push_back(std::move(event));
  }
  for (auto& event : parser->finish()) events.push_back(std::move(event));
  int open = -1;
  for (const ParseEvent& event : events) {  // begin, arguments, end or retraction, one at a time
    if (event.kind == ParseEventKind::kCallBegin) {
      EXPECT_EQ(open, -1);
      open = event.call;
    } else if (event.kind != ParseEventKind::kReasoning) {
      EXPECT_EQ(event.call, open);
    }
    if (event.kind == ParseEventKind::kCallEnd || event.kind == ParseEventKind::kCallRetracted) {
      open = -1;
    }
  }
  EXPECT_EQ(open, -1);
  const ParsedOutput out = collect(events);
  for (const ParsedCall& call : out.calls) {
    EXPECT_TRUE(is_json_object(call.arguments)) << call.arguments;
  }
  return out;
}

// The text whole, byte by byte, in every two pieces, and in steps of 2 to 7 bytes; and each way to
// cut it off: byte by byte the same as whole, and nothing lost where no call is left.
ParsedOutput parse_every_way(const OutputParserOptions& options, const std::string& text) {
  const auto steps = [](const std::string& t, size_t step) {
    std::vector<std::string> pieces;
    for (size_t i = 0; i < t.size(); i += step) pieces.push_back(t.substr(i, step));
    return pieces;
  };
  const ParsedOutput whole = parse(options, {text});
  for (size_t step = 1; step < 8; ++step) EXPECT_EQ(parse(options, steps(text, step)), whole);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const std::string head = text.substr(0, cut);
    EXPECT_EQ(parse(options, {head, text.substr(cut)}), whole) << "split at " << cut;
    const ParsedOutput cut_off = parse(options, {head});
    EXPECT_EQ(parse(options, steps(head, 1)), cut_off) << "cut off at " << cut;
    if (options.reasoning_parser.empty() && cut_off.calls.empty()) {
      EXPECT_EQ(cut_off.content, head);
    }
  }
  return whole;
}

struct Sample {
  std::string text;
  std::string content;
  std::vector<ParsedCall> calls;
};

void expect_samples(const OutputParserOptions& options, const std::vector<Sample>& samples) {
  EXPECT_GE(samples.size(), 10u);
  for (const Sample& sample : samples) {
    SCOPED_TRACE(sample.text);
    EXPECT_EQ(parse_every_way(options, sample.text),
              (ParsedOutput{"", sample.content, sample.calls}));
  }
}

// A text that is no call comes back as it is.
Sample plain(const std::string& text) {
  return {text, text, {}};
}

TEST(ToolParsers, HermesTakesCallsInTags) {
  expect_samples(
      {.tool_parser = "hermes"},
      {
          {"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
           "",
           {{"f", "{\"a\": 1}"}}},
          {"Let me see.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
           "Let me see.",
           {{"f", "{}"}}},
          {"<tool_call>\n{\"arguments\": {\"x\": [1, {\"y\": null}]}, \"name\": "
           "\"g\"}\n</tool_call>\n",
           "",
           {{"g", "{\"x\": [1, {\"y\": null}]}"}}},
          {"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"</tool_call> \\\" } "
           "北京\"}}\n</tool_call>\n"
           "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
           "",
           {{"f", "{\"s\": \"</tool_call> \\\" } 北京\"}"}, {"g", "{}"}}},
          {"<tool_call>{\"name\": \"f\"}</tool_call> done", " done", {{"f", "{}"}}},
          {"<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 2}\"}",
           "",
           {{"f", "{\"a\": 2}"}}},
          {"<tool_call>oops<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>",
           "<tool_call>oops",
           {{"f", "{}"}}},
          plain("no call < here <tool_ nor here\n\n"),
          plain(" <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": }}\n</tool_call>"),
          plain("<tool_call>{\"name\": 3, \"arguments\": {}}</tool_call>"),
          plain("<tool_call></tool_call>"),
          plain("<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>"),
          plain(""),
      });
}

TEST(ToolParsers, Llama3JsonTakesAnObjectThatIsTheAnswer) {
  expect_samples(
      {.tool_parser = "llama3_json"},
      {
          {"{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "", {{"f", "{\"a\": 1}"}}},
          {"<|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "", {{"f", "{}"}}},
          {"\n{\"name\": \"f\", \"arguments\": {\"q\": \"é\"}}\n", "", {{"f", "{\"q\": \"é\"}"}}},
          {"{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {\"b\": "
           "true}}",
           "",
           {{"f", "{}"}, {"g", "{\"b\": true}"}}},
          {"{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"x\": -1.5e3}}",
           "",
           {{"f", "{\"x\": -1.5e3}"}}},
          {"{\"parameters\": {\"a\": \"b\"}, \"name\": \"late\"}",
           "",
           {{"late", "{\"a\": \"b\"}"}}},
          {"Sure: <|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "Sure:", {{"f", "{}"}}},
          plain("{\"name\": \"Bob\", \"age\": 3}"),
          plain("{\"name\": \"Bob\"}"),
          plain("{\"city\": \"Paris\", \"name\": \"f\", \"parameters\": {}}"),
          plain("An answer with {\"name\": \"f\", \"parameters\": {}} inside."),
          plain("{\"name\": \"f\", \"parameters\": {\"a\": 01}}"),
          plain("<|python_tag|>print(1)"),
      });
}

TEST(ToolParsers, MistralTakesListsAndNamedCalls) {
  expect_samples(
      {.tool_parser = "mistral"},
      {
          {"[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"abc123def\"}]",
           "",
           {{"f", "{\"a\": 1}"}}},
          {"[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}},{\"name\":\"g\",\"arguments\":{}}]",
           "",
           {{"f", "{}"}, {"g", "{}"}}},
          {"[TOOL_CALLS]f{\"a\": [\"[TOOL_CALLS]\"]}", "", {{"f", "{\"a\": [\"[TOOL_CALLS]\"]}"}}},
          {"[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[ARGS]{}",
           "",
           {{"f", "{\"a\": 1}"}, {"g", "{}"}}},
          {"[TOOL_CALLS]f[CALL_ID]abc123def[ARGS]{}", "", {{"f", "{}"}}},
          {"I look.[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}]", "I look.", {{"f", "{}"}}},
          {"[TOOL_CALLS] [{\"arguments\": {\"x\": null}, \"name\": \"f\"}] ok",
           " ok",
           {{"f", "{\"x\": null}"}}},
          plain("[TOOL_CALLS] nothing"),
          plain("[TOOL_CALLS] [1, 2]"),
          plain("[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\"}}]"),
          plain("see [TOOL] and [1]"),
          plain("[TOOL_CALLS]a b{}"),
      });
}

constexpr const char* kTools =
    R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties":
    {"s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": "boolean"},
     "o": {"type": "object"}, "l": {"anyOf": [{"type": "array"}, {"type": "null"}]}}}}}])";

std::string coder(const std::string& inner) {
  return "<tool_call>\n<function=f>\n" + inner + "</function>\n</tool_call>";
}
std::string parameter(const std::string& name, const std::string& value) {
  return "<parameter=" + name + ">\n" + value + "\n</parameter>\n";
}

TEST(ToolParsers, Qwen3CoderTakesTagsAndTypesValuesByTheSchema) {
  const Value tools = *parse_json(kTools);
  expect_samples(
      {.tool_parser = "qwen3_coder", .tools = tools},
      {
          {coder(parameter("s", "Paris")), "", {{"f", R"({"s": "Paris"})"}}},
          {coder(parameter("s", "1") + parameter("i", "1")), "", {{"f", R"({"s": "1", "i": 1})"}}},
          {coder(parameter("b", "True") + parameter("n", "2.5")),
           "",
           {{"f", R"({"b": true, "n": 2.5})"}}},
          {coder(parameter("o", R"({"k": [1]})")), "", {{"f", R"({"o": {"k":[1]}})"}}},
          {coder(parameter("l", "None")), "", {{"f", R"({"l": null})"}}},
          {coder(parameter("i", "many")), "", {{"f", R"({"i": "many"})"}}},
          {coder(parameter("unknown", "7")), "", {{"f", R"({"unknown": "7"})"}}},
          {coder(parameter("s", "two\n\n\"lines\" < & </para>\n")),
           "",
           {{"f", R"({"s": "two\n\n\"lines\" < & </para>\n"})"}}},
          {coder(""), "", {{"f", "{}"}}},
          {"Now.\n" + coder("") + "\n" + coder(parameter("s", "")),
           "Now.",
           {{"f", "{}"}, {"f", R"({"s": ""})"}}},
          {"<function=f>\n" + parameter("i", "3") + "</function>", "", {{"f", R"({"i": 3})"}}},
          plain("<tool_call>\n{\"name\": \"f\"}\n</tool_call>"),
          plain(coder("what")),
          plain(coder(parameter("s", "a") + parameter("s", "b"))),
          plain("a <function> and <tool_call> alone"),
      });
}

const std::string kCalls = "<｜tool▁calls▁begin｜>", kCallsEnd = "<｜tool▁calls▁end｜>";
std::string deepseek(const std::string& name, const std::string& arguments) {
  return "<｜tool▁call▁begin｜>" + name + "<｜tool▁sep｜>" + arguments + "<｜tool▁call▁end｜>";
}
std::string deepseek_v3(const std::string& name, const std::string& arguments) {
  return deepseek("function", name + "\n```json\n" + arguments + "\n```");
}

TEST(ToolParsers, DeepSeekV31TakesCallsBetweenItsMarks) {
  expect_samples(
      {.tool_parser = "deepseek_v31"},
      {
          {kCalls + deepseek("f", "{\"a\": 1}") + kCallsEnd, "", {{"f", "{\"a\": 1}"}}},
          {kCalls + deepseek("f", "{}") + deepseek("g", "{\"b\": \"｜\"}") + kCallsEnd,
           "",
           {{"f", "{}"}, {"g", "{\"b\": \"｜\"}"}}},
          {kCalls + deepseek("f", "{}"), "", {{"f", "{}"}}},
          {"Look." + kCalls + deepseek("f", "{}") + kCallsEnd, "Look.", {{"f", "{}"}}},
          {kCalls + "\n" + deepseek("f", " {} ") + "\n" + kCallsEnd + "\n", "", {{"f", "{}"}}},
          {kCalls + deepseek("f", "{}") + kCallsEnd + "end", "end", {{"f", "{}"}}},
          {kCalls + deepseek("f", "{}") + "junk", "junk", {{"f", "{}"}}},
          plain(kCalls + deepseek("f", "[]") + kCallsEnd),
          plain(kCalls + deepseek("f", "{'a': 1}") + kCallsEnd),
          plain(kCalls + deepseek("", "{}") + kCallsEnd),
          plain("<｜tool▁calls▁" + kCalls + "x"),
          plain("a < b ｜ c"),
      });
}

TEST(ToolParsers, DeepSeekV3TakesFencedJson) {
  expect_samples(
      {.tool_parser = "deepseek_v3"},
      {
          {kCalls + deepseek_v3("f", "{\"a\": 1}") + kCallsEnd, "", {{"f", "{\"a\": 1}"}}},
          {kCalls + deepseek_v3("f", "{}") + "\n" + deepseek_v3("g", "{\"b\": 2}") + kCallsEnd,
           "",
           {{"f", "{}"}, {"g", "{\"b\": 2}"}}},
          {kCalls + deepseek_v3("f", "{\"s\": \"```\"}") + kCallsEnd,
           "",
           {{"f", "{\"s\": \"```\"}"}}},
          {kCalls + deepseek_v3("f", "{\n \"a\": 1\n}"), "", {{"f", "{\n \"a\": 1\n}"}}},
          {"Hm." + kCalls + deepseek_v3("f", "{}") + kCallsEnd, "Hm.", {{"f", "{}"}}},
          {kCalls + deepseek_v3("f", "{}") + kCallsEnd + "so", "so", {{"f", "{}"}}},
          plain(kCalls + deepseek_v3("f", "{") + kCallsEnd),
          plain(kCalls + deepseek_v3("f", "") + kCallsEnd),
          plain(kCalls + deepseek_v3("a b", "{}") + kCallsEnd),
          plain(kCalls + deepseek("f", "{}") + kCallsEnd),
          plain("```json\n{}\n```"),
      });
}

TEST(ToolParsers, PythonicTakesAListOfCalls) {
  expect_samples(
      {.tool_parser = "pythonic"},
      {
          {"[f(a=1)]", "", {{"f", R"({"a": 1})"}}},
          {"[f(a=1, b='x'), m.g()]", "", {{"f", R"({"a": 1, "b": "x"})"}, {"m.g", "{}"}}},
          {"[f(s=\"it's (a, b)]\", t='\\'\\n\\u00e9')]",
           "",
           {{"f", R"({"s": "it's (a, b)]", "t": "'\né"})"}}},
          {" [f(l=[1, 'a', (2, 3)], d={'k': {\"n\": None}})]\n",
           "",
           {{"f", R"({"l": [1,"a",[2,3]], "d": {"k":{"n":null}}})"}}},
          {"[f(a=True, b=False, c=null, d=-1.5)]",
           "",
           {{"f", R"({"a": true, "b": false, "c": null, "d": -1.5})"}}},
          {"[f( a = 1 , b = [ ] , )]", "", {{"f", R"({"a": 1, "b": []})"}}},
          {"[f(s='北京')]", "", {{"f", R"({"s": "北京"})"}}},
          plain("[link](https://example.org)"),
          plain("[f(1)]"),
          plain("[f(a=b+c)]"),
          plain("[1, 2, 3]"),
          plain("[f(a=1, a=2)]"),
          plain("The call is [f(a=1)]."),
          plain("[f(a='open)]"),
      });
}

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

TEST(ReasoningParsers, ReadFromThePromptWhetherThinkingIsOpen) {
  EXPECT_TRUE(prompt_ends_inside_thinking("qwen3", "<|im_start|>assistant\n<think>\n"));
  EXPECT_FALSE(prompt_ends_inside_thinking("qwen3", "assistant\n<think>\n\n</think>\n\n"));
  EXPECT_FALSE(prompt_ends_inside_thinking("qwen3", "<|im_start|>assistant\n"));
  EXPECT_FALSE(prompt_ends_inside_thinking("", "<think>"));
}

TEST(OutputParser, RefusesAnUnknownNameAndListsTheKnown) {
  const auto tool = OutputParser::make({.tool_parser = "herme"});
  ASSERT_FALSE(tool.ok());
  EXPECT_NE(tool.status().message().find("'herme'; known are hermes, llama3_json"),
            std::string::npos);
  const auto reasoning = OutputParser::make({.reasoning_parser = "openai_gptoss"});
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
      const OutputParserOptions options{.reasoning_parser = round % 2 == 0 ? "" : "qwen3",
                                        .tool_parser = std::string(tool)};
      const ParsedOutput whole = parse(options, {text});
      EXPECT_EQ(parse(options, pieces), whole) << text;
      EXPECT_EQ(parse(options, bytes), whole) << text;
      if (round % 2 == 0 && whole.calls.empty()) {
        EXPECT_EQ(whole.content, text);
      }
    }
  }
}

// ---- The models' own templates: parse(render(calls)) = calls ----

fs::path templates_folder() {
  const char* set = std::getenv("OCTAVO_SHARED");
  const fs::path shared = set != nullptr ? set : fs::path(OCTAVO_SOURCE_DIR) / ".." / "shared";
  return shared / "data/chat_templates";
}

// What the template writes for an assistant's message: after the prompt for it, or after `begin`.
std::string rendered_answer(const std::string& name, const Value& calls, const std::string& begin,
                            const std::string& end) {
  std::ifstream in(templates_folder() / name, std::ios::binary);
  std::stringstream source;
  source << in.rdbuf();
  const auto chat_template = ChatTemplate::parse(source.str());
  EXPECT_TRUE(chat_template.ok()) << name;
  const Value user(Value::Dict{{"role", "user"}, {"content", "Go."}});
  const Value answer(Value::Dict{{"role", "assistant"}, {"content", ""}, {"tool_calls", calls}});
  const auto render = [&](Value::List messages, bool prompt) {
    return (*chat_template)
        ->render({{"messages", Value(std::move(messages))},
                  {"tools", Value()},
                  {"add_generation_prompt", Value(prompt)},
                  {"bos_token", Value("<s>")},
                  {"eos_token", Value("</s>")}},
                 0);
  };
  const auto prompt = render({user}, true);
  const auto whole = render({user, answer}, false);
  EXPECT_TRUE(prompt.ok() && whole.ok()) << name << prompt.message << whole.message;
  size_t head = prompt.output.size();
  if (!begin.empty()) head = whole.output.rfind(begin) + begin.size();
  EXPECT_TRUE(!begin.empty() || whole.output.starts_with(prompt.output)) << whole.output;
  if (head > whole.output.size()) return "";
  std::string text = whole.output.substr(head);
  const size_t at = text.rfind(end);
  EXPECT_NE(at, std::string::npos) << text;
  return text.substr(0, at);
}

TEST(ToolParsers, UndoWhatTheModelsTemplatesWrite) {
  if (!fs::exists(templates_folder())) {
    GTEST_SKIP() << "ToolParsers.UndoWhatTheModelsTemplatesWrite needs shared/data/chat_templates "
                    "(OCTAVO_SHARED)";
  }
  struct Case {
    const char *file, *parser, *end;
    bool many = true;     // the template writes several calls
    bool strings = true;  // it quotes strings
    const char* begin = "";
    const char* reasoning = "";
  };
  const std::vector<Case> cases = {
      {"tool_chat_template_hermes.jinja", "hermes", "<|im_end|>"},
      {"qwen3.jinja", "hermes", "<|im_end|>", true, true, "", "qwen3"},
      {"tool_chat_template_llama3.1_json.jinja", "llama3_json", "<|eot_id|>", false},
      {"tool_chat_template_llama3.2_json.jinja", "llama3_json", "<|eot_id|>", false},
      {"tool_chat_template_mistral.jinja", "mistral", "</s>"},
      {"tool_chat_template_mistral_parallel.jinja", "mistral", "</s>"},
      {"tool_chat_template_mistral3.jinja", "mistral", "</s>"},
      {"tool_chat_template_qwen3coder.jinja", "qwen3_coder", "<|im_end|>"},
      {"qwen35.jinja", "qwen3_coder", "<|im_end|>"},
      {"tool_chat_template_deepseekv31.jinja", "deepseek_v31", "<｜end▁of▁sentence｜>", true, true,
       "<｜Assistant｜></think>"},
      {"tool_chat_template_llama3.2_pythonic.jinja", "pythonic", "<|eot_id|>", true, false},
  };
  const std::vector<std::string> arguments = {
      R"({"s": "Paris, \"FR\" 北京\n</x>"})", R"({"i": 7, "n": -2})", R"({})",
      R"({"s": "a", "o": {"k": [1, null, true]}})", R"({"i": 0})"};
  const Value tools = *parse_json(kTools);
  for (const Case& c : cases) {
    for (size_t first = 0; first < arguments.size(); ++first) {
      Value::List calls;
      std::vector<Value> expected;
      for (size_t i = 0; i < (c.many ? 1 + first % 3 : 1); ++i) {
        const std::string& json = arguments[(first + i) % arguments.size()];
        if (!c.strings && json.find('"' + std::string("s\"")) != std::string::npos) continue;
        const Value a = *parse_json(json);
        expected.push_back(a);
        calls.push_back(
            Value(Value::Dict{{"id", "abc123def"},
                              {"type", "function"},
                              {"function", Value(Value::Dict{{"name", "f"}, {"arguments", a}})}}));
      }
      if (calls.empty()) continue;
      SCOPED_TRACE(std::string(c.file) + ": " + to_json(Value(calls)));
      const std::string text = rendered_answer(c.file, Value(calls), c.begin, c.end);
      SCOPED_TRACE(text);
      const auto out = parse_every_way(
          {.reasoning_parser = c.reasoning, .tool_parser = c.parser, .tools = tools}, text);
      EXPECT_EQ(out.content, "");
      ASSERT_EQ(out.calls.size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(out.calls[i].name, "f");
        EXPECT_EQ(*parse_json(out.calls[i].arguments), expected[i]);
      }
    }
  }
}

}  // namespace
}  // namespace octavo::text
