// FinishedSteps: how a scripted StepRunner hands the results of finish(), on the worker thread, to
// collect(), on the engine's.
#pragma once

#include <deque>
#include <mutex>
#include <utility>

#include "engine/batch_plan.h"

namespace octavo {

class FinishedSteps {
 public:
  void push(StepResult result) {
    const std::lock_guard lock(mutex_);
    results_.push_back(std::move(result));
  }
  // The oldest. REQUIRES: there is one.
  StepResult pop() {
    const std::lock_guard lock(mutex_);
    StepResult result = std::move(results_.front());
    results_.pop_front();
    return result;
  }

 private:
  std::mutex mutex_;
  std::deque<StepResult> results_;  // guarded by mutex_
};

}  // namespace octavo
