// Tests of the step's size against devices that are a formula: what the budget learns, and how
// soon.
#include "engine/step_budget.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

namespace octavo {
namespace {

constexpr double kLimit = 0.05;
constexpr int kMost = 8192;

// Seconds of a step on some device.
using Device = std::function<double(int decode_rows, int prefill_tokens)>;

Device line(double base, double per_row, double per_token) {
  return [=](int rows, int prefill) { return base + per_row * rows + per_token * prefill; };
}

// Mixed steps as large as the budget lets them be; the time of the slowest after the first `grace`.
double slowest_of(StepBudget& budget, const Device& device, int rows, int steps, int grace = 10) {
  double slowest = 0;
  for (int i = 0; i < steps; ++i) {
    const int prefill = budget.tokens(rows) - rows;
    const double seconds = device(rows, prefill);
    budget.observe(rows, prefill, seconds);
    if (i >= grace) slowest = std::max(slowest, seconds);
  }
  return slowest;
}

void decode(StepBudget& budget, const Device& device, int rows, int steps) {
  for (int i = 0; i < steps; ++i) budget.observe(rows, 0, device(rows, 0));
}

TEST(StepBudget, WithoutDecodeRowsOrWithoutALimitAStepMayBeAsLargeAsEver) {
  StepBudget budget(kLimit, kMost);
  budget.observe(0, kMost, 10);
  EXPECT_EQ(budget.tokens(0), kMost);
  EXPECT_LT(budget.tokens(1), kMost);
  StepBudget free(0, kMost);
  free.observe(0, kMost, 10);
  EXPECT_EQ(free.tokens(200), kMost);
}

TEST(StepBudget, MixedStepsAreAsLongAsTheLimitAllowsAndNoLonger) {
  // An H200 with an 8B model, a GPU with a small one, and a CPU.
  for (const Device& device :
       {line(5e-3, 2e-5, 36e-6), line(1e-3, 5e-6, 4e-6), line(5e-3, 0, 2e-4)}) {
    for (const int rows : {1, 64, 300}) {
      StepBudget budget(kLimit, kMost);
      decode(budget, device, rows, 20);
      EXPECT_LE(slowest_of(budget, device, rows, 100), kLimit * 1.02);
      const int tokens = budget.tokens(rows);
      const double one_tile_more = device(rows, tokens - rows + 128);
      EXPECT_TRUE(tokens == kMost || one_tile_more > kLimit * 0.98) << tokens << " of " << rows;
    }
  }
}

TEST(StepBudget, StepsBeforeAnythingIsKnownAreSmallAndGrowByDoubling) {
  StepBudget budget(kLimit, kMost);
  EXPECT_EQ(budget.tokens(1), 512);
  const Device device = line(1e-3, 0, 1e-6);
  int before = 0;
  for (int i = 0; i < 10; ++i) {
    const int tokens = budget.tokens(1);
    EXPECT_LE(tokens, std::max(512, 2 * before));
    budget.observe(1, tokens - 1, device(1, tokens - 1));
    before = tokens;
  }
  EXPECT_EQ(before, kMost) << "the limit is never reached";
}

TEST(StepBudget, AStretchWhereTokensCostNothingDoesNotFoolIt) {
  // Bound by memory up to 300 tokens, by arithmetic beyond.
  const Device device = [](int rows, int prefill) {
    return std::max(10e-3, (rows + prefill) * 33e-6);
  };
  StepBudget budget(kLimit, kMost);
  decode(budget, device, 8, 10);
  EXPECT_LE(slowest_of(budget, device, 8, 100, /*grace=*/0), kLimit * 1.2);
  EXPECT_GE(budget.tokens(8), 1280);
}

TEST(StepBudget, ItFollowsADeviceThatSlowsDown) {
  StepBudget budget(kLimit, kMost);
  decode(budget, line(5e-3, 0, 2e-5), 4, 10);
  slowest_of(budget, line(5e-3, 0, 2e-5), 4, 50);
  EXPECT_LE(slowest_of(budget, line(5e-3, 0, 8e-5), 4, 50), kLimit * 1.05);
  // A busier one: decoding takes longer, and no step without a chunk shows it.
  EXPECT_LE(slowest_of(budget, line(20e-3, 0, 8e-5), 4, 50), kLimit * 1.05);
}

TEST(StepBudget, TokensAreWholeTilesAndPromptsAlwaysGetSome) {
  StepBudget budget(kLimit, kMost);
  const Device slow = line(20e-3, 0, 1e-3);  // 30 tokens are in time
  decode(budget, slow, 2, 10);
  EXPECT_LE(slowest_of(budget, slow, 2, 50), kLimit * 1.02);
  EXPECT_EQ(budget.tokens(2) % 16, 0);
  StepBudget hopeless(kLimit, kMost);
  const Device crawl = line(1, 0, 1e-2);
  decode(hopeless, crawl, 2, 10);
  slowest_of(hopeless, crawl, 2, 50);
  EXPECT_GE(hopeless.tokens(2), 18);
  EXPECT_LE(hopeless.tokens(2), 32) << "a quarter of a decode step";
  for (const int rows : {1, 100, 127, 128, 129, 1000}) {
    StepBudget fast(kLimit, kMost);
    decode(fast, line(5e-3, 0, 36e-6), rows, 10);
    slowest_of(fast, line(5e-3, 0, 36e-6), rows, 20);
    EXPECT_EQ(fast.tokens(rows) % 128, 0) << rows;
    EXPECT_GE(fast.tokens(rows), rows + 16);
  }
}

TEST(StepBudget, ASlowDecodeStepIsForgottenEvenIfPromptsNeverPause) {
  const Device device = line(5e-3, 0, 36e-6);
  for (const bool first : {true, false}) {
    StepBudget budget(kLimit, kMost);
    if (!first) decode(budget, device, 4, 10);
    budget.observe(4, 0, 0.5);  // a graph was captured, say
    EXPECT_LE(slowest_of(budget, device, 4, 60), kLimit * 1.15);
    EXPECT_LE(slowest_of(budget, device, 4, 20), kLimit * 1.02);
    EXPECT_GE(budget.tokens(4), 1024);
  }
}

TEST(StepBudget, APauseOfTheMachineIsSoonForgotten) {
  const Device device = line(5e-3, 0, 36e-6);
  StepBudget budget(kLimit, kMost);
  decode(budget, device, 4, 10);
  slowest_of(budget, device, 4, 30);
  const int before = budget.tokens(4);
  budget.observe(4, 100, 0.5);
  slowest_of(budget, device, 4, 15);
  EXPECT_GE(budget.tokens(4), before - 128);
}

TEST(StepBudget, AChunkBesideDecodeRowsMayHaveAFixedLimitToo) {
  const StepBudget fixed(0, 8192, 512);
  EXPECT_EQ(fixed.tokens(0), 8192);
  EXPECT_EQ(fixed.tokens(64), 512);  // 576, in whole tiles
  EXPECT_EQ(fixed.tokens(1024), 1536);
  StepBudget both(0.05, 8192, 512);
  for (int i = 0; i < 50; ++i) both.observe(64, 512, 0.2);
  EXPECT_LT(both.tokens(64), 512);
}

}  // namespace
}  // namespace octavo
