// linear on the CPU (ops/linear.h): picks the kernels, cuts the work, runs it on the pool's
// threads. Bit for bit, a row's result is the same whatever the other rows and the number of
// threads are (linear_problem.h). All arithmetic is float32, but AMX, which serves bfloat16
// weights only, rounds x to bfloat16 first.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "backend/cpu/isa.h"
#include "backend/cpu/linear_problem.h"
#include "backend/cpu/thread_pool.h"
#include "ops/linear.h"

namespace octavo::cpu {

// Memory that linear() needs during a call; grows to the largest call and stays. One call at a
// time.
class LinearScratch {
 public:
  // 64-byte aligned; contents are lost from call to call.
  std::byte* reserve(size_t bytes);

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

// The kernels for a weight of this dtype: AMX has some for bfloat16 only.
const LinearKernels& linear_kernels(Isa isa, WeightFormat format);

void linear(Isa isa, ThreadPool& pool, LinearScratch& scratch, const LinearArgs& args);
// The same with given kernels, for tests and benchmarks.
void linear(const LinearKernels& kernels, ThreadPool& pool, LinearScratch& scratch,
            const LinearArgs& args);

}  // namespace octavo::cpu
