// Calls as Python: samples of both formats, at every split and cut off everywhere.
#include <gtest/gtest.h>

#include "text/parsers/testing_parse.h"

namespace octavo::text {
namespace {

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
TEST(ToolParsers, Llama4PythonicMayStandInTags) {
  expect_samples(
      {.tool_parser = "llama4_pythonic"},
      {
          {"[f(a=1)]", "", {{"f", R"({"a": 1})"}}},
          {"<|python_start|>[f(a=1)]<|python_end|>", "", {{"f", R"({"a": 1})"}}},
          {"<|python_start|>[f(a=\"1\"), g()]<|python_end|>",
           "",
           {{"f", R"({"a": "1"})"}, {"g", "{}"}}},
          {"<|python_start|> [ f() ] <|python_end|> ", "", {{"f", "{}"}}},
          {"Look: <|python_start|>[f()]<|python_end|>", "Look:", {{"f", "{}"}}},
          {"<|python_start|>[f()]", "", {{"f", "{}"}}},
          {"<|python_start|>[f()]<|python_end|>so", "so", {{"f", "{}"}}},
          {"<|python_start|>[f(s=\"<|python_end|>\")]<|python_end|>",
           "",
           {{"f", R"({"s": "<|python_end|>"})"}}},
          {"[f(s='北京', l=[None, True])]", "", {{"f", R"({"s": "北京", "l": [null,true]})"}}},
          plain("<|python_start|>print(1)<|python_end|>"),
          plain("<|python_start|>[f(x)]<|python_end|>"),
          plain("Not at the head: [f(a=1)]"),
          plain("<|python_"),
      });
}

}  // namespace
}  // namespace octavo::text
