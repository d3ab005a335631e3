// ThreadPool: the threads that one backend's ops are spread over. The calling thread works too, as
// thread 0; the others wait for it between ops. A waiting thread spins for some tens of
// microseconds, which covers the gap between two ops of a step, and then parks on a futex: an idle
// engine costs nothing, and a thread that lost its core is not kept from it by one that only waits.
//
// Concurrency: one thread at a time may call run() or parallel_for(); they do not nest.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/rounding.h"

namespace octavo::cpu {

class ThreadPool {
 public:
  // Starts `threads` - 1 workers; throws std::system_error when the system has no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(thread) once on every thread, for thread in [0, size()); returns when all are done.
  template <typename F>
  void run(F&& fn) {
    if (workers_.empty()) {
      fn(0);
      return;
    }
    using Callable = std::remove_reference_t<F>;
    dispatch([](void* f, int thread) { (*static_cast<Callable*>(f))(thread); },
             const_cast<void*>(static_cast<const void*>(&fn)));
  }

  // Cuts [0, n) into one contiguous range a thread, each but the last a multiple of `grain`, and
  // calls fn(begin, end, thread) for those that are not empty. Work of one grain or less stays on
  // the caller.
  template <typename F>
  void parallel_for(int64_t n, int64_t grain, F&& fn) {
    if (n <= 0) return;
    const int64_t units = divide_up(n, grain);
    const int64_t parts = units < size() ? units : size();
    if (parts == 1) {
      fn(int64_t{0}, n, 0);
      return;
    }
    run([&](int thread) {
      if (thread >= parts) return;
      const int64_t begin = units * thread / parts * grain;
      const int64_t end = thread + 1 == parts ? n : units * (thread + 1) / parts * grain;
      fn(begin, end, thread);
    });
  }

 private:
  using Function = void (*)(void* context, int thread);
  void dispatch(Function function, void* context);
  void work(int thread);

  std::vector<std::thread> workers_;
  // The job; written before job_number_ is, read after.
  Function function_ = nullptr;
  void* context_ = nullptr;

  alignas(64) std::atomic<uint32_t> job_number_{0};
  std::atomic<uint32_t> parked_workers_{0};
  alignas(64) std::atomic<uint32_t> unfinished_{0};
  std::atomic<uint32_t> caller_parked_{0};
};

}  // namespace octavo::cpu
