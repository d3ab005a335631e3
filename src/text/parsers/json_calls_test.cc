// Calls in JSON: samples of every format, at every split and cut off everywhere.
#include <gtest/gtest.h>

#include "text/parsers/testing_parse.h"

namespace octavo::text {
namespace {

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
TEST(ToolParsers, GraniteTakesAList) {
  expect_samples(
      {.tool_parser = "granite"},
      {
          {R"(<|tool_call|>[{"name": "f", "arguments": {"a": 1}}])", "", {{"f", R"({"a": 1})"}}},
          {R"(<tool_call>[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {"b": "]"}}])",
           "",
           {{"f", "{}"}, {"g", R"({"b": "]"})"}}},
          {"<|tool_call|> [\n  {\n    \"arguments\": {\"s\": \"北京\"},\n    \"name\": \"f\"\n  "
           "}\n]\n",
           "",
           {{"f", "{\"s\": \"北京\"}"}}},
          {R"([{"name": "f", "arguments": {}}])", "", {{"f", "{}"}}},
          {R"(I look.<|tool_call|>[{"name": "f", "arguments": {}}])", "I look.", {{"f", "{}"}}},
          {R"(<|tool_call|>[{"name": "f", "arguments": "{\"a\": 2}"}])",
           "",
           {{"f", R"({"a": 2})"}}},
          {R"(<|tool_call|>[{"name": "f", "arguments": {}}] done)", " done", {{"f", "{}"}}},
          plain("[1, 2, 3]"),
          plain("[]"),
          plain(R"([{"name": "Bob"}])"),
          plain("<|tool_call|>none"),
          plain(R"(See [{"name": "f", "arguments": {}}])"),
      });
}

TEST(ToolParsers, Phi4MiniTakesAListAfterItsWord) {
  expect_samples(
      {.tool_parser = "phi4_mini_json"},
      {
          {R"(functools[{"name": "f", "arguments": {"a": 1}}])", "", {{"f", R"({"a": 1})"}}},
          {R"(functools[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {"b": [1]}}])",
           "",
           {{"f", "{}"}, {"g", R"({"b": [1]})"}}},
          {"functools [\n {\"arguments\": {}, \"name\": \"f\"}\n]", "", {{"f", "{}"}}},
          {R"(functools[{"name": "f", "parameters": {"x": null}}])", "", {{"f", R"({"x": null})"}}},
          {R"(Sure. functools[{"name": "f", "arguments": {}}])", "Sure.", {{"f", "{}"}}},
          {R"(functools[{"name": "f", "arguments": {"s": "functools[]"}}])",
           "",
           {{"f", R"({"s": "functools[]"})"}}},
          {R"(functools[{"name": "f", "arguments": {}}] ok)", " ok", {{"f", "{}"}}},
          plain("import functools\nfunctools.reduce(f)"),
          plain("functools[]"),
          plain(R"(functools[{"name": "f"}])"),
          plain(R"({"name": "f", "arguments": {}})"),
          plain("func"),
      });
}

TEST(ToolParsers, AListThatAGrammarMakesIsCalls) {
  OutputParserOptions options{.tool_parser = "hermes", .notation = CallNotation::kCallList};
  expect_samples(options,
                 {
                     {R"([{"name": "f", "parameters": {"a": 1}}])", "", {{"f", R"({"a": 1})"}}},
                     {R"([{"name":"f","parameters":{}},{"name":"g","parameters":{"b":"é"}}])",
                      "",
                      {{"f", "{}"}, {"g", R"({"b":"é"})"}}},
                     {"\n[ { \"name\" : \"f\" , \"parameters\" : { } } ]\n", "", {{"f", "{ }"}}},
                     {R"([{"parameters": {"a": {"b": []}}, "name": "f"}])",
                      "",
                      {{"f", R"({"a": {"b": []}})"}}},
                     {R"([{"name": "f", "parameters": {}}, {"name": "g", "para)",
                      R"(, {"name": "g", "para)",
                      {{"f", "{}"}}},
                     {R"([{"name": "a b", "parameters": {}}])", "", {{"a b", "{}"}}},
                     {R"([{"name": "f", "parameters": {"s": "<tool_call>"}}])",
                      "",
                      {{"f", R"({"s": "<tool_call>"})"}}},
                     plain("[]"),
                     plain(R"(<tool_call>{"name": "f", "arguments": {}}</tool_call>)"),
                     plain(R"([{"name": "f"}])"),
                 });
}

TEST(ToolParsers, AnObjectThatAGrammarMakesIsTheNamedCall) {
  OutputParserOptions options{.notation = CallNotation::kNamedArguments, .named_function = "f"};
  expect_samples(options, {
                              {"{}", "", {{"f", "{}"}}},
                              {R"({"a": 1})", "", {{"f", R"({"a": 1})"}}},
                              {"\n{\"a\": [1, 2]}\n", "", {{"f", R"({"a": [1, 2]})"}}},
                              {R"({"s": "}"})", "", {{"f", R"({"s": "}"})"}}},
                              {R"({"s": "\"{"})", "", {{"f", R"({"s": "\"{"})"}}},
                              {R"({"s": "北京"})", "", {{"f", R"({"s": "北京"})"}}},
                              {R"({"o": {"p": {}}})", "", {{"f", R"({"o": {"p": {}}})"}}},
                              plain(R"({"a": 1)"),
                              plain(R"({"a": })"),
                              plain("[1]"),
                          });
}

}  // namespace
}  // namespace octavo::text
