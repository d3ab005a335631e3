// What the benchmarks of CUDA kernels share: device memory with random contents, and work that is
// recorded in a graph, replayed and timed. A CUDA call that fails ends the program.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "backend/cuda/launch.h"

namespace bench {

inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
  std::exit(1);
}

// False if a launch of the backend has failed since the last call; says which one.
inline bool launches_ok() {
  const octavo::cuda::DeviceError error = octavo::cuda::take_error();
  if (error.code == cudaSuccess) return true;
  std::fprintf(stderr, "%s: %s\n", error.op, cudaGetErrorString(error.code));
  return false;
}

// Random operands: constant bits would draw less power and flatter the figures.
enum class Spread { kNormal, kUniform };  // N(0, scale²), U(±scale)

__device__ inline float uniform(uint64_t i) {  // in (0, 1)
  i = (i + 1) * 0x9E3779B97F4A7C15;
  i = (i ^ (i >> 30)) * 0xBF58476D1CE4E5B9;
  i = (i ^ (i >> 27)) * 0x94D049BB133111EB;
  return (static_cast<float>((i ^ (i >> 31)) >> 40) + 0.5f) * 0x1p-24f;
}
static __global__ void fill_kernel(__nv_bfloat16* to, size_t count, Spread spread, float scale,
                                   uint64_t seed) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x) {
    const uint64_t draw = (seed << 40) + 2 * i;
    const float u = uniform(draw), v = uniform(draw + 1);
    const bool normal = spread == Spread::kNormal;
    to[i] = __float2bfloat16(scale * (normal ? sqrtf(-2 * logf(u)) * cospif(2 * v) : 2 * u - 1));
  }
}
// Other numbers with every call. On the default stream.
inline void fill(__nv_bfloat16* to, size_t count, Spread spread, float scale) {
  static uint64_t seed = 0;
  fill_kernel<<<1024, 256>>>(to, count, spread, scale, seed++);
  check(cudaGetLastError());
}

// Device memory, given back all at once.
class Memory {
 public:
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    for (void* block : blocks_) cudaFree(block);
  }

  void* take(size_t bytes) {
    void* block = nullptr;
    check(cudaMalloc(&block, bytes));
    blocks_.push_back(block);
    return block;
  }
  void* zeroed(size_t bytes) {
    void* const block = take(bytes);
    check(cudaMemset(block, 0, bytes));
    return block;
  }
  __nv_bfloat16* random(size_t count, Spread spread, float scale) {
    auto* const block = static_cast<__nv_bfloat16*>(take(count * sizeof(__nv_bfloat16)));
    fill(block, count, spread, scale);
    return block;
  }
  template <typename Value>
  Value* copy(const std::vector<Value>& values) {
    const size_t bytes = values.size() * sizeof(Value);
    void* const block = take(bytes);
    check(cudaMemcpy(block, values.data(), bytes, cudaMemcpyHostToDevice));
    return static_cast<Value*>(block);
  }

 private:
  std::vector<void*> blocks_;
};

// Work on a stream, recorded once. What it mentions must live as long.
class Recording {
 public:
  template <typename Work>
  Recording(cudaStream_t stream, Work&& work) : stream_(stream) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    work();
    check(cudaStreamEndCapture(stream, &graph));
    check(cudaGraphInstantiate(&graph_, graph, 0));
    check(cudaGraphDestroy(graph));
    check(cudaEventCreate(&begin_));
    check(cudaEventCreate(&end_));
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaGraphExecDestroy(graph_);
  }

  // Microseconds of one replay: after two to warm up, the median of `samples` of `replays` each.
  double median_us(int samples = 5, int replays = 1) const {
    time_us(2);
    std::vector<double> times;
    for (int i = 0; i < samples; ++i) times.push_back(time_us(replays) / replays);
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }
  // Microseconds of one replay: after one to warm up, the mean over about `seconds`.
  double mean_us(double seconds) const {
    const int replays = std::max(1, static_cast<int>(seconds * 1e6 / time_us(1)));
    return time_us(replays) / replays;
  }

 private:
  double time_us(int replays) const {
    check(cudaEventRecord(begin_, stream_));
    for (int i = 0; i < replays; ++i) check(cudaGraphLaunch(graph_, stream_));
    check(cudaEventRecord(end_, stream_));
    check(cudaEventSynchronize(end_));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_));
    return 1e3 * milliseconds;
  }

  cudaStream_t stream_;
  cudaGraphExec_t graph_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace bench
