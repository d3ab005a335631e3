// Tests of the scheduler, one rule each. The rig replays every plan on a model of the KV cache, so
// each test also checks that every row reads exactly its own tokens.
#include "engine/scheduler.h"

#include <numeric>

#include "engine/scheduling_policy.h"
#include "engine/testing_scheduler_rig.h"

namespace octavo {
namespace {

std::shared_ptr<const std::vector<TokenId>> prompt_of(int length, int first = 0) {
  std::vector<TokenId> tokens(length);
  std::iota(tokens.begin(), tokens.end(), first);
  for (TokenId& token : tokens) token %= 50;
  return std::make_shared<const std::vector<TokenId>>(std::move(tokens));
}

Request request_of(int prompt, int max_tokens, SamplingParams params = {}, int first = 0) {
  Request request;
  request.prompt = prompt_of(prompt, first);
  request.params = std::make_shared<const SamplingParams>(std::move(params));
  request.max_tokens = max_tokens;
  return request;
}

// Tokens of each row of a plan.
std::vector<int> rows_of(const BatchPlan& plan) {
  std::vector<int> rows;
  for (const PlanRow& row : plan.rows) rows.push_back(row.num_tokens);
  return rows;
}

std::vector<TokenId> tokens_of(const SchedulerRig& rig, RequestKey key, int index = 0) {
  std::vector<TokenId> tokens;
  for (const SequenceEvent& event : rig.events) {
    if (event.request == key && event.index == index && event.has_token)
      tokens.push_back(event.token.token);
  }
  return tokens;
}

SequenceEvent last_event(const SchedulerRig& rig, RequestKey key, int index = 0) {
  SequenceEvent last;
  for (const SequenceEvent& event : rig.events) {
    if (event.request == key && event.index == index) last = event;
  }
  return last;
}

// What the request says when nothing else is in the world.
std::vector<TokenId> alone(const Request& request, int index = 0) {
  uint64_t history = start_history(request.cache_salt);
  for (const TokenId token : *request.prompt) history = extend_history(history, token);
  std::vector<TokenId> tokens;
  for (int i = 0; i < request.max_tokens; ++i) {
    tokens.push_back(draw_token(history, request.seed + index, 50));
    history = extend_history(history, tokens.back());
  }
  return tokens;
}

RigOptions synchronous() {
  RigOptions options = small_options();
  options.depth = 1;
  return options;
}

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

TEST(Prefixes, APromptThatAnotherIsComputingWaitsForIt) {
  RigOptions options = synchronous();
  options.groups = {{.num_blocks = 1024}};
  options.scheduler.max_num_batched_tokens = 4096;
  options.scheduler.max_model_len = 2048;
  SchedulerRig rig(options);
  rig.add(request_of(1000, 4));
  rig.add(request_of(1000, 4));        // the same prompt
  rig.add(request_of(900, 4, {}, 3));  // another
  EXPECT_EQ(rows_of(rig.step()), (std::vector{1000, 900}));
  const std::vector<int> second = rows_of(rig.step());
  ASSERT_EQ(second.size(), 3u);
  EXPECT_LT(second.back(), 32) << "all but the end comes from the cache";
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

TEST(Parallel, SequencesShareThePromptsBlocksWithAndWithoutThePrefixCache) {
  for (const bool caching : {true, false}) {
    RigOptions options = small_options();
    options.prefix_caching = caching;
    SchedulerRig rig(options);
    Request request = request_of(22, 6, {.n = 4});
    request.seed = 11;
    const RequestKey key = rig.add(request);
    EXPECT_EQ(rows_of(rig.step()), (std::vector{22})) << "one computes the prompt";
    const BatchPlan plan = rig.step();
    EXPECT_EQ(rows_of(plan), (std::vector{1, 2, 2, 2})) << "the others only its tail";
    for (int i = 1; i < 4; ++i) {
      EXPECT_EQ(plan.tables[0].blocks[plan.tables[0].begin[i]], plan.tables[0].blocks[0]);
      EXPECT_EQ(plan.setups[i - 1].seed, 11u + i);
    }
    // 6 blocks of the first, and one of each other.
    EXPECT_EQ(rig.cache.stats().total_blocks - rig.cache.stats().free_blocks, 9);
    rig.finish_all();
    for (int i = 0; i < 4; ++i) EXPECT_EQ(tokens_of(rig, key, i), alone(request, i));
    EXPECT_EQ(rig.scheduler.stats().prompt_tokens, 22);
  }
}

TEST(Parallel, TheNextTakesOverIfTheFirstEndsBeforeThePromptIsComputed) {
  SchedulerRig rig(small_options());
  const Request request = request_of(60, 4, {.n = 3});
  const RequestKey key = rig.add(request);
  rig.step();
  rig.scheduler.finish(key, 0);
  rig.finish_all();
  EXPECT_TRUE(tokens_of(rig, key, 0).empty());
  EXPECT_EQ(tokens_of(rig, key, 1), alone(request, 1));
  EXPECT_EQ(tokens_of(rig, key, 2), alone(request, 2));
}

TEST(Parallel, OthersAreNotHeldUpBySiblingsThatWaitForThePrompt) {
  RigOptions options = synchronous();
  options.scheduler.long_prefill_token_threshold = 16;
  SchedulerRig rig(options);
  rig.add(request_of(60, 4, {.n = 3}));
  rig.add(request_of(4, 1, {}, 9));
  EXPECT_EQ(rows_of(rig.step()), (std::vector{16, 4}));
  rig.finish_all();
}

TEST(Parallel, SharesAWindowedPrompt) {
  RigOptions options = small_options();
  options.groups = {{.num_blocks = 64, .window = 8}};
  options.prefix_caching = false;
  SchedulerRig rig(options);
  const Request request = request_of(30, 5, {.n = 3});
  const RequestKey key = rig.add(request);
  rig.step();
  EXPECT_EQ(rows_of(rig.step()), (std::vector{1, 2, 2}));
  rig.finish_all();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(tokens_of(rig, key, i), alone(request, i));
}

TEST(PrefixCaching, ASecondEqualPromptComputesOnlyItsTail) {
  SchedulerRig rig(synchronous());
  rig.add(request_of(22, 2));
  rig.finish_all();
  const RequestKey key = rig.add(request_of(22, 2));
  EXPECT_EQ(rows_of(rig.step()), (std::vector{2}));
  rig.finish_all();
  EXPECT_EQ(last_event(rig, key).num_cached_tokens, 20);
  EXPECT_EQ(rig.scheduler.stats().prefix_queries, 44);
  EXPECT_EQ(rig.scheduler.stats().prefix_hits, 20);
}

TEST(PrefixCaching, OutputsAreCachedToo) {
  SchedulerRig rig(small_options());
  const Request first = request_of(9, 12);
  rig.add(first);
  rig.finish_all();
  std::vector<TokenId> longer = *first.prompt;
  for (const TokenId token : alone(first)) longer.push_back(token);
  Request second = request_of(9, 2);
  second.prompt = std::make_shared<const std::vector<TokenId>>(longer);
  rig.add(second);
  EXPECT_EQ(rows_of(rig.step()), (std::vector{1})) << "20 of 21 tokens have their KV in the cache";
  rig.finish_all();
}

TEST(Stop, EndOfSequenceHasNoStopTokenAndAStopTokenHas) {
  const Request probe = request_of(5, 6);
  const std::vector<TokenId> tokens = alone(probe);
  SchedulerRig rig(small_options());
  Request eos = request_of(5, 6);
  eos.eos_ids = {tokens[2]};
  SamplingParams params;
  params.stop_token_ids = {tokens[2]};
  const RequestKey eos_key = rig.add(eos);
  const RequestKey stop_key = rig.add(request_of(5, 6, params));
  rig.finish_all();
  for (const RequestKey key : {eos_key, stop_key}) {
    const SequenceEvent last = last_event(rig, key);
    EXPECT_EQ(last.finish, FinishReason::kStop);
    EXPECT_EQ(last.token.token, tokens[2]);
    EXPECT_TRUE(last.hide_token);
  }
  EXPECT_FALSE(last_event(rig, eos_key).stop_token.has_value());
  EXPECT_EQ(last_event(rig, stop_key).stop_token, tokens[2]);
}

TEST(Stop, RulesApplyInVllmsOrder) {
  SchedulerConfig config = small_options().scheduler;
  SamplingParams params;
  params.stop_token_ids = {7, 8};
  params.min_tokens = 3;
  Request request = request_of(5, 4, params);
  request.eos_ids = {7};
  EXPECT_EQ(ending_of(request, config, 7, 2).finish, FinishReason::kNone) << "before min_tokens";
  EXPECT_EQ(ending_of(request, config, 7, 3).finish, FinishReason::kStop);
  EXPECT_FALSE(ending_of(request, config, 7, 3).stop_token.has_value()) << "eos comes first";
  EXPECT_EQ(ending_of(request, config, 8, 3).stop_token, TokenId{8});
  EXPECT_EQ(ending_of(request, config, 8, 4).finish, FinishReason::kStop) << "stop before length";
  EXPECT_EQ(ending_of(request, config, 9, 4).finish, FinishReason::kLength);
  EXPECT_FALSE(ending_of(request, config, 9, 4).hide_token);
  config.max_model_len = 7;
  EXPECT_EQ(ending_of(request, config, 9, 2).finish, FinishReason::kLength)
      << "the context is full";
}

TEST(Stop, TheDeviceIsToldWhatMayNotBeDrawnBeforeMinTokens) {
  SchedulerRig rig(small_options());
  SamplingParams params;
  params.stop_token_ids = {8};
  Request request = request_of(5, 2, params);
  request.eos_ids = {7};
  rig.add(request);
  EXPECT_EQ(rig.step().setups[0].stop_ids, (std::vector<TokenId>{7, 8}));
  rig.finish_all();
}

TEST(PromptLogprobs, CoverEveryPositionButTheFirstOverChunksAndSkipThePrefixCache) {
  SchedulerRig rig(small_options());
  rig.add(request_of(70, 1));
  rig.finish_all();
  SamplingParams params;
  params.prompt_logprobs = 2;
  params.n = 2;
  const RequestKey key = rig.add(request_of(70, 3, params));
  const BatchPlan plan = rig.step();
  EXPECT_EQ(rows_of(plan), (std::vector{32}));
  ASSERT_EQ(plan.prompt_logprobs.size(), 32u);
  EXPECT_EQ(plan.prompt_logprobs[0].token, 0);
  EXPECT_EQ(plan.prompt_logprobs[0].target, 1);
  EXPECT_EQ(plan.prompt_logprobs[0].num_logprobs, 2);
  rig.finish_all();
  int next = 1;
  for (const SequenceEvent& event : rig.events) {
    if (event.request != key || event.prompt_logprobs.empty()) continue;
    EXPECT_EQ(event.prompt_logprobs_first, next);
    for (const SampledToken& value : event.prompt_logprobs) EXPECT_EQ(value.token, next++ % 50);
  }
  EXPECT_EQ(next, 70);
}

TEST(PromptLogprobs, OfACancelledFirstSequenceReachItsSibling) {
  SchedulerRig rig(small_options());
  SamplingParams params;
  params.prompt_logprobs = 0;
  params.n = 2;
  const RequestKey key = rig.add(request_of(40, 2, params));
  rig.step();
  rig.scheduler.finish(key, 0);
  rig.finish_all();
  std::vector<int> seen(40, 0);
  for (const SequenceEvent& event : rig.events) {
    EXPECT_EQ(event.index, 1);
    for (size_t i = 0; i < event.prompt_logprobs.size(); ++i)
      ++seen[event.prompt_logprobs_first + i];
  }
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 39);
  EXPECT_EQ(*std::max_element(seen.begin(), seen.end()), 1);
}

TEST(SlidingWindow, HoldsOneWindowAndOneChunkAtMost) {
  RigOptions options = small_options();
  options.groups = {{.num_blocks = 13, .window = 16}};  // 47 positions touch 13 blocks at most
  SchedulerRig rig(options);
  const Request request = request_of(150, 60);
  const RequestKey key = rig.add(request);
  int64_t most = 0;
  while (rig.scheduler.has_unfinished()) {
    rig.step();
    most = std::max(most, rig.cache.stats().total_blocks - rig.cache.stats().free_blocks);
  }
  rig.finish_all();
  EXPECT_GT(most, 8);
  EXPECT_EQ(tokens_of(rig, key), alone(request));
  EXPECT_EQ(rig.scheduler.stats().preemptions, 0);
}

TEST(Faults, AFailedStepEndsItsSequencesAndNoOthers) {
  SchedulerRig rig(small_options());
  const RequestKey first = rig.add(request_of(9, 20));
  rig.step();
  rig.step(true);
  const Request other = request_of(9, 3, {}, 20);
  const RequestKey second = rig.add(other);
  rig.finish_all();
  EXPECT_EQ(last_event(rig, first).finish, FinishReason::kError);
  EXPECT_EQ(last_event(rig, first).error, "the device was lost");
  EXPECT_EQ(tokens_of(rig, second), alone(other));
}

TEST(Faults, WhatAFailedStepWroteIsNeitherCachedNorShared) {
  SchedulerRig rig(small_options());
  const RequestKey first = rig.add(request_of(20, 4, {.n = 2}));
  rig.step(true);  // the sibling borrows these blocks in the next step
  rig.finish_all();
  EXPECT_EQ(last_event(rig, first, 0).finish, FinishReason::kError);
  EXPECT_EQ(last_event(rig, first, 1).finish, FinishReason::kError);
  EXPECT_EQ(rig.cache.stats().cached_blocks, 0);
  const Request again = request_of(20, 4);
  const RequestKey second = rig.add(again);
  rig.finish_all();
  EXPECT_EQ(tokens_of(rig, second), alone(again));
}

TEST(Faults, BadLogitsEndOneSequenceOnly) {
  SchedulerRig rig(small_options());
  const RequestKey first = rig.add(request_of(9, 5));
  const Request other = request_of(9, 5, {}, 20);
  const RequestKey second = rig.add(other);
  rig.step(false, 0);
  rig.finish_all();
  EXPECT_EQ(last_event(rig, first).finish, FinishReason::kError);
  EXPECT_NE(last_event(rig, first).error.find("logits are not finite"), std::string::npos);
  EXPECT_EQ(tokens_of(rig, second), alone(other));
}

// Allows the one token that is one more than the last.
class CountingMasker : public TokenMasker {
 public:
  void accept(TokenId token) override { next_ = token + 1; }
  void fill(std::span<uint32_t> mask) override { mask[next_ / 32] |= 1u << (next_ % 32); }

