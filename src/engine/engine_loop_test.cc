// Tests of the loop over a fake device: that host work hides behind the device's, that a mask made
// from token n reaches token n+1 whose forward pass already runs, and that a failed step costs its
// own requests only.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "engine/engine.h"
#include "engine/executor/worker_executor.h"
#include "engine/testing_fake_runner.h"

namespace octavo {
namespace {

constexpr int kVocab = 64;
constexpr double kDeviceSeconds = 2e-3;
constexpr double kHostSeconds = 1e-3;

std::shared_ptr<Request> request_of(int64_t key, int max_tokens, int prompt = 3) {
  auto request = std::make_shared<Request>();
  request->key = RequestKey(key);
  request->prompt = std::make_shared<const std::vector<TokenId>>(
      std::vector<TokenId>(static_cast<size_t>(prompt), static_cast<TokenId>(key % kVocab)));
  auto params = std::make_shared<SamplingParams>();
  params->max_tokens = max_tokens;
  request->params = params;
  request->max_tokens = max_tokens;
  return request;
}

// Runs requests on an engine and keeps every event.
class Harness {
 public:
  Harness(std::unique_ptr<FakeRunner> runner, int depth, double host_seconds = 0,
          double step_timeout = 0, double max_step_seconds = 0)
      : host_seconds_(host_seconds) {
    SchedulerConfig config;
    config.max_num_seqs = 8;
    config.max_model_len = 1024;
    config.vocab_size = kVocab;
    config.max_step_seconds = max_step_seconds;
    engine_ = std::make_unique<Engine>(
        config, std::make_unique<KvManager>(std::vector<CacheGroupSpec>{{512, 0}}, 16, true),
        std::make_unique<WorkerExecutor>(std::move(runner), depth),
        EngineCore::Listener{
            .on_events = [this](std::vector<SequenceEvent> events) { take(std::move(events)); },
            .on_fault = [this](const Status& fault) { take(fault); },
        },
        step_timeout);
  }
  Engine& engine() { return *engine_; }
  std::vector<SequenceEvent> wait_for_ends(int ends) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return ends_ >= ends; });
    return events_;
  }
  // The fault, or ok if none comes within 20 s.
  Status wait_for_fault() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return !fault_.ok(); });
    return fault_;
  }
  // Those whose host work, or a part of it, was done while the device computed.
  std::atomic<int> steps_hidden = 0;

  Status fault() {
    std::lock_guard lock(mutex_);
    return fault_;
  }

 private:
  void take(const Status& fault) {
    std::lock_guard lock(mutex_);
    EXPECT_TRUE(fault_.ok()) << "a fault is told once";
    fault_ = fault;
    changed_.notify_all();
  }
  void take(std::vector<SequenceEvent> events) {
    const double until = steady_seconds() + host_seconds_;
    bool hidden = false;
    while (host_seconds_ > 0 && steady_seconds() < until) hidden |= FakeRunner::computing;
    steps_hidden += hidden;
    std::lock_guard lock(mutex_);
    for (SequenceEvent& e : events) {
      if (e.finish != FinishReason::kNone) ++ends_;
      events_.push_back(std::move(e));
    }
    changed_.notify_all();
  }
  double host_seconds_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SequenceEvent> events_;
  Status fault_;
  int ends_ = 0;
  std::unique_ptr<Engine> engine_;
};

constexpr int kSteps = 150;
int steps_hidden(int depth) {
  Harness harness(std::make_unique<FakeRunner>(kDeviceSeconds), depth, kHostSeconds);
  harness.engine().add(request_of(1, kSteps));
  harness.wait_for_ends(1);
  return harness.steps_hidden;
}

TEST(EngineLoop, HostWorkHidesBehindTheDeviceWhenStepsAreAsynchronous) {
  EXPECT_GE(steps_hidden(2), kSteps / 2) << "all but the last, on a machine that runs all threads";
  EXPECT_EQ(steps_hidden(1), 0) << "one step at a time cannot hide it";
}

