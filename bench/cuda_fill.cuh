// Random operands for the benchmarks of matrix products. Constant bits would draw less power and
// flatter the figures.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace bench {

__device__ inline float uniform(uint64_t i) {  // in (0, 1)
  i = (i + 1) * 0x9E3779B97F4A7C15;
  i = (i ^ (i >> 30)) * 0xBF58476D1CE4E5B9;
  i = (i ^ (i >> 27)) * 0x94D049BB133111EB;
  return (static_cast<float>((i ^ (i >> 31)) >> 40) + 0.5f) * 0x1p-24f;
}
static __global__ void fill(__nv_bfloat16* to, size_t count, bool normal) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x) {
    const float u = uniform(2 * i), v = uniform(2 * i + 1);
    to[i] = __float2bfloat16(normal ? sqrtf(-2 * logf(u)) * cospif(2 * v) : 2e-3f * u - 1e-3f);
  }
}
// New device memory of `count` elements: N(0, 1), or U(±1e-3) as weights are.
inline __nv_bfloat16* filled(size_t count, bool normal) {
  __nv_bfloat16* data = nullptr;
  if (cudaMalloc(&data, count * 2) != cudaSuccess) std::exit(1);
  fill<<<1024, 256>>>(data, count, normal);
  return data;
}

}  // namespace bench