 private:
  TokenId next_ = 10;
};

TEST(Masks, FollowTheTokensOfTheStepBefore) {
  SchedulerRig rig(small_options());
  Request request = request_of(9, 5);
  request.make_masker = [] { return std::make_unique<CountingMasker>(); };
  const RequestKey key = rig.add(request);
  const BatchPlan plan = rig.step();
  ASSERT_EQ(plan.samples.size(), 1u);
  EXPECT_TRUE(plan.samples[0].needs_mask);
  rig.finish_all();
  EXPECT_EQ(tokens_of(rig, key), (std::vector<TokenId>{10, 11, 12, 13, 14}));
}

TEST(Masks, OfAnEndedSequenceAllowEverything) {
  SchedulerRig rig(small_options());
  Request request = request_of(9, 5);
  request.make_masker = [] { return std::make_unique<CountingMasker>(); };
  const RequestKey key = rig.add(request);
  const BatchPlan plan = rig.scheduler.schedule(0);
  rig.scheduler.cancel(key);
  const StepMasks masks = rig.scheduler.make_masks(plan);
  ASSERT_EQ(masks.masks.size(), 1u);
  EXPECT_EQ(masks.masks[0], (std::vector<uint32_t>{~0u, ~0u}));
}

// Allows any token; the answer is complete after two, or cannot go on.
class TwoTokens : public TokenMasker {
 public:
  explicit TwoTokens(bool fails) : fails_(fails) {}
  void accept(TokenId) override { ++count_; }
  bool ended() const override { return !fails_ && count_ == 2; }
  Status status() const override {
    return fails_ && count_ == 2 ? invalid_argument("too ambiguous") : ok_status();
  }
  void fill(std::span<uint32_t> mask) override { std::fill(mask.begin(), mask.end(), ~0u); }

