// Both waits (a worker's for the next job, the caller's for the last worker) are the same: spin,
// announce that one parks, look again, sleep in the kernel. The one who ends a wait first changes
// the word and then looks whether anyone has announced. All four accesses are sequentially
// consistent, so either the sleeper sees the change or the waker sees the sleeper.
#include "backend/cpu/thread_pool.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace octavo::cpu {
namespace {

constexpr int64_t kSpinNanoseconds = 40'000;
constexpr int kPausesPerClockRead = 16;

int64_t now_nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{1'000'000'000} * t.tv_sec + t.tv_nsec;
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t while_equal) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, while_equal, nullptr,
          nullptr, 0);
}

void futex_wake_all(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
          nullptr, 0);
}

// True as soon as done() is; false when it has not been for kSpinNanoseconds.
template <typename Done>
bool spin_until(Done done) {
  if (done()) return true;
  const int64_t deadline = now_nanoseconds() + kSpinNanoseconds;
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      pause();
      if (done()) return true;
    }
  } while (now_nanoseconds() < deadline);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  workers_.reserve(threads > 1 ? threads - 1 : 0);
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (...) {
    dispatch(nullptr, nullptr);
    for (std::thread& t : workers_) t.join();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  if (workers_.empty()) return;
  dispatch(nullptr, nullptr);
  for (std::thread& t : workers_) t.join();
}

// A null function ends the workers, and the caller's share is none.
void ThreadPool::dispatch(Function function, void* context) {
  function_ = function;
  context_ = context;
  unfinished_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  job_number_.fetch_add(1, std::memory_order_seq_cst);
  if (parked_workers_.load(std::memory_order_seq_cst) > 0) futex_wake_all(job_number_);

  if (function != nullptr) function(context, 0);

  if (spin_until([&] { return unfinished_.load(std::memory_order_acquire) == 0; })) return;
  caller_parked_.store(1, std::memory_order_seq_cst);
  while (const uint32_t left = unfinished_.load(std::memory_order_seq_cst))
    futex_wait(unfinished_, left);
  caller_parked_.store(0, std::memory_order_relaxed);
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    const auto job_waits = [&] { return job_number_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(job_waits)) {
      parked_workers_.fetch_add(1, std::memory_order_seq_cst);
      while (job_number_.load(std::memory_order_seq_cst) == seen) futex_wait(job_number_, seen);
      parked_workers_.fetch_sub(1, std::memory_order_relaxed);
    }
    ++seen;
    const Function function = function_;
    if (function != nullptr) function(context_, thread);
    if (unfinished_.fetch_sub(1, std::memory_order_seq_cst) == 1 &&
        caller_parked_.load(std::memory_order_seq_cst) != 0) {
      futex_wake_all(unfinished_);
    }
    if (function == nullptr) return;
  }
}

}  // namespace octavo::cpu
