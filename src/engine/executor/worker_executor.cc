#include "engine/executor/worker_executor.h"

#include <pthread.h>

#include <exception>
#include <new>

namespace octavo {

WorkerExecutor::WorkerExecutor(std::unique_ptr<StepRunner> runner, int max_in_flight)
    : runner_(std::move(runner)), max_in_flight_(max_in_flight), thread_([this] { run(); }) {
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
  return launched.status.ok() ? runner_->collect() : launched;
}

void WorkerExecutor::run() {
  while (true) {
    std::shared_ptr<const BatchPlan> plan;
    {
      std::unique_lock lock(mutex_);
      work_ready_.wait(lock, [this] { return stopping_ || !plans_.empty(); });
      if (plans_.empty()) return;
      plan = std::move(plans_.front());
      plans_.pop_front();
    }
    StepResult launched = launch(*plan);
    {
      std::lock_guard lock(mutex_);
      launched_.push_back(std::move(launched));
    }
    step_launched_.notify_one();
  }
}

StepResult WorkerExecutor::launch(const BatchPlan& plan) {
  // Only running out of memory can throw here; it costs this step's requests and nothing else.
  StepResult result;
  result.step = plan.step;
  try {
    runner_->forward(plan);
  } catch (const std::bad_alloc&) {
    result.status = resource_exhausted("out of memory");
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
  } catch (const std::bad_alloc&) {
    result.status = resource_exhausted("out of memory while sampling");
  }
  return result;
}

}  // namespace octavo
