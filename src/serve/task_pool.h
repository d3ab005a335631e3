// TaskPool: the I/O pool. Threads that parse, tokenise and render for requests, so that the io
// thread never waits for a long prompt. Tasks start in the order they were posted.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace octavo::serve {

class TaskPool {
 public:
  // kBackground: the threads yield the processor to all others of the process.
  enum class Priority { kNormal, kBackground };
  explicit TaskPool(int threads, Priority priority = Priority::kNormal);
  ~TaskPool() { join(); }

  // Any thread. Dropped after join() began.
  void post(std::function<void()> task);
  // Runs what was posted and ends the threads. Idempotent.
  void join();

 private:
  void work();

  const Priority priority_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;  // guarded
  bool ending_ = false;                      // guarded
  std::vector<std::thread> threads_;
};

}  // namespace octavo::serve
