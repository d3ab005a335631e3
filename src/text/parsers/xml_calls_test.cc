// Calls in tags: samples of every format, at every split and cut off everywhere.
#include <gtest/gtest.h>

#include "text/parsers/testing_parse.h"

namespace octavo::text {
namespace {

std::string coder(const std::string& inner) {
  return "<tool_call>\n<function=f>\n" + inner + "</function>\n</tool_call>";
}
std::string parameter(const std::string& name, const std::string& value) {
  return "<parameter=" + name + ">\n" + value + "\n</parameter>\n";
}

TEST(ToolParsers, Qwen3CoderTakesTagsAndTypesValuesByTheSchema) {
  const std::vector<Sample> samples = {
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
  };
  for (const char* name : {"qwen3_coder", "qwen3_xml"}) {  // two names of one format
    expect_samples({.tool_parser = name, .tools = sample_tools()}, samples);
  }
}
std::string invoke(const std::string& name, const std::string& inner) {
  return "<invoke name=\"" + name + "\">\n" + inner + "</invoke>\n";
}
std::string minimax(const std::string& inner) {
  return "<minimax:tool_call>\n" + inner + "</minimax:tool_call>";
}
std::string named(const std::string& name, const std::string& value) {
  return "<parameter name=\"" + name + "\">" + value + "</parameter>\n";
}

TEST(ToolParsers, MiniMaxTakesInvocationsAndTypesValuesByTheSchema) {
  expect_samples(
      {.tool_parser = "minimax_m2", .tools = sample_tools()},
      {
          {minimax(invoke("f", named("s", "Paris"))), "", {{"f", R"({"s": "Paris"})"}}},
          {minimax(invoke("f", named("i", "3") + named("s", "4") + named("b", "true"))),
           "",
           {{"f", R"({"i": 3, "s": "4", "b": true})"}}},
          {minimax(invoke("f", "") + invoke("g", named("x", "y"))),
           "",
           {{"f", "{}"}, {"g", R"({"x": "y"})"}}},
          {minimax(invoke("f", named("s", "\na \"b\" <c>\n"))),
           "",
           {{"f", R"({"s": "\na \"b\" <c>\n"})"}}},
          {minimax(invoke("f", named("o", R"({"k": [1, null]})") + named("l", "null"))),
           "",
           {{"f", R"({"o": {"k":[1,null]}, "l": null})"}}},
          {"Let me see.\n\n" + minimax(invoke("f", "")), "Let me see.", {{"f", "{}"}}},
          {minimax(invoke("f", "")) + "\n\nDone.", "\n\nDone.", {{"f", "{}"}}},
          {invoke("f", named("s", "no outer tags")), "", {{"f", R"({"s": "no outer tags"})"}}},
          {"<minimax:tool_call>\n" + invoke("f", named("n", "1.5")), "", {{"f", R"({"n": 1.5})"}}},
          plain(minimax("what")),
          plain(minimax(invoke("f", named("s", "a") + named("s", "b")))),
          plain(minimax(invoke("", ""))),
          plain("<minimax:tool_call"),
      });
}

std::string glm(const std::string& name, const std::string& inner) {
  return "<tool_call>" + name + "\n" + inner + "</tool_call>";
}
std::string pair(const std::string& key, const std::string& value) {
  return "<arg_key>" + key + "</arg_key>\n<arg_value>" + value + "</arg_value>\n";
}

TEST(ToolParsers, Glm45TakesPairsOfKeyAndValue) {
  expect_samples(
      {.tool_parser = "glm45", .tools = sample_tools()},
      {
          {glm("f", pair("s", "Paris")), "", {{"f", R"({"s": "Paris"})"}}},
          {glm("f", pair("i", "3") + pair("s", "4") + pair("b", "false")),
           "",
           {{"f", R"({"i": 3, "s": "4", "b": false})"}}},
          {"\n" + glm("f", "") + "\n" + glm("g", pair("x", "y")),
           "",
           {{"f", "{}"}, {"g", R"({"x": "y"})"}}},
          {"<tool_call>f<arg_key>s</arg_key><arg_value>a</arg_value></tool_call>",
           "",
           {{"f", R"({"s": "a"})"}}},
          {"<tool_call>\nf</tool_call>", "", {{"f", "{}"}}},
          {glm("f", pair("s", "\n<b> & \"c\"\n")), "", {{"f", R"({"s": "\n<b> & \"c\"\n"})"}}},
          {glm("f", pair("o", R"({"k": [1]})")), "", {{"f", R"({"o": {"k":[1]}})"}}},
          {"I look." + glm("f", ""), "I look.", {{"f", "{}"}}},
          {glm("f", "") + " ok", " ok", {{"f", "{}"}}},
          plain("<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>"),
          plain(glm("two words", "")),
          plain(glm("f", pair("s", "a") + pair("s", "b"))),
          plain(glm("f", "<arg_key>s</arg_key>a")),
          plain("<tool_call"),
      });
}

}  // namespace
}  // namespace octavo::text
