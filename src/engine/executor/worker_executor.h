// WorkerExecutor: one worker thread that launches a ModelRunner's steps in order. The engine thread
// submits ahead and waits for results. Where no step has been in flight for a while the worker
// prepares later ones, in pieces, for one of which a step that arrives may have to wait; it parks
// when nothing is left to do.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/executor/executor.h"

namespace octavo {

// What a worker does with a step; ModelRunner behind a seam, so that tests can put a fake device
// there. forward() and finish() launch the halves of a step, on the worker thread; collect() waits
// for the oldest step that was finished, on the engine's, perhaps while the worker launches
// another.
class StepRunner {
 public:
  virtual ~StepRunner() = default;
  virtual void forward(const BatchPlan& plan) = 0;
  virtual void finish(const BatchPlan& plan, const StepMasks& masks) = 0;
  virtual StepResult collect() = 0;
  // A short piece of work that makes later steps faster. False: there is no more, now and for good.
  // On the worker thread, while every step submitted has been collected.
  virtual bool prepare() { return false; }
};

class WorkerExecutor : public Executor {
 public:
  // Longer than a client takes that sends one request after the other.
  static constexpr std::chrono::milliseconds kIdleTime{10};

  // Prepares steps after `idle_time` without one.
  WorkerExecutor(std::unique_ptr<StepRunner> runner, int max_in_flight,
                 std::chrono::milliseconds idle_time = kIdleTime);
  ~WorkerExecutor() override;  // finishes the steps submitted, then joins

  void submit(std::shared_ptr<const BatchPlan> plan) override;
  void sample(StepId step, StepMasks masks) override;
  StepResult wait() override;
  int max_in_flight() const override { return max_in_flight_; }

 private:
  void run();
  std::shared_ptr<const BatchPlan> next_plan();
  bool prepare();
  StepResult launch(const BatchPlan& plan);
  StepResult collect(StepId step);

  std::unique_ptr<StepRunner> runner_;
  const int max_in_flight_;
  const std::chrono::milliseconds idle_time_;
  std::mutex mutex_;                       // guards all below
  std::condition_variable work_ready_;     // worker waits: a plan, masks, idle time, or the end
  std::condition_variable step_launched_;  // engine waits
  std::deque<std::shared_ptr<const BatchPlan>> plans_;
  std::deque<StepMasks> masks_;
  std::deque<StepResult> launched_;  // empty results: status says whether there is one to collect
  int in_flight_ = 0;                // submitted and not yet read
  bool prepared_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace octavo
