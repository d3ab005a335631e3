#include "engine/step_watchdog.h"

#include <pthread.h>

#include <chrono>
#include <cstdio>

#include "base/clock.h"

namespace octavo {

std::string describe_step(const BatchPlan& plan) {
  const auto count = [](size_t n, const char* what) {
    return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
  };
  return "step " + std::to_string(plan.step.value) + " (" + count(plan.rows.size(), "row") + ", " +
         count(plan.tokens.size(), "token") + ")";
}

StepWatchdog::StepWatchdog(double timeout_seconds, std::function<void(std::string)> on_hang)
    : timeout_(timeout_seconds), on_hang_(std::move(on_hang)), thread_([this] { run(); }) {
  pthread_setname_np(thread_.native_handle(), "octavo-watchdog");
}

StepWatchdog::~StepWatchdog() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void StepWatchdog::begin(std::shared_ptr<const BatchPlan> step) {
  bool wake;
  {
    std::lock_guard lock(mutex_);
    step_ = std::move(step);
    deadline_ = steady_seconds() + timeout_;
    wake = parked_;
  }
  if (wake) changed_.notify_one();
}

void StepWatchdog::end() {
  std::lock_guard lock(mutex_);
  step_.reset();
}

bool StepWatchdog::fired() const {
  std::lock_guard lock(mutex_);
  return fired_;
}

void StepWatchdog::run() {
  std::unique_lock lock(mutex_);
  while (!fired_) {
    parked_ = true;
    changed_.wait(lock, [this] { return stopping_ || step_; });
    parked_ = false;
    if (stopping_) return;
    const double left = deadline_ - steady_seconds();
    if (left > 0) {
      changed_.wait_for(lock, std::chrono::duration<double>(left), [this] { return stopping_; });
      continue;
    }
    fired_ = true;
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%g s", timeout_);
    const std::string line =
        describe_step(*step_) + " has not ended within " + seconds + " (--step-timeout)";
    lock.unlock();
    on_hang_(line);
    lock.lock();
  }
}

}  // namespace octavo
