// A norm carried from one product to the next (linear_call.h), as cluster_kernel.cuh does it. What
// that costs hides behind the products: the gains of the next norm are on their way meanwhile, and
// the scales of this one are computed by warps that would idle.
#pragma once

#include <cstdint>

#include "backend/cuda/warp.cuh"

namespace octavo::cuda::cluster {

constexpr int kMostColumns = 224;  // of a tile

struct Norm {
  // The first product: null, or all of these.
  const float* next_gain;
  void* weighted;
  float* squares_out;  // [m, parts_out]: the parts of all CTAs, then zeros
  int parts_out;
  // The second: null, or the sums of squares of rows of `width`.
  const float* squares;  // [m, square_parts]
  int square_parts;
  float eps;
  int width;
};

__device__ __forceinline__ float sum_of(float v) {
  return v;
}
__device__ __forceinline__ float sum_of(const float4& v) {
  return (v.x + v.y) + (v.z + v.w);
}

// The sum of a row's squares, by four lanes that ask for as many parts together as there may be
// CTAs of one kernel. Its order depends on their number alone.
template <typename Word>
__device__ __forceinline__ float row_sum(const Norm& norm, int row, int rows) {
  constexpr int kAhead = 9;
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

// scale[rows] = 1 / rms of each row; by `threads` threads, whole warps, of which this is number
// `thread`.
__device__ __forceinline__ void compute_scales(const Norm& norm, int rows, int thread, int threads,
                                               float* scale) {
  const bool aligned =
      norm.square_parts % 4 == 0 && reinterpret_cast<uintptr_t>(norm.squares) % sizeof(float4) == 0;
  for (int first = 0; first < rows; first += threads / 4) {
    const int row = first + thread / 4;
    const float sum = aligned ? row_sum<float4>(norm, row, rows) : row_sum<float>(norm, row, rows);
    if (thread % 4 == 0 && row < rows) {
      scale[row] = rsqrtf(sum / static_cast<float>(norm.width) + norm.eps);
    }
  }
}

// Part `own` of the squares of `row` and `row` + 8, of which four lanes have each some. With the
// last part go the zeros behind it.
__device__ __forceinline__ void store_squares(const Norm& norm, const float2& squares, int own,
                                              bool is_last, int row, int rows) {
  const int lane = threadIdx.x % 4, part = own + lane;
  const float upper = quad_sum(squares.x), lower = quad_sum(squares.y);
  if (lane != 0 && !(is_last && part < norm.parts_out)) return;
  float* const to = norm.squares_out + int64_t{row} * norm.parts_out + part;
  if (row < rows) *to = lane == 0 ? upper : 0;
  if (row + 8 < rows) to[int64_t{8} * norm.parts_out] = lane == 0 ? lower : 0;
}

}  // namespace octavo::cuda::cluster
