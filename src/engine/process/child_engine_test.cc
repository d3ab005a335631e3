// Tests of the engine in a child: what its readers see when the child dies, is told to end, or
// cannot begin.
#include "engine/process/child_engine.h"

#include <gtest/gtest.h>

#include <future>
#include <set>

#include "engine/process/testing_child_rig.h"

namespace octavo {
namespace {

TEST(ChildEngine, NoTokenIsLostOrDoubledWhenTheChildDiesUnderLoad) {
  for (int attempt = 0; attempt < 5; ++attempt) {
    ChildRig rig;
    ASSERT_TRUE(rig.status.ok());
    std::vector<std::shared_ptr<Request>> requests;
    size_t answers = 0;
    for (int i = 0; i < 40; ++i) {
      requests.push_back(request_of(i, 1 + i * 7 % 90, 20 + i * 13 % 80, 1 + i % 3));
      answers += static_cast<size_t>(1 + i % 3);
      rig.engine().add(requests.back());
    }
    for (int kill = 0; kill < ChildEngine::kMaxRestarts; ++kill) {
      rig.wait_for_tokens(rig.tokens_so_far() + 300 + static_cast<size_t>(attempt * 37));
      rig.kill();
    }
    ASSERT_TRUE(rig.wait_for_ends(answers));
    EXPECT_EQ(rig.children, 1 + ChildEngine::kMaxRestarts);
    for (const auto& request : requests) {
      for (int index = 0; index < request->params->n; ++index) {
        const ChildRig::Answer& answer = rig.answers.at({request->key.value, index});
        EXPECT_EQ(answer.tokens, undisturbed(*request, index));
        EXPECT_EQ(answer.finish, FinishReason::kLength) << answer.error;
      }
    }
    EXPECT_TRUE(rig.fault().ok());
  }
}

TEST(ChildEngine, RequestsOutliveADeviceThatIsLost) {
  ChildRig rig;
  std::vector<std::shared_ptr<Request>> requests;
  for (int i = 0; i < 20; ++i) {
    requests.push_back(request_of(i, 10 + i, 150));
    rig.engine().add(requests.back());
  }
  rig.wait_for_tokens(500);
  steps_until_loss = 3;
  ASSERT_TRUE(rig.wait_for_ends(requests.size()));
  EXPECT_EQ(rig.children, 2);
  for (const auto& request : requests) {
    EXPECT_EQ(rig.answers.at({request->key.value, 0}).tokens, undisturbed(*request, 0));
    EXPECT_EQ(rig.answers.at({request->key.value, 0}).error, "");
  }
}

TEST(ChildEngine, PromptLogprobsComeOnceHoweverOftenThePromptIsComputed) {
  ChildRig rig;
  auto request = request_of(1, 300, 50);
  auto params = std::make_shared<SamplingParams>(*request->params);
  params->prompt_logprobs = 0;
  request->params = params;
  rig.engine().add(request);
  rig.kill();  // the prompt takes five steps: mostly amid them
  rig.wait_for_tokens(10);
  rig.kill();
  ASSERT_TRUE(rig.wait_for_ends(1));
  const ChildRig::Answer& answer = rig.answers.at({1, 0});
  EXPECT_EQ(answer.tokens, undisturbed(*request, 0));
  ASSERT_EQ(answer.prompt_positions.size(), 299u);
  for (int i = 0; i < 299; ++i) EXPECT_EQ(answer.prompt_positions[i], i + 1);
}

TEST(ChildEngine, TheChildComputesNoMoreOfAnAnswerThatIsTooLongToHandOn) {
  max_event_bytes = 1000;
  ChildRig rig;
  max_event_bytes = kMaxEventBytes;
  auto request = request_of(1, 50, 200);
  auto params = std::make_shared<SamplingParams>(*request->params);
  params->prompt_logprobs = 0;
  request->params = params;
  rig.engine().add(request);
  ASSERT_TRUE(rig.wait_for_ends(1));
  EXPECT_NE(rig.answers.at({1, 0}).error.find("too many to be handed on"), std::string::npos);
  rig.engine().add(request_of(2, 50, 200));
  ASSERT_TRUE(rig.wait_for_ends(2));
  EXPECT_LT(rig.engine().stats().generation_tokens, 400);
}

TEST(ChildEngine, EndedAnswersAndCancelledRequestsStayEndedAfterAReplay) {
  ChildRig rig;
  rig.engine().add(request_of(1, 20, 400, 2));
  rig.engine().add(request_of(2, 20, 400));
  rig.wait_for_tokens(60);
  rig.engine().finish(RequestKey(1), 0);
  rig.engine().cancel(RequestKey(2));
  rig.kill();
  ASSERT_TRUE(rig.wait_for_ends(1));
  EXPECT_EQ(rig.answers.at({1, 1}).finish, FinishReason::kLength);
  EXPECT_EQ(rig.answers.at({1, 0}).finish, FinishReason::kNone);
  EXPECT_LT(rig.answers.at({1, 0}).tokens.size(), 400u);
  EXPECT_LT(rig.answers.at({2, 0}).tokens.size(), 400u);
  const EngineStats stats = rig.engine().stats();
  EXPECT_EQ(stats.running + stats.waiting, 0);
}

// What inspect() gives, waited for.
std::shared_ptr<const EngineState> inspect(EngineCore& engine) {
  std::promise<std::shared_ptr<const EngineState>> given;
  engine.inspect([&](std::shared_ptr<const EngineState> state) { given.set_value(state); });
  return given.get_future().get();
}

TEST(ChildEngine, ShowsTheStateOfTheChildAndNoneOnceItHasStopped) {
  ChildRig rig;
  constexpr int kRequests = 30;  // more than fit at once
  for (int key = 1; key <= kRequests; ++key) rig.engine().add(request_of(key, 100, 400));
  rig.wait_for_tokens(20);
  const auto state = inspect(rig.engine());
  ASSERT_NE(state, nullptr);
  EXPECT_GE(state->running, 1);
  EXPECT_EQ(state->sequences.size(), static_cast<size_t>(state->running + state->waiting));
  ASSERT_FALSE(state->sequences.empty());
  EXPECT_TRUE(state->sequences[0].running);
  EXPECT_EQ(state->sequences[0].prompt, 100);
  EXPECT_EQ(state->sequences[0].max_output, 400);
  EXPECT_FALSE(state->sequences.back().running);
  ASSERT_EQ(state->cache.size(), 1u);
  EXPECT_EQ(state->cache[0].num_blocks, 200);
  EXPECT_NE(state->cache[0].runs.find('u'), std::string::npos) << state->cache[0].runs;
  rig.engine().stop();
  EXPECT_EQ(inspect(rig.engine()), nullptr);
}

TEST(ChildEngine, TheCachedTokensOfARequestAreThoseOfItsFirstAdmission) {
  ChildRig rig;
  rig.engine().add(request_of(1, 100, 2));
  ASSERT_TRUE(rig.wait_for_ends(1));
  auto same = request_of(2, 100, 200);
  same->prompt = request_of(1, 100, 1)->prompt;
  rig.engine().add(same);
  rig.wait_for_tokens(20);
  rig.kill();
  ASSERT_TRUE(rig.wait_for_ends(2));
  EXPECT_EQ(rig.answers.at({2, 0}).cached, (std::set<int>{96}));
}

TEST(ChildEngine, CountersGrowAcrossChildren) {
  ChildRig rig;
  rig.engine().add(request_of(1, 40, 30));
  ASSERT_TRUE(rig.wait_for_ends(1));
  const EngineStats before = rig.engine().stats();
  EXPECT_EQ(before.generation_tokens, 30);
  EXPECT_EQ(before.prompt_tokens, 40);
  rig.kill();
  rig.engine().add(request_of(2, 10, 5));
  ASSERT_TRUE(rig.wait_for_ends(2));
  const EngineStats after = rig.engine().stats();
  EXPECT_EQ(after.generation_tokens, 35);
  EXPECT_EQ(after.prompt_tokens, 50);
  EXPECT_GT(after.steps, before.steps);
}

TEST(ChildEngine, AChildThatDiesTooOftenIsAFault) {
  ChildRig rig;
  rig.engine().add(request_of(1, 10, 400));
  rig.wait_for_tokens(5);
  rig.stillborn = true;
  rig.kill();
  ASSERT_TRUE(rig.wait_for_fault());
  EXPECT_EQ(rig.fault().code(), StatusCode::kUnavailable);
  EXPECT_NE(rig.fault().message().find("was ended by the test"), std::string::npos);
  EXPECT_EQ(rig.children, 1 + ChildEngine::kMaxRestarts);
  rig.engine().cancel(RequestKey(1));
  EXPECT_EQ(rig.engine().stats().waiting, 0);
}

TEST(ChildEngine, WhatAChildSaysWhileItLoadsIsHandedOn) {
  ChildRig rig;
  EXPECT_EQ(rig.progress, "loading replay");
  ChildRig missing("missing");
  EXPECT_EQ(missing.status.code(), StatusCode::kNotFound);
  EXPECT_EQ(missing.status.message(), "no such model");
}

TEST(ChildEngine, StoppingAmidWorkOrAmidARestartEnds) {
  for (int i = 0; i < 10; ++i) {
    ChildRig rig;
    for (int k = 0; k < 8; ++k) rig.engine().add(request_of(k, 30, 300));
    rig.wait_for_tokens(10);
    if (i % 2) rig.kill();
    rig.engine().stop();
  }
}

}  // namespace
}  // namespace octavo
