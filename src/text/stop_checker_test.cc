// StopChecker on examples, and against a slow twin that sees the whole text.
#include "text/stop_checker.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>

namespace octavo::text {
namespace {

TEST(StopChecker, SendsTextAsSoonAsItIsCertain) {
  StopChecker checker({"stop"}, false);
  EXPECT_EQ(checker.append("Hello s").text, "Hello ");
  EXPECT_EQ(checker.append("to").text, "");
  EXPECT_EQ(checker.append("nes").text, "stone");
  EXPECT_EQ(checker.append("x").text, "sx");
  EXPECT_EQ(checker.flush(), "");
}

TEST(StopChecker, CutsAtTheStopStringAndSaysWhich) {
  StopChecker checker({"zzz", "END"}, false);
  EXPECT_EQ(checker.append("the E").text, "the ");
  const auto result = checker.append("ND of it");
  EXPECT_TRUE(result.stopped());
  EXPECT_EQ(result.stop_index, 1);
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(checker.append("more").text, "");
  EXPECT_EQ(checker.flush(), "");
}

TEST(StopChecker, MayIncludeTheStopString) {
  StopChecker checker({"END"}, true);
  EXPECT_EQ(checker.append("the E").text, "the ");
  EXPECT_EQ(checker.append("ND of it").text, "END");
}

TEST(StopChecker, FlushReturnsWhatWasHeld) {
  StopChecker checker({"stop"}, false);
  EXPECT_EQ(checker.append("a sto").text, "a ");
  EXPECT_EQ(checker.flush(), "sto");
}

TEST(StopChecker, FirstToEndThenFirstToBegin) {
  StopChecker inner({"abcde", "cd"}, false);
  const auto first_to_end = inner.append("xabcdef");
  EXPECT_EQ(first_to_end.stop_index, 1);
  EXPECT_EQ(first_to_end.text, "xab");
  StopChecker both({"cd", "bcd"}, false);
  const auto first_to_begin = both.append("abcd");
  EXPECT_EQ(first_to_begin.stop_index, 1);
  EXPECT_EQ(first_to_begin.text, "a");
}

TEST(StopChecker, EmptyStopStringsStopNothing) {
  StopChecker checker({"", "x"}, false);
  EXPECT_EQ(checker.append("abc").text, "abc");
  EXPECT_EQ(checker.append("x").stop_index, 1);
  StopChecker none({}, false);
  EXPECT_EQ(none.append("abc").text, "abc");
}

TEST(StopChecker, WhatIsPassedStopsNothingButMayBeginAStopString) {
  StopChecker checker({"END"}, false);
  EXPECT_EQ(checker.pass("END of E"), "END of ");
  EXPECT_EQ(checker.pass("N"), "");
  const auto result = checker.append("D");
  EXPECT_TRUE(result.stopped());
  EXPECT_EQ(result.text, "");
}

struct Match {
  size_t begin, end;
  int index;
};

std::optional<Match> slow_match(const std::vector<std::string>& stops, const std::string& text) {
  std::optional<Match> best;
  for (size_t i = 0; i < stops.size(); ++i) {
    const size_t begin = text.find(stops[i]);
    if (stops[i].empty() || begin == std::string::npos) continue;
    const Match match{begin, begin + stops[i].size(), static_cast<int>(i)};
    if (!best || match.end < best->end || (match.end == best->end && match.begin < best->begin))
      best = match;
  }
  return best;
}

size_t slow_held(const std::vector<std::string>& stops, const std::string& text) {
  size_t held = 0;
  for (const auto& stop : stops) {
    for (size_t n = 1; n < stop.size() && n <= text.size(); ++n) {
      if (text.ends_with(stop.substr(0, n))) held = std::max(held, n);
    }
  }
  return held;
}

TEST(StopChecker, AgreesWithItsSlowTwinOverAnySplit) {
  std::mt19937 rng(7);
  const auto word = [&](size_t most) {
    std::string s(rng() % (most + 1), 'a');
    for (char& c : s) c = static_cast<char>('a' + rng() % 2);
    return s;
  };
  for (int round = 0; round < 50000; ++round) {
    std::vector<std::string> stops;
    for (size_t i = rng() % 4; i > 0; --i) stops.push_back(word(6));
    const bool include = rng() % 2 == 0;
    StopChecker checker(stops, include);
    std::string so_far, sent;
    for (int part = 0; part < 6; ++part) {
      const std::string piece = word(4);
      so_far += piece;
      const auto result = checker.append(piece);
      sent += result.text;
      const auto match = slow_match(stops, so_far);
      ASSERT_EQ(result.stopped(), match.has_value());
      if (match) {
        ASSERT_EQ(stops[result.stop_index], stops[match->index]);
        ASSERT_EQ(sent, so_far.substr(0, include ? match->end : match->begin));
        break;
      }
      ASSERT_EQ(sent, so_far.substr(0, so_far.size() - slow_held(stops, so_far)));
      if (part == 5) {
        ASSERT_EQ(sent + checker.flush(), so_far);
      }
    }
  }
}

}  // namespace
}  // namespace octavo::text