// Allows only the token after the last one, so that each draw depends on the one before.
class Successor : public TokenMasker {
 public:
  explicit Successor(std::atomic<int>* ahead) : ahead_(ahead) {}
  void accept(TokenId token) override { last_ = token; }
  void fill(std::span<uint32_t> mask) override {
    // The forward pass of the step that this mask is for begins although the mask does not exist
    // yet. One that does not is waited for once.
    const auto begun = [&] { return FakeRunner::forwards_started.load() > filled_; };
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!begun() && ahead_->load() == filled_ && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
    if (begun()) ahead_->fetch_add(1);
    ++filled_;
    const TokenId next = (last_ + 1) % kVocab;
    mask[next / 32] |= 1u << (next % 32);
  }

 private:
  std::atomic<int>* ahead_;
  TokenId last_ = 9;
  int filled_ = 0;
};

class EngineDepth : public testing::TestWithParam<int> {};

TEST_P(EngineDepth, AMaskMadeFromOneTokenConstrainsTheNext) {
  std::atomic<int> ahead{0};
  FakeRunner::forwards_started = 0;
  Harness harness(std::make_unique<FakeRunner>(1e-3), GetParam());
  auto request = request_of(1, 40);
  request->make_masker = [&ahead] { return std::make_unique<Successor>(&ahead); };
  harness.engine().add(request);
  const auto events = harness.wait_for_ends(1);
  ASSERT_EQ(events.size(), 40u);
  for (size_t i = 0; i < events.size(); ++i)
    EXPECT_EQ(events[i].token.token, static_cast<int>((10 + i) % kVocab));
  if (GetParam() > 1) {
    EXPECT_EQ(ahead.load(), 40) << "masks are filled while the forward pass runs";
  }
}

TEST_P(EngineDepth, AFailedStepEndsItsRequestsAndTheEngineGoesOn) {
  auto runner = std::make_unique<FakeRunner>();
  runner->fail_step = 3;
  Harness harness(std::move(runner), GetParam());
  harness.engine().add(request_of(1, 20));
  auto events = harness.wait_for_ends(1);
  EXPECT_EQ(events.back().finish, FinishReason::kError);
  EXPECT_EQ(events.back().error, "step 3 (1 row, 1 token): op: the fake device failed");
  EXPECT_TRUE(harness.fault().ok()) << "the device still works";
  harness.engine().add(request_of(2, 5));
  events = harness.wait_for_ends(2);
  EXPECT_EQ(events.back().request, RequestKey(2));
  EXPECT_EQ(events.back().finish, FinishReason::kLength);
}

TEST_P(EngineDepth, AStepWithoutMemorySaysWhatRanOutAndWhatToSet) {
  auto runner = std::make_unique<FakeRunner>();
  runner->too_large_step = 3;
  Harness harness(std::move(runner), GetParam());
  harness.engine().add(request_of(1, 20));
  const SequenceEvent last = harness.wait_for_ends(1).back();
  EXPECT_EQ(last.finish, FinishReason::kError);
  EXPECT_EQ(last.error_code, StatusCode::kInternal) << "a 500, as with vLLM: nobody sent too much";
  for (const char* part : {"step 3 (1 row, 1 token): no 64 MiB of device memory left",
                           "--kv-cache-memory-bytes", "--max-num-batched-tokens"}) {
    EXPECT_NE(last.error.find(part), std::string::npos) << part << " in: " << last.error;
  }
  harness.engine().add(request_of(2, 5));
  EXPECT_EQ(harness.wait_for_ends(2).back().finish, FinishReason::kLength);
}

TEST_P(EngineDepth, ALostDeviceIsAFaultThatNamesTheStep) {
  auto runner = std::make_unique<FakeRunner>();
  runner->fail_step = 3;
  runner->device_is_lost = true;
  Harness harness(std::move(runner), GetParam());
  harness.engine().add(request_of(1, 20));
  const Status fault = harness.wait_for_fault();
  EXPECT_EQ(fault.code(), StatusCode::kUnavailable);
  EXPECT_EQ(fault.message(), "step 3 (1 row, 1 token): op: the fake device is lost");
  harness.engine().add(request_of(2, 20));
  EXPECT_EQ(harness.wait_for_ends(2).back().finish, FinishReason::kError) << "one that came late";
}

