// A norm carried from one product to the next (linear_call.h), as cluster_kernel.cuh does it. What
// that costs hides behind the products: the gains of the next norm are on their way meanwhile, and
// the scales of this one are computed by warps that would idle.
#pragma once

#include <cstdint>

#include "backend/cuda/carried_norm.cuh"
#include "backend/cuda/warp.cuh"

namespace octavo::cuda::cluster {

constexpr int kMostColumns = 224;  // of a tile

// row_scale()'s kAhead: its four lanes ask together for as many parts as one kernel may have CTAs.
constexpr int kSquaresAhead = 9;

// scale[rows] = 1 / rms of each row; by `threads` threads, whole warps, of which this is number
// `thread`.
__device__ __forceinline__ void compute_scales(const Norm& norm, int rows, int thread, int threads,
                                               float* scale) {
  for (int first = 0; first < rows; first += threads / 4) {
    const int row = first + thread / 4;
    const float of_row = row_scale<kSquaresAhead>(norm, row, rows);
    if (thread % 4 == 0 && row < rows) scale[row] = of_row;
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
