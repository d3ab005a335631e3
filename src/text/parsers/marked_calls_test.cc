// Calls between special tokens: samples of every format, at every split and cut off everywhere.
#include <gtest/gtest.h>

#include "text/parsers/testing_parse.h"

namespace octavo::text {
namespace {

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
std::string kimi(const std::string& id, const std::string& arguments) {
  return "<|tool_call_begin|>" + id + "<|tool_call_argument_begin|>" + arguments +
         "<|tool_call_end|>";
}

TEST(ToolParsers, KimiK2TakesNamesOutOfIds) {
  const std::string begin = "<|tool_calls_section_begin|>", end = "<|tool_calls_section_end|>";
  expect_samples(
      {.tool_parser = "kimi_k2"},
      {
          {begin + kimi("functions.f:0", "{\"a\": 1}") + end, "", {{"f", "{\"a\": 1}"}}},
          {begin + kimi("functions.f:3", "{}") + kimi("functions.g:4", "{\"b\": 2}") + end,
           "",
           {{"f", "{}"}, {"g", "{\"b\": 2}"}}},
          {begin + "\n" + kimi("\nfunctions.f:0", "\n{}\n") + "\n" + end, "", {{"f", "{}"}}},
          {"Let me look." + begin + kimi("functions.m.f:12", "{}") + end,
           "Let me look.",
           {{"m.f", "{}"}}},
          {begin + kimi("f", "{}") + end, "", {{"f", "{}"}}},
          {begin + kimi("f:x", "{}") + end, "", {{"f:x", "{}"}}},
          {begin + kimi("functions.f:0", "{\"s\": \"<|tool_call_end|>\"}") + end,
           "",
           {{"f", "{\"s\": \"<|tool_call_end|>\"}"}}},
          {begin + kimi("functions.f:0", "{}"), "", {{"f", "{}"}}},
          {begin + kimi("functions.f:0", "{}") + end + "Done.", "Done.", {{"f", "{}"}}},
          plain(begin + kimi("functions.f:0", "[1]") + end),
          plain(begin + kimi("", "{}") + end),
          plain(begin + "<|tool_call_begin|>functions.f:0{}"),
          plain("<|tool_calls_section"),
      });
}

}  // namespace
}  // namespace octavo::text
