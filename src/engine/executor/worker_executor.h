// WorkerExecutor: one worker thread that launches a ModelRunner's steps in order. The engine thread
// submits ahead and waits for results; the worker parks when it has nothing to do.
#pragma once

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
};

class WorkerExecutor : public Executor {
 public:
  WorkerExecutor(std::unique_ptr<StepRunner> runner, int max_in_flight);
  ~WorkerExecutor() override;  // finishes the steps submitted, then joins

  void submit(std::shared_ptr<const BatchPlan> plan) override;
  void sample(StepId step, StepMasks masks) override;
  StepResult wait() override;
  int max_in_flight() const override { return max_in_flight_; }

 private:
  void run();
  StepResult launch(const BatchPlan& plan);

  std::unique_ptr<StepRunner> runner_;
  const int max_in_flight_;
  std::mutex mutex_;
  std::condition_variable work_ready_;     // worker waits: a plan, masks, or the end
  std::condition_variable step_launched_;  // engine waits
  std::deque<std::shared_ptr<const BatchPlan>> plans_;
  std::deque<StepMasks> masks_;
  std::deque<StepResult> launched_;  // empty results: status says whether there is one to collect
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace octavo
