// Tests of what the result of a step becomes: ends of answers, log-probabilities, failures, masks.
#include <algorithm>
#include <numeric>

#include "engine/scheduler.h"
#include "engine/scheduling_policy.h"
#include "engine/testing_scheduler_requests.h"

namespace octavo {
namespace {

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

// Makes the answer say 7, 8, 9, 7, 8, 9, … and be complete after `last` tokens.
class Circle : public TokenMasker {
 public:
  explicit Circle(int last) : last_(last) {}
  void accept(TokenId) override { ++count_; }
  bool ended() const override { return count_ == last_; }
  void fill(std::span<uint32_t> mask) override { mask[0] |= 1u << (7 + count_ % 3); }

 private:
  const int last_;
  int count_ = 0;
};

Request circle(SamplingParams params, int last = -1) {
  params.repetition_detection = {.max_pattern_size = 4, .min_count = 3};
  Request request = request_of(9, 30, params);
  request.make_masker = [last] { return std::make_unique<Circle>(last); };
  return request;
}

TEST(Repetition, EndsAnAnswerThatGoesInCirclesWithItsLastToken) {
  SchedulerRig rig(small_options());
  const RequestKey key = rig.add(circle({}));
  rig.finish_all();
  EXPECT_EQ(tokens_of(rig, key).size(), 9u);
  EXPECT_EQ(last_event(rig, key).finish, FinishReason::kRepetition);
  EXPECT_FALSE(last_event(rig, key).hide_token);
}

TEST(Repetition, IsNotAskedForUnlessTheRequestDoes) {
  SchedulerRig rig(small_options());
  Request request = circle({});
  auto params = std::make_shared<SamplingParams>(*request.params);
  params->repetition_detection.reset();
  request.params = params;
  const RequestKey key = rig.add(request);
  rig.finish_all();
  EXPECT_EQ(last_event(rig, key).finish, FinishReason::kLength);
}

TEST(Repetition, EndsNothingBeforeMinTokensAndIsStillKnownThen) {
  SchedulerRig rig(small_options());
  const RequestKey key = rig.add(circle({.min_tokens = 11}));
  rig.finish_all();
  EXPECT_EQ(tokens_of(rig, key).size(), 11u);
  EXPECT_EQ(last_event(rig, key).finish, FinishReason::kRepetition);
}

TEST(Repetition, ComesAfterEveryOtherReason) {
  SchedulerRig rig(small_options());
  const RequestKey stop = rig.add(circle({.stop_token_ids = {9}, .min_tokens = 9}));
  const RequestKey complete = rig.add(circle({}, 9));
  Request short_one = circle({});
  short_one.max_tokens = 9;
  const RequestKey length = rig.add(short_one);
  rig.finish_all();
  EXPECT_EQ(last_event(rig, stop).finish, FinishReason::kStop);
  EXPECT_EQ(last_event(rig, complete).finish, FinishReason::kStop);
  EXPECT_EQ(last_event(rig, length).finish, FinishReason::kLength);
  for (const RequestKey key : {stop, complete, length}) EXPECT_EQ(tokens_of(rig, key).size(), 9u);
}

TEST(Repetition, OfARequestThatComesFromAnotherEngineCountsWhatItHasDrawn) {
  SchedulerRig rig(small_options());
  Request request = circle({});
  request.progress.answers = {{{7, 8, 9, 7, 8}, false}};
  const RequestKey key = rig.add(request);
  rig.finish_all();
  EXPECT_EQ(last_event(rig, key).finish, FinishReason::kRepetition);
  EXPECT_EQ(tokens_of(rig, key), (std::vector<TokenId>{9, 7, 8, 9}));
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

}  // namespace
}  // namespace octavo
