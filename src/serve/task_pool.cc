#include "serve/task_pool.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"

namespace octavo::serve {

namespace {

// A tenth of the processor time of those beside it, where there is not enough for all.
constexpr int kBackgroundNice = 10;

// On Linux a thread has a nice value of its own, which only goes up without privileges.
void yield_to_others() {
  const int nice = std::min(getpriority(PRIO_PROCESS, gettid()) + kBackgroundNice, 19);
  if (setpriority(PRIO_PROCESS, gettid(), nice) != 0)
    log_warning("serve", "cannot lower the priority of a thread");
}

}  // namespace

TaskPool::TaskPool(int threads, Priority priority) : priority_(priority) {
  for (int i = 0; i < std::max(threads, 1); ++i) threads_.emplace_back([this] { work(); });
}

void TaskPool::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (ending_) return;
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
}

void TaskPool::join() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void TaskPool::work() {
  if (priority_ == Priority::kBackground) yield_to_others();
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // what it holds is freed outside the lock
    lock.lock();
  }
}

}  // namespace octavo::serve
