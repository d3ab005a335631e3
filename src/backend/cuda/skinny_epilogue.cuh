// The last step of skinny_kernel.cuh: scale, bias, activation, residual, the store and what the
// next norm wants. The sums lie transposed, [weight rows, rows of x]; 8 x 8 pieces are turned
// inside a warp on their way out.
#pragma once

#include "backend/cuda/activation.cuh"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/skinny_tile.cuh"
#include "backend/cuda/warp.cuh"

namespace octavo::cuda::skinny {

// The residual for finish(), in two parts so that it is on its way while the sums are awaited.
// Lanes hold it as it lies in memory: pairs of neighbours of row x_row + lane / 4.
template <int kCount>
__device__ __forceinline__ void load_residual(const Args& args, uint32_t (&residual)[kCount][2],
                                              int row, int x_row) {
  if (args.residual == nullptr) return;
  const int lane = threadIdx.x % 32, group = lane / 4, pair = 2 * (lane % 4);
#pragma unroll
  for (int i = 0; i < 2 * kCount; ++i) {
    const int across = x_row + 8 * (i / 2) + group;
    const auto* const from =
        static_cast<const uint16_t*>(args.residual) + static_cast<int64_t>(across) * args.n;
    const int column = row - group + 8 * (i % 2) + pair;
    residual[i / 2][i % 2] = across < args.m && column < args.n
                                 ? __ldcg(reinterpret_cast<const uint32_t*>(from + column))
                                 : 0;
  }
}

// next_gain where this lane has its results: two neighbours from 2 (lane % 4), and 8 behind them.
// Apart from finish() for the same reason.
using Gain = float2[2];
__device__ __forceinline__ void load_gain(const Args& args, Gain& gain, int row) {
  if (args.next_gain == nullptr) return;
  const int lane = threadIdx.x % 32, first = row - lane / 4 + 2 * (lane % 4);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int c = first + 8 * half;
    gain[half] = c < args.n ? __ldg(reinterpret_cast<const float2*>(args.next_gain + c)) : float2{};
  }
}

// What the next product wants, of kCount results that lie as they are stored (packed[2 i + half]:
// row x_row + 8 i + lane / 4, two neighbours from column + 8 half + 2 (lane % 4)): out * next_gain,
// and at sums[row] the squares of this warp's 16 columns.
template <typename T, int kCount>
__device__ __forceinline__ void prepare_norm(const Args& args, const uint32_t (&packed)[2 * kCount],
                                             const Gain& gain, int column, int x_row, float* sums) {
  const int lane = threadIdx.x % 32, group = lane / 4, pair = 2 * (lane % 4);
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int row = x_row + 8 * i + group;
    auto* const to = static_cast<uint16_t*>(args.weighted) + static_cast<int64_t>(row) * args.n;
    float sum = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2 y = unpack2<T>(packed[2 * i + half]);  // 0 behind the last column
      sum += y.x * y.x + y.y * y.y;
      const int at = column + 8 * half + pair;
      if (row < args.m && at < args.n) {
        *reinterpret_cast<uint32_t*>(to + at) = pack2<T>(y.x * gain[half].x, y.y * gain[half].y);
      }
    }
    sum = quad_sum(sum);
    if (lane % 4 == 0) sums[row] = sum;
  }
}

// All of it for kCount fragments: 16 weight rows by 8 rows of x each, next to each other along x
// from x_row. v[i] holds sums at weight rows `row` (v[i][0], v[i][1]) and `row` + 8 (v[i][2],
// v[i][3]), as wgmma leaves them. `scale` of each row of x and `sums` (prepare_norm) are by row of
// x, in shared memory, and may be null.
template <typename T, bool kGelu, int kCount>
__device__ __forceinline__ void finish(const Args& args, float (&v)[kCount][4],
                                       const uint32_t (&residual)[kCount][2], const Gain& gain,
                                       int row, int x_row, const float* scale, float* sums) {
  const int lane = threadIdx.x % 32, group = lane / 4, pair = 2 * (lane % 4);
  const bool gated = args.activation == Activation::kSwiGlu;
  const int n = gated ? args.n / 2 : args.n;
  const int column = gated ? (row - group) / 2 : row - group;  // of the fragments in out
  const int across = x_row + group;  // the row of x that this lane has after a transposition
  const int64_t at = static_cast<int64_t>(across) * n;

  if (scale != nullptr) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float2 s = *reinterpret_cast<const float2*>(scale + x_row + 8 * i + pair);
      v[i][0] *= s.x;
      v[i][1] *= s.y;
      v[i][2] *= s.x;
      v[i][3] *= s.y;
    }
  }
  if (args.bias != nullptr) {
    const float upper = row < args.n ? __ldg(args.bias + row) : 0;
    const float lower = row + 8 < args.n ? __ldg(args.bias + row + 8) : 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      v[i][0] += upper;
      v[i][1] += upper;
      v[i][2] += lower;
      v[i][3] += lower;
    }
  }
  if constexpr (kGelu) {
#pragma unroll
    for (int i = 0; i < 4 * kCount; ++i) {
      float& value = v[i / 4][i % 4];
      value = args.activation == Activation::kGelu ? gelu(value) : gelu_tanh(value);
    }
  } else if (gated) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      v[i][0] = silu(v[i][0]) * v[i][2];
      v[i][1] = silu(v[i][1]) * v[i][3];
    }
  }
  if (args.residual != nullptr) {
#pragma unroll
    for (int i = 0; i < 2 * kCount; ++i) {
      const float2 sum = unpack2<T>(transpose8x8(residual[i / 2][i % 2]));
      v[i / 2][2 * (i % 2)] += sum.x;
      v[i / 2][2 * (i % 2) + 1] += sum.y;
    }
  }
  if (args.out_is_float) {
#pragma unroll
    for (int i = 0; i < 4 * kCount; ++i) {
      const int half = i % 4 / 2, to = column + 8 * half + group;
      const int out_row = x_row + 8 * (i / 4) + pair + i % 2;
      if (to < n && out_row < args.m && !(gated && half == 1)) {
        static_cast<float*>(args.out)[static_cast<int64_t>(out_row) * n + to] = v[i / 4][i % 4];
      }
    }
  } else {
    auto* const out = static_cast<uint16_t*>(args.out) + at;
    uint32_t packed[2 * kCount];
#pragma unroll
    for (int i = 0; i < 2 * kCount; ++i) {
      const int half = i % 2;
      packed[i] = transpose8x8(pack2<T>(v[i / 2][2 * half], v[i / 2][2 * half + 1]));
      const int at = column + 8 * half + pair;
      if (across + 8 * (i / 2) < args.m && at < n && !(gated && half == 1)) {
        *reinterpret_cast<uint32_t*>(out + static_cast<int64_t>(8 * (i / 2)) * n + at) = packed[i];
      }
    }
    if (sums != nullptr) prepare_norm<T, kCount>(args, packed, gain, column, x_row, sums);
  }
}

}  // namespace octavo::cuda::skinny
