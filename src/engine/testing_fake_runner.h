// FakeRunner: the device of the engine loop's tests. It takes the time it is told to, fails the
// step it is told to, hangs in or has no memory for the step it is told to, and draws the lowest
// token that the mask allows, or 7 without a mask.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/out_of_memory.h"
#include "engine/executor/worker_executor.h"
#include "engine/testing_finished_steps.h"

namespace octavo {

class FakeRunner : public StepRunner {
 public:
  explicit FakeRunner(double seconds = 0) : seconds_(seconds) {}

  void forward(const BatchPlan& plan) override {
    forwards_started.fetch_add(1);
    if (plan.step.value == too_large_step) throw OutOfMemory(64 << 20, "device memory");
    const double seconds = seconds_ + seconds_per_token * static_cast<double>(plan.tokens.size());
    if (seconds <= 0) return;
    computing = true;
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    computing = false;
  }

  void finish(const BatchPlan& plan, const StepMasks& masks) override {
    StepResult result;
    result.step = plan.step;
    if (plan.step.value == fail_step || (lost_ && device_is_lost))
      result.status = device_is_lost ? unavailable("op: the fake device is lost")
                                     : internal_error("op: the fake device failed");
    lost_ |= !result.status.ok();
    size_t next_mask = 0;
    for (const PlanSample& sample : plan.samples) {
      SampledToken token;
      token.token = 7;
      if (sample.needs_mask) {
        const std::vector<uint32_t>& mask = masks.masks[next_mask++];
        token.token = 0;
        while (!(mask[token.token / 32] >> (token.token % 32) & 1)) ++token.token;
      }
      result.samples.push_back(token);
    }
    result.prompt_logprobs.resize(plan.prompt_logprobs.size());
    finished_.push(std::move(result));
  }

  StepResult collect() override {
    StepResult result = finished_.pop();
    std::unique_lock lock(mutex_);
    answers_.wait(lock, [&] { return result.step.value != hang_step || released_; });
    return result;
  }

  // Ends the hang. Any thread.
  void release() {
    std::lock_guard lock(mutex_);
    released_ = true;
    answers_.notify_all();
  }

  static inline std::atomic<int> forwards_started{0};
  static inline std::atomic<bool> computing{false};
  // To be set before the first step.
  int64_t fail_step = -1;
  bool device_is_lost = false;  // the failed step, and all after it
  int64_t hang_step = -1;
  int64_t too_large_step = -1;  // there is no memory for it
  double seconds_per_token = 0;

 private:
  double seconds_;
  bool lost_ = false;
  FinishedSteps finished_;
  std::mutex mutex_;
  std::condition_variable answers_;
  bool released_ = false;  // guarded by mutex_
};

}  // namespace octavo