 private:
  const bool fails_;
  int count_ = 0;
};

TEST(Masks, ThatAreCompleteEndTheAnswerWithoutAnEndOfSequence) {
  for (const int max_tokens : {9, 2}) {
    SchedulerRig rig(small_options());
    Request request = request_of(9, max_tokens);
    request.make_masker = [] { return std::make_unique<TwoTokens>(false); };
    const RequestKey key = rig.add(request);
    rig.finish_all();
    EXPECT_EQ(tokens_of(rig, key).size(), 2u);
    EXPECT_EQ(last_event(rig, key).finish, FinishReason::kStop);
  }
}

TEST(Masks, ThatGiveUpEndTheirSequenceWithTheReason) {
  SchedulerRig rig(small_options());
  Request request = request_of(9, 9);
  request.make_masker = [] { return std::make_unique<TwoTokens>(true); };
  const Request other = request_of(9, 5, {}, 20);
  const RequestKey key = rig.add(request), second = rig.add(other);
  rig.finish_all();
  EXPECT_EQ(last_event(rig, key).finish, FinishReason::kError);
  EXPECT_EQ(last_event(rig, key).error, "too ambiguous");
  EXPECT_EQ(tokens_of(rig, second), alone(other));
}

TEST(Logprobs, MinusOneAsksForTheWholeVocabulary) {
  SchedulerRig rig(small_options());
  SamplingParams params;
  for (const std::optional<int> asked :
       {std::optional<int>(), std::optional<int>(0), std::optional<int>(-1)}) {
    params.logprobs = asked;
    rig.add(request_of(3, 1, params));
  }
  const BatchPlan plan = rig.step();
  ASSERT_EQ(plan.samples.size(), 3u);
  EXPECT_EQ(plan.samples[0].num_logprobs, -1);
  EXPECT_EQ(plan.samples[1].num_logprobs, 0);
  EXPECT_EQ(plan.samples[2].num_logprobs, 50);
  rig.finish_all();
}

}  // namespace
}  // namespace octavo