TEST_P(EngineDepth, AStepThatNeverEndsIsAFaultThatNamesItAndItsSize) {
  auto runner = std::make_unique<FakeRunner>();
  runner->hang_step = 2;
  FakeRunner& device = *runner;
  Harness harness(std::move(runner), GetParam(), 0, /*step_timeout=*/0.05);
  harness.engine().add(request_of(1, 4));
  const Status fault = harness.wait_for_fault();
  EXPECT_EQ(fault.message(),
            "step 2 (1 row, 1 token) has not ended within 0.05 s (--step-timeout)");
  device.release();
  harness.wait_for_ends(1);
}

TEST_P(EngineDepth, WhatWaitsInTheInboxDuringAStepCountsAsWaiting) {
  auto runner = std::make_unique<FakeRunner>();
  runner->hang_step = 0;
  FakeRunner& device = *runner;
  FakeRunner::forwards_started = 0;
  Harness harness(std::move(runner), GetParam());
  harness.engine().add(request_of(1, 4));
  // The engine waits for the first step once it has submitted as many as may be in flight.
  while (FakeRunner::forwards_started < GetParam()) std::this_thread::yield();
  harness.engine().add(request_of(2, 4));
  harness.engine().add(request_of(3, 4));
  const EngineStats stats = harness.engine().stats();
  EXPECT_EQ(stats.running + stats.waiting, 3);
  device.release();
  harness.wait_for_ends(3);
  EXPECT_EQ(harness.engine().stats().waiting, 0);
}

TEST_P(EngineDepth, ManyStepsWithinTheirTimeAreNoFault) {
  Harness harness(std::make_unique<FakeRunner>(1e-3), GetParam(), 0, /*step_timeout=*/0.1);
  for (int round = 0; round < 3; ++round) {
    harness.engine().add(request_of(round, 150));
    ASSERT_EQ(harness.wait_for_ends(round + 1).back().finish, FinishReason::kLength);
    std::this_thread::sleep_for(std::chrono::milliseconds(120));  // idle is not a hang
  }
  EXPECT_TRUE(harness.fault().ok());
}

TEST_P(EngineDepth, TheEngineMeasuresItsStepsAndKeepsThemShortWhileSomebodyDecodes) {
  // A tenth of a second for a thousand tokens: three prompts of 900 beside an answer.
  auto runner = std::make_unique<FakeRunner>(1e-3);
  runner->seconds_per_token = 1e-4;
  Harness harness(std::move(runner), GetParam(), 0, 0, /*max_step_seconds=*/10e-3);
  harness.engine().add(request_of(0, 30));
  harness.wait_for_ends(1);  // it knows by now what a step takes
  const double begin = steady_seconds();
  const int64_t before = harness.engine().stats().steps;
  harness.engine().add(request_of(1, 100));
  for (int i = 2; i < 5; ++i) harness.engine().add(request_of(i, 1, 900));
  harness.wait_for_ends(5);
  const double mean =
      (steady_seconds() - begin) / static_cast<double>(harness.engine().stats().steps - before);
  EXPECT_LE(mean, 12e-3) << "2,700 tokens at once take 270 ms";
  EXPECT_GE(harness.engine().stats().steps - before, 50);
}

TEST_P(EngineDepth, CancelFreesEverythingAndIdleCostsNoTime) {
  Harness harness(std::make_unique<FakeRunner>(1e-3), GetParam());
  const int64_t before = harness.engine().stats().free_kv_blocks;
  for (int i = 0; i < 20; ++i) harness.engine().add(request_of(i, 500));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  for (int i = 0; i < 20; ++i) harness.engine().cancel(RequestKey(i));
  for (int i = 0;
       i < 200 && harness.engine().stats().running + harness.engine().stats().waiting > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const EngineStats stats = harness.engine().stats();
  EXPECT_EQ(stats.running + stats.waiting, 0);
  EXPECT_EQ(stats.free_kv_blocks, before);
  const int64_t steps = stats.steps;
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(harness.engine().stats().steps, steps) << "an idle engine runs no steps";
}

INSTANTIATE_TEST_SUITE_P(Depths, EngineDepth, testing::Values(1, 2), [](const auto& info) {
  return info.param == 1 ? "Synchronous" : "Asynchronous";
});

}  // namespace
}  // namespace octavo
