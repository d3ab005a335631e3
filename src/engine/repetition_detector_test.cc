// Tests of RepetitionDetector: against a slow twin that compares whole patterns, and its edges.
#include "engine/repetition_detector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace octavo {
namespace {

// Tokens after which the answer counts as repeating; 0: never.
int tokens_until_repetition(const RepetitionDetection& rule, const std::vector<TokenId>& answer,
                            size_t known = 0) {
  RepetitionDetector detector(rule, std::span(answer).first(known));
  for (size_t n = known + 1; n <= answer.size(); ++n) {
    if (detector.append(std::span(answer).first(n))) return static_cast<int>(n);
  }
  return 0;
}

// The definition: some pattern, copied min_count times, is what the tokens end in.
bool ends_in_copies(const RepetitionDetection& rule, std::span<const TokenId> tokens) {
  for (int size = std::max(1, rule.min_pattern_size); size <= rule.max_pattern_size; ++size) {
    const size_t whole = static_cast<size_t>(size) * rule.min_count;
    if (whole > tokens.size()) continue;
    const auto tail = tokens.last(whole), pattern = tokens.last(size);
    bool copies = true;
    for (size_t i = 0; i < whole; ++i) copies = copies && tail[i] == pattern[i % size];
    if (copies) return true;
  }
  return false;
}

TEST(RepetitionDetector, EndsAnAnswerWithTheLastTokenOfTheLastCopy) {
  const RepetitionDetection rule{.max_pattern_size = 3, .min_pattern_size = 2, .min_count = 3};
  EXPECT_EQ(tokens_until_repetition(rule, {9, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1}), 10);
  EXPECT_EQ(tokens_until_repetition(rule, {1, 2, 3, 1, 2, 3, 1, 2, 4}), 0) << "an incomplete copy";
  EXPECT_EQ(tokens_until_repetition(rule, {1, 2, 3, 1, 2, 3, 9, 1, 2, 3}), 0) << "with a break";
}

TEST(RepetitionDetector, LooksForPatternsOfTheSizesAskedFor) {
  const std::vector<TokenId> pairs = {1, 2, 1, 2, 1, 2, 1, 2};
  EXPECT_EQ(tokens_until_repetition({2, 2, 2}, pairs), 4);
  EXPECT_EQ(tokens_until_repetition({1, 1, 2}, pairs), 0) << "longer than the longest";
  EXPECT_EQ(tokens_until_repetition({3, 3, 2}, pairs), 0) << "no pattern of three";
  EXPECT_EQ(tokens_until_repetition({4, 3, 2}, pairs), 8) << "two pairs are a pattern of four";
  EXPECT_EQ(tokens_until_repetition({1, 0, 3}, {5, 7, 7, 7}), 4) << "0 counts as 1";
}

TEST(RepetitionDetector, WithoutAPatternSizeEndsNothing) {
  EXPECT_EQ(tokens_until_repetition({0, 0, 0}, std::vector<TokenId>(100, 1)), 0);
}

TEST(RepetitionDetector, TakesAnyCount) {
  EXPECT_EQ(tokens_until_repetition({2048, 0, 2147483647}, std::vector<TokenId>(3000, 1)), 0);
}

TEST(RepetitionDetector, AgreesWithTheDefinitionFromWhereverItBegins) {
  std::mt19937 random(1);
  const auto pick = [&](int low, int high) {
    return low + static_cast<int>(random() % (high - low + 1));
  };
  int found = 0;
  for (int round = 0; round < 2000; ++round) {
    RepetitionDetection rule{.max_pattern_size = pick(1, 6), .min_count = pick(2, 5)};
    rule.min_pattern_size = pick(0, rule.max_pattern_size);
    std::vector<TokenId> answer(40);
    for (TokenId& token : answer) token = pick(0, 1);
    const size_t known = pick(0, 20);
    int expected = 0;
    for (size_t n = known + 1; n <= answer.size() && expected == 0; ++n) {
      if (ends_in_copies(rule, std::span(answer).first(n))) expected = static_cast<int>(n);
    }
    ASSERT_EQ(tokens_until_repetition(rule, answer, known), expected) << "round " << round;
    found += expected > 0;
  }
  EXPECT_GT(found, 500);
}

}  // namespace
}  // namespace octavo
