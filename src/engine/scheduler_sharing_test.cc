// Tests of what sequences share, and of what they give back early: equal prefixes, the prompt of
// parallel answers, sliding windows.
#include "engine/scheduler.h"
#include "engine/testing_scheduler_requests.h"

namespace octavo {
namespace {

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
    int told = 0;
    for (const SequenceEvent& event : rig.events) {
      if (event.request == key) told += event.prompt_tokens;
    }
    EXPECT_EQ(told, 22) << "events tell of a prompt once";
  }
}

TEST(Parallel, ThePromptThatSiblingsTakeFromTheCacheIsOneQueryAndNoHit) {
  SchedulerRig rig(synchronous());
  rig.add(request_of(22, 6, {.n = 4}));
  rig.finish_all();
  const SchedulerStats stats = rig.scheduler.stats();
  EXPECT_EQ(stats.prompt_tokens, 22);
  EXPECT_EQ(stats.prefix_queries, 22);
  EXPECT_EQ(stats.prefix_hits, 0) << "more hits than prompt tokens would be none computed";
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

}  // namespace
}  // namespace octavo
