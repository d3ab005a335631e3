// A norm carried from one product to the next (linear_call.h), as cluster_linear.h and
// large_linear.h tell their kernels of it, and the step of the second product that these share.
// Kernels of another type than bfloat16 (norms_fit()) contain none of this.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <type_traits>

#include "backend/cuda/linear_call.h"
#include "backend/cuda/warp.cuh"

namespace octavo::cuda {

struct Norm {
  // The first product: null, or all of these.
  const float* next_gain;
  void* weighted;
  float* squares_out;  // [m, parts_out]
  int parts_out;
  // The second: null, or the sums of squares of rows of `width`.
  const float* squares;  // [m, square_parts]
  int square_parts;
  float eps;
  int width;
};

inline Norm norm_of(const LinearCall& call, int parts_out) {
  return {.next_gain = call.next_gain,
          .weighted = call.weighted,
          .squares_out = call.squares_out,
          .parts_out = parts_out,
          .squares = call.squares,
          .square_parts = call.square_parts,
          .eps = call.norm_eps,
          .width = call.k};
}

template <typename T>
constexpr bool kMayCarry = std::is_same_v<T, __nv_bfloat16>;

__device__ __forceinline__ float sum_of(float v) {
  return v;
}
__device__ __forceinline__ float sum_of(const float4& v) {
  return (v.x + v.y) + (v.z + v.w);
}

// The sum of a row's squares, or 0 for a row from `rows` on, by the four lanes of a quad, each of
// which asks for kAhead words at once. Its order depends on the number of parts alone.
template <typename Word, int kAhead>
__device__ __forceinline__ float row_sum(const Norm& norm, int row, int rows) {
  const int lane = threadIdx.x % 4;
  const int words = norm.square_parts / static_cast<int>(sizeof(Word) / sizeof(float));
  const Word* from = reinterpret_cast<const Word*>(norm.squares) + int64_t{row} * words + lane;
  float sum = 0;
#pragma unroll 1
  for (int left = row < rows ? (words + 3 - lane) / 4 : 0; left > 0; left -= kAhead) {
    Word v[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) v[i] = i < left ? __ldcg(from + 4 * i) : Word{};
    from += 4 * kAhead;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) sum += sum_of(v[i]);
  }
  return quad_sum(sum);
}

// 1 / rms of a row below `rows`, in all lanes of the quad. The kernel before has written the
// squares.
template <int kAhead>
__device__ __forceinline__ float row_scale(const Norm& norm, int row, int rows) {
  const bool aligned =
      norm.square_parts % 4 == 0 && reinterpret_cast<uintptr_t>(norm.squares) % sizeof(float4) == 0;
  const float sum =
      aligned ? row_sum<float4, kAhead>(norm, row, rows) : row_sum<float, kAhead>(norm, row, rows);
  return rsqrtf(sum / static_cast<float>(norm.width) + norm.eps);
}

}  // namespace octavo::cuda
