// What Oniguruma writes and PCRE2 lacks or reads otherwise.
#include "text/regex.h"

#include <gtest/gtest.h>

#include <string>

namespace octavo::text {
namespace {

std::string first_match(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::compile(pattern);
  if (!regex.ok()) return regex.status().to_string();
  size_t begin = 0, end = 0;
  const auto found = (*regex)->find(text, 0, begin, end);
  if (!found.ok()) return found.status().to_string();
  return *found ? std::string(text.substr(begin, end - begin)) : "none";
}

TEST(Regex, AClassMayBeAnIntersection) {
  EXPECT_EQ(first_match(R"([\p{L}&&[^\p{Han}]]+)", "12中文abc"), "abc");
  EXPECT_EQ(first_match(R"([a-z&&[b-y]]+x)", "aabyx"), "byx");
  EXPECT_EQ(first_match(R"(\[&&[a])", "[&&a"), "[&&a");
}

TEST(Regex, AScriptIsThatOfTheCharacterItself) {
  // U+3196 is used with Han, and belongs to no script.
  EXPECT_EQ(first_match(R"(\p{Han}+)", "\u3196中"), "中");
  EXPECT_EQ(first_match(R"(\P{Han}+)", "中\u3196"), "\u3196");
  EXPECT_EQ(first_match(R"([\p{Alphabetic}]+)", "12ab"), "ab");
}

TEST(Regex, PatternsThatAreNoneAreRefused) {
  for (const char* pattern : {"(a", "[a", "[a&&[b]", "[a&&b]", "\\p{", "\\p{Nope}", "[[[[", "\\"})
    EXPECT_FALSE(Regex::compile(pattern).ok()) << pattern;
}

}  // namespace
}  // namespace octavo::text
