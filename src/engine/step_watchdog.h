// StepWatchdog: notices a step that never ends. The engine thread tells it when it begins to wait
// for a step and when it has it; a thread of its own looks whether one is overdue. It parks while
// no step runs, and an armed one sleeps a whole timeout at a time, so that it costs a lock a step.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engine/batch_plan.h"

namespace octavo {

// "step 12 (3 rows, 130 tokens)", for messages.
std::string describe_step(const BatchPlan& plan);

class StepWatchdog {
 public:
  // `on_hang` is called on the watchdog's thread, once, with a line that names the step.
  StepWatchdog(double timeout_seconds, std::function<void(std::string)> on_hang);
  ~StepWatchdog();

  // Engine thread, in turns.
  void begin(std::shared_ptr<const BatchPlan> step);
  void end();
  // Any thread.
  bool fired() const;

 private:
  void run();

  const double timeout_;  // seconds
  const std::function<void(std::string)> on_hang_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const BatchPlan> step_;  // guarded, as below: what is waited for
  double deadline_ = 0;                    // of step_, steady seconds
  bool parked_ = false;
  bool fired_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace octavo
