// Tests of how the tokens of one step are divided among those who run.
#include <algorithm>

#include "engine/scheduler.h"
#include "engine/scheduling_policy.h"
#include "engine/testing_scheduler_requests.h"

namespace octavo {
namespace {

TEST(Budget, APromptLongerThanTheBudgetIsComputedInChunksAndDrawsOnce) {
  SchedulerRig rig(synchronous());
  rig.add(request_of(70, 2));
  BatchPlan plan = rig.step();
  EXPECT_EQ(rows_of(plan), (std::vector{32}));
  EXPECT_TRUE(plan.samples.empty());
  plan = rig.step();
  EXPECT_EQ(rows_of(plan), (std::vector{32}));
  EXPECT_EQ(plan.rows[0].start, 32);
  plan = rig.step();
  EXPECT_EQ(rows_of(plan), (std::vector{6}));
  EXPECT_EQ(plan.samples.size(), 1u);
  rig.finish_all();
}

TEST(Budget, DecodeRowsComeBeforeAnOlderPromptsChunk) {
  RigOptions options = synchronous();
  options.scheduler.long_prefill_token_threshold = 20;
  SchedulerRig rig(options);
  rig.add(request_of(100, 4));
  rig.add(request_of(8, 20, {}, 30));
  EXPECT_EQ(rows_of(rig.step()), (std::vector{20, 8}));
  rig.add(request_of(30, 4, {}, 20));
  EXPECT_EQ(rows_of(rig.step()), (std::vector{1, 20, 11}));
  EXPECT_EQ(rows_of(rig.step()), (std::vector{1, 20, 11}));
  rig.finish_all();

  SchedulerConfig config = options.scheduler;
  config.long_prefill_token_threshold = 0;
  EXPECT_EQ(split_budget(config, std::vector{100, 1, 0, 1, 50}), (std::vector{30, 1, 0, 1, 0}));
}

TEST(Budget, ALongPromptLeavesRoomForOthersUnderTheThreshold) {
  RigOptions options = synchronous();
  options.scheduler.long_prefill_token_threshold = 10;
  SchedulerRig rig(options);
  rig.add(request_of(100, 1));
  rig.add(request_of(15, 1, {}, 7));
  EXPECT_EQ(rows_of(rig.step()), (std::vector{10, 10}));
  rig.finish_all();
}

TEST(Budget, WithoutChunkingAPromptRunsWholeAndAGiantRunsAlone) {
  RigOptions options = synchronous();
  options.scheduler.chunked_prefill = false;
  SchedulerRig rig(options);
  rig.add(request_of(20, 3));
  rig.add(request_of(20, 3, {}, 5));
  rig.add(request_of(40, 3, {}, 9));
  EXPECT_EQ(rows_of(rig.step()), (std::vector{20})) << "the second does not fit whole";
  EXPECT_EQ(rows_of(rig.step()), (std::vector{1, 20}));
  EXPECT_EQ(rows_of(rig.step()), (std::vector{1, 1}));
  EXPECT_EQ(rows_of(rig.step()), (std::vector{1}));
  EXPECT_EQ(rows_of(rig.step()), (std::vector{40}));
  rig.finish_all();
}

// A rig whose steps take 1 ms and 50 us a prefill token, and tells the scheduler so.
struct TimedRig : SchedulerRig {
  using SchedulerRig::SchedulerRig;
  // Runs a step; its plan and its seconds.
  std::pair<BatchPlan, double> timed_step() {
    BatchPlan plan = step();
    double seconds = 1e-3;
    for (const PlanRow& row : plan.rows) seconds += row.num_tokens > 1 ? 5e-5 * row.num_tokens : 0;
    if (!plan.empty()) scheduler.observe(plan, seconds);
    return {std::move(plan), seconds};
  }
};

RigOptions timed_options(double max_step_seconds) {
  RigOptions options = small_options();
  options.groups = {{.num_blocks = 1024}};
  options.scheduler.max_num_batched_tokens = 1024;
  options.scheduler.max_model_len = 2048;
  options.scheduler.max_step_seconds = max_step_seconds;
  return options;
}

TEST(Budget, ALongPromptIsCutSoThatAnswersUnderWayAreNotDelayed) {
  TimedRig rig(timed_options(10e-3));
  const Request answer = request_of(8, 60);
  const RequestKey key = rig.add(answer);
  for (int i = 0; i < 10; ++i) rig.timed_step();
  const Request prompt = request_of(1900, 5, {}, 3);
  const RequestKey late = rig.add(prompt);
  double slowest = 0;
  for (int i = 0; i < 25; ++i) {
    const auto [plan, seconds] = rig.timed_step();
    EXPECT_EQ(rows_of(plan)[0], 1) << "the answer gets its token in every step";
    if (plan.rows.size() > 1 && plan.rows[1].num_tokens > 1 && i < 10) {
      EXPECT_EQ(plan.tokens.size() % 16, 0u);
      EXPECT_GE(plan.tokens.size(), 32u);
    }
    slowest = std::max(slowest, seconds);
  }
  EXPECT_LE(slowest, 10e-3);
  rig.finish_all();
  EXPECT_EQ(tokens_of(rig, key), alone(answer));
  EXPECT_EQ(tokens_of(rig, late), alone(prompt));
}

TEST(Budget, WhereNobodyDecodesOrTimeIsNoMatterAPromptGetsTheWholeBudget) {
  TimedRig alone_there(timed_options(10e-3));
  alone_there.add(request_of(1900, 5));
  EXPECT_EQ(rows_of(alone_there.timed_step().first), (std::vector{1024}));
  alone_there.finish_all();
  TimedRig offline(timed_options(0));
  offline.add(request_of(8, 60));
  for (int i = 0; i < 5; ++i) offline.timed_step();
  offline.add(request_of(1900, 5, {}, 3));
  EXPECT_EQ(rows_of(offline.timed_step().first), (std::vector{1, 1023}));
  offline.finish_all();
  RigOptions whole = timed_options(10e-3);
  whole.scheduler.chunked_prefill = false;
  TimedRig unchunked(whole);
  unchunked.add(request_of(8, 60));
  for (int i = 0; i < 5; ++i) unchunked.timed_step();
  unchunked.add(request_of(900, 5, {}, 3));
  EXPECT_EQ(rows_of(unchunked.timed_step().first), (std::vector{1, 900}));
  unchunked.finish_all();
}

}  // namespace
}  // namespace octavo
