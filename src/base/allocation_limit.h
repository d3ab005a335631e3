// AllocationLimit: bounds what a piece of code that we did not write may take, by making `operator
// new` fail on this thread with std::bad_alloc once the code has used up its memory or its CPU
// time. Code that is safe against exceptions then unwinds, whatever loop it was in; nothing else
// can stop a thread from outside. Code that neither allocates nor ends is not bounded.
//
// A program that links this has `operator new` and `operator delete` of allocation_limit.cc, which
// call malloc and free and do nothing else on threads without a limit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo {

// Holds from construction to destruction, on the constructing thread. They nest; the inner one
// counts alone.
class AllocationLimit {
 public:
  // `bytes`: allocated and not yet freed; `cpu_seconds`: of this thread.
  AllocationLimit(int64_t bytes, double cpu_seconds);
  ~AllocationLimit();
  AllocationLimit(const AllocationLimit&) = delete;
  AllocationLimit& operator=(const AllocationLimit&) = delete;

  // Every later allocation fails.
  void exhaust() { exhausted_ = true; }
  bool exhausted() const { return exhausted_; }
  // The innermost of this thread; null: none.
  static AllocationLimit* current();

  // For operator new and delete alone.
  bool take(size_t bytes);
  void charge(size_t bytes) { bytes_left_ -= static_cast<int64_t>(bytes); }
  void give_back(size_t bytes) { bytes_left_ += static_cast<int64_t>(bytes); }

 private:
  // Reading a thread's CPU clock costs as much as some ten allocations, so it is read now and then.
  static constexpr int kAllocationsPerClock = 64;

  void read_clock();

  int64_t bytes_left_;
  const double cpu_seconds_;
  double cpu_end_ = 0;  // by the thread's clock; known once the clock has been read
  int until_clock_ = kAllocationsPerClock;
  bool exhausted_ = false;
  AllocationLimit* const outer_;
};

}  // namespace octavo
