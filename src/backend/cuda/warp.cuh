// What the lanes of a warp do together. Called by whole warps.
#pragma once

#include <cstdint>

namespace octavo::cuda {

// Over the four lanes of a quad, or over kLanes neighbours, a power of two: every lane gets the
// result. The two add in different orders, so that their sums round differently.
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
template <int kLanes = 32>
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

// Transposes an 8 x 8 matrix of 16-bit values, of which lane 4 g + t holds columns 2 t and 2 t + 1
// of row g.
__device__ __forceinline__ uint32_t transpose8x8(uint32_t pair) {
  uint32_t transposed;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(pair));
  return transposed;
}

}  // namespace octavo::cuda
