// Tests of who runs: the order of admission, preemption, steps in flight, cancelled requests. The
// rig replays every plan on a model of the KV cache, so each test also checks that every row reads
// exactly its own tokens.
#include "engine/scheduler.h"

#include "engine/testing_scheduler_requests.h"

namespace octavo {
namespace {

TEST(Admission, WaitsForASlotAndKeepsTheOrderOfArrival) {
  RigOptions options = synchronous();
  options.scheduler.max_num_seqs = 2;
  SchedulerRig rig(options);
  for (int i = 0; i < 4; ++i) rig.add(request_of(4, 2 + i, {}, i));
  rig.step();
  EXPECT_EQ(rig.scheduler.stats().running, 2);
  EXPECT_EQ(rig.scheduler.stats().waiting, 2);
  rig.finish_all();
  std::vector<int64_t> ends;
  for (const SequenceEvent& e : rig.events) {
    if (e.finish != FinishReason::kNone) ends.push_back(e.request.value);
  }
  EXPECT_EQ(ends, (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(Admission, TheFirstThatDoesNotFitHoldsUpThoseBehindIt) {
  RigOptions options = synchronous();
  options.groups = {{.num_blocks = 10}};
  SchedulerRig rig(options);
  rig.add(request_of(24, 4));
  rig.step();
  rig.add(request_of(20, 1, {}, 10));  // 5 blocks; 4 are left
  rig.add(request_of(2, 1, {}, 40));
  EXPECT_EQ(rig.step().rows.size(), 1u);
  EXPECT_EQ(rig.scheduler.stats().waiting, 2);
  rig.finish_all();
}

TEST(Admission, ReservesBlocksForPromptsThatArePartlyComputed) {
  RigOptions options = synchronous();
  options.groups = {{.num_blocks = 20}};
  options.scheduler.max_num_batched_tokens = 16;
  options.scheduler.long_prefill_token_threshold = 8;
  SchedulerRig rig(options);
  rig.add(request_of(60, 1));
  rig.add(request_of(30, 1, {}, 10));
  EXPECT_EQ(rig.step().rows.size(), 1u) << "the first prompt will need 15 of 20 blocks";
  rig.finish_all();
  EXPECT_EQ(rig.scheduler.stats().preemptions, 0);
}

TEST(Admission, APromptThatTheCacheCannotHoldEndsWithAnError) {
  RigOptions options = small_options();
  options.groups = {{.num_blocks = 5}};
  SchedulerRig rig(options);
  const RequestKey big = rig.add(request_of(40, 4));
  const RequestKey small = rig.add(request_of(8, 4));
  rig.finish_all();
  EXPECT_EQ(last_event(rig, big).finish, FinishReason::kError);
  EXPECT_EQ(last_event(rig, small).finish, FinishReason::kLength);
}

TEST(Admission, ASequenceThatOutgrowsTheWholeCacheEndsWithAnError) {
  RigOptions options = small_options();
  options.groups = {{.num_blocks = 5}};
  SchedulerRig rig(options);
  const RequestKey key = rig.add(request_of(8, 30));
  rig.finish_all();
  EXPECT_EQ(last_event(rig, key).finish, FinishReason::kError);
  EXPECT_EQ(tokens_of(rig, key).size(), 12u) << "20 positions, one drawn token not read in time";
}

TEST(Preemption, TakesTheNewestAndItsRecomputationSaysTheSame) {
  RigOptions options = small_options();
  options.groups = {{.num_blocks = 12}};
  options.prefix_caching = false;
  SchedulerRig rig(options);
  std::vector<Request> requests;
  std::vector<RequestKey> keys;
  for (int i = 0; i < 3; ++i) {
    requests.push_back(request_of(10, 16, {}, i));
    keys.push_back(rig.add(requests.back()));
  }
  rig.finish_all();
  EXPECT_GT(rig.scheduler.stats().preemptions, 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(tokens_of(rig, keys[i]), alone(requests[i]));
  std::vector<RequestKey> ends;
  for (const SequenceEvent& e : rig.events) {
    if (e.finish != FinishReason::kNone) ends.push_back(e.request);
  }
  EXPECT_EQ(ends, keys) << "the oldest is never held up";
}

TEST(Preemption, TakesTheLeastUrgentUnderThePriorityPolicy) {
  RigOptions options = synchronous();
  options.groups = {{.num_blocks = 6}};
  options.scheduler.policy = SchedulingPolicy::kPriority;
  SchedulerRig rig(options);
  Request low = request_of(8, 10);
  low.priority = 5;
  Request high = request_of(8, 10, {}, 3);
  high.priority = 1;
  const RequestKey low_key = rig.add(low);
  const RequestKey high_key = rig.add(high);
  rig.finish_all();
  EXPECT_GT(rig.scheduler.stats().preemptions, 0);
  EXPECT_EQ(rig.events.back().request, low_key);
  EXPECT_EQ(tokens_of(rig, low_key), alone(low));
  EXPECT_EQ(tokens_of(rig, high_key), alone(high));
}

TEST(Preemption, WaitsForItsStepsInFlightAndSetsUpItsSlotAgain) {
  RigOptions options = small_options();
  options.groups = {{.num_blocks = 5}};
  options.prefix_caching = false;
  options.depth = 3;
  SchedulerRig rig(options);
  rig.add(request_of(8, 8));
  const Request second = request_of(7, 8, {}, 3);
  const RequestKey key = rig.add(second);
  std::vector<size_t> outputs;  // of each set-up of the second request
  for (int i = 0; i < 100 && rig.scheduler.has_unfinished(); ++i) {
    for (const SlotSetup& setup : rig.step().setups) {
      if (setup.prompt == second.prompt) outputs.push_back(setup.output.size());
    }
  }
  rig.finish_all();
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0], 0u);
  EXPECT_GT(outputs[1], 0u) << "tokens read while it waited come along";
  EXPECT_EQ(tokens_of(rig, key), alone(second));
}

TEST(Asynchronous, AnUnreadTokenIsNamedByItsSlotAndARequestIsNotRunBeyondItsEnd) {
  SchedulerRig rig(small_options());
  rig.add(request_of(6, 3));
  BatchPlan plan = rig.step();
  const SlotId slot = plan.rows[0].slot;
  ASSERT_EQ(plan.setups.size(), 1u);
  EXPECT_EQ(plan.setups[0].slot, slot);
  plan = rig.step();
  EXPECT_TRUE(plan.setups.empty());
  EXPECT_EQ(plan.tokens, (std::vector<TokenId>{-1 - slot.value}));
  EXPECT_EQ(plan.rows[0].start, 6);
  EXPECT_FALSE(rig.step().empty()) << "the third token";
  EXPECT_TRUE(rig.step().empty()) << "nothing is computed past max_tokens";
  rig.finish_all();
}

TEST(Asynchronous, SynchronousStepsNameEveryToken) {
  SchedulerRig rig(synchronous());
  rig.add(request_of(6, 5));
  while (rig.scheduler.has_unfinished()) {
    for (const TokenId token : rig.step().tokens) EXPECT_GE(token, 0);
  }
}

TEST(View, TellsLengthsAndTheNumbersThatASequenceIsSampledBy) {
  SchedulerRig rig(synchronous());
  SamplingParams params;
  params.temperature = 0.25f;
  params.seed = 11;
  params.stop_token_ids = {49};
  rig.add(request_of(6, 5, params));
  rig.step();
  const std::vector<SequenceView> views = rig.scheduler.view(10);
  ASSERT_EQ(views.size(), 1u);
  EXPECT_TRUE(views[0].running);
  EXPECT_EQ(views[0].prompt, 6);
  EXPECT_EQ(views[0].output, 1);
  EXPECT_EQ(views[0].max_output, 5);
  EXPECT_EQ(views[0].sampling.temperature, 0.25f);
  EXPECT_EQ(views[0].sampling.seed, 11);
  rig.finish_all();
}

TEST(Cancel, InFlightFreesBlocksAtOnceAndTheSlotAtItsCommit) {
  RigOptions options = small_options();
  options.scheduler.max_num_seqs = 1;
  SchedulerRig rig(options);
  const RequestKey key = rig.add(request_of(20, 10));
  rig.step();
  ASSERT_EQ(rig.in_flight, 1);
  rig.scheduler.cancel(key);
  EXPECT_EQ(rig.cache.stats().free_blocks, rig.cache.stats().total_blocks);
  EXPECT_EQ(rig.scheduler.check_invariants(), "");
  rig.add(request_of(20, 1, {}, 9));
  EXPECT_TRUE(rig.scheduler.schedule(0).empty())
      << "the slot is still mentioned by a step in flight";
  rig.read_oldest();
  EXPECT_TRUE(rig.events.empty()) << "nothing is said of a cancelled request";
  EXPECT_EQ(rig.step().rows.size(), 1u);
  rig.finish_all();
}

TEST(Cancel, OfUnknownOrEndedRequestsIsIgnored) {
  SchedulerRig rig(small_options());
  const RequestKey key = rig.add(request_of(4, 1));
  rig.finish_all();
  rig.scheduler.cancel(key);
  rig.scheduler.finish(key, 0);
  rig.scheduler.finish(RequestKey(77), 3);
  EXPECT_EQ(rig.scheduler.check_invariants(), "");
}

}  // namespace
}  // namespace octavo
