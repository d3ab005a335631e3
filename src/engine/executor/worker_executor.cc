#include "engine/executor/worker_executor.h"

#include <pthread.h>

#include <exception>
#include <new>

#include "base/log.h"
#include "base/out_of_memory.h"

namespace octavo {

WorkerExecutor::WorkerExecutor(std::unique_ptr<StepRunner> runner, int max_in_flight,
                               std::chrono::milliseconds idle_time)
    : runner_(std::move(runner)),
      max_in_flight_(max_in_flight),
      idle_time_(idle_time),
      thread_([this] { run(); }) {
  pthread_setname_np(thread_.native_handle(), "octavo-worker");
}

WorkerExecutor::~WorkerExecutor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_ready_.notify_all();
  thread_.join();
}

void WorkerExecutor::submit(std::shared_ptr<const BatchPlan> plan) {
  {
    std::lock_guard lock(mutex_);
    plans_.push_back(std::move(plan));
    ++in_flight_;
  }
  work_ready_.notify_one();
}

void WorkerExecutor::sample(StepId, StepMasks masks) {
  {
    std::lock_guard lock(mutex_);
    masks_.push_back(std::move(masks));
  }
  work_ready_.notify_one();
}

StepResult WorkerExecutor::wait() {
  StepResult launched;
  {
    std::unique_lock lock(mutex_);
    step_launched_.wait(lock, [this] { return !launched_.empty(); });
    launched = std::move(launched_.front());
    launched_.pop_front();
  }
  if (launched.status.ok()) launched = collect(launched.step);
  bool idle;
  {
    std::lock_guard lock(mutex_);
    idle = --in_flight_ == 0 && !prepared_;
  }
  if (idle) work_ready_.notify_one();
  return launched;
}

StepResult WorkerExecutor::collect(StepId step) {
  try {
    return runner_->collect();
  } catch (const std::bad_alloc& error) {
    StepResult result;
    result.step = step;
    result.status = resource_exhausted(describe(error));
    return result;
  }
}

void WorkerExecutor::run() {
  while (const std::shared_ptr<const BatchPlan> plan = next_plan()) {
    StepResult launched = launch(*plan);
    {
      std::lock_guard lock(mutex_);
      launched_.push_back(std::move(launched));
    }
    step_launched_.notify_one();
  }
}

// Null: the end.
std::shared_ptr<const BatchPlan> WorkerExecutor::next_plan() {
  std::unique_lock lock(mutex_);
  const auto called = [this] { return stopping_ || !plans_.empty(); };
  const auto idle = [this] { return in_flight_ == 0 && !prepared_; };
  auto patience = idle_time_;
  while (!called()) {
    if (!idle()) {
      work_ready_.wait(lock, [&] { return called() || idle(); });
    } else if (!work_ready_.wait_for(lock, patience, called)) {
      lock.unlock();
      const bool more = prepare();
      lock.lock();
      prepared_ = !more;
      patience = {};
    }
  }
  if (plans_.empty()) return nullptr;
  std::shared_ptr<const BatchPlan> plan = std::move(plans_.front());
  plans_.pop_front();
  return plan;
}

bool WorkerExecutor::prepare() {
  try {
    return runner_->prepare();
  } catch (const std::bad_alloc&) {
    log_warning("engine", "no memory to prepare more decode steps");
    return false;
  }
}

StepResult WorkerExecutor::launch(const BatchPlan& plan) {
  // Only running out of memory can throw here; it costs this step's requests and nothing else.
  StepResult result;
  result.step = plan.step;
  try {
    runner_->forward(plan);
  } catch (const std::bad_alloc& error) {
    result.status = resource_exhausted(describe(error));
  }
  StepMasks masks;
  {
    std::unique_lock lock(mutex_);
    work_ready_.wait(lock, [this] { return stopping_ || !masks_.empty(); });
    if (!masks_.empty()) {
      masks = std::move(masks_.front());
      masks_.pop_front();
    }
  }
  if (!result.status.ok()) return result;
  try {
    runner_->finish(plan, masks);
  } catch (const std::bad_alloc& error) {
    result.status = resource_exhausted(describe(error));
  }
  return result;
}

}  // namespace octavo
