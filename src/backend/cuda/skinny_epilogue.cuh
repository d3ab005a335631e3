// The last step of skinny_kernel.cuh: bias, activation, residual and the store. The sums lie
// transposed, [weight rows, rows of x]; 8 x 8 pieces are turned inside a warp on their way out.
#pragma once

#include "backend/cuda/activation.cuh"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/skinny_tile.cuh"

namespace octavo::cuda::skinny {

// Transposes an 8 x 8 matrix of 16-bit values held by a warp, lane l holding columns 2 (l % 4) and
// the next of row l / 4.
__device__ __forceinline__ uint32_t transpose8x8(uint32_t pair) {
  uint32_t transposed;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(pair));
  return transposed;
}

// Two neighbours of a row of 16-bit values; what lies at or behind `end` reads as 0, and is not
// written.
__device__ __forceinline__ uint32_t load_pair(const uint16_t* row, int at, int end, bool aligned) {
  if (aligned) return at < end ? __ldcg(reinterpret_cast<const uint32_t*>(row + at)) : 0;
  const uint32_t low = at < end ? __ldcg(row + at) : 0;
  const uint32_t high = at + 1 < end ? __ldcg(row + at + 1) : 0;
  return low | high << 16;
}
__device__ __forceinline__ void store_pair(uint16_t* row, int at, int end, bool aligned,
                                           uint32_t pair) {
  if (aligned) {
    if (at < end) *reinterpret_cast<uint32_t*>(row + at) = pair;
  } else {
    if (at < end) row[at] = static_cast<uint16_t>(pair);
    if (at + 1 < end) row[at + 1] = static_cast<uint16_t>(pair >> 16);
  }
}

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
    residual[i / 2][i % 2] = across < args.m ? load_pair(from, row - group + 8 * (i % 2) + pair,
                                                         args.n, args.pairs_aligned)
                                             : 0;
  }
}

// Bias, activation, residual and the store of kCount fragments: 16 weight rows by 8 rows of x each,
// next to each other along x from x_row. v[i] holds sums at weight rows `row` (v[i][0], v[i][1])
// and `row` + 8 (v[i][2], v[i][3]), as wgmma leaves them.
template <typename T, bool kGelu, int kCount>
__device__ __forceinline__ void finish(const Args& args, float (&v)[kCount][4],
                                       const uint32_t (&residual)[kCount][2], int row, int x_row) {
  const int lane = threadIdx.x % 32, group = lane / 4, pair = 2 * (lane % 4);
  const bool gated = args.activation == Activation::kSwiGlu;
  const int n = gated ? args.n / 2 : args.n;
  const int column = gated ? (row - group) / 2 : row - group;  // of the fragments in out
  const int across = x_row + group;  // the row of x that this lane has after a transposition
  const int64_t at = static_cast<int64_t>(across) * n;

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
#pragma unroll
    for (int i = 0; i < 2 * kCount; ++i) {
      const int half = i % 2;
      const uint32_t packed = transpose8x8(pack2<T>(v[i / 2][2 * half], v[i / 2][2 * half + 1]));
      if (across + 8 * (i / 2) < args.m && !(gated && half == 1)) {
        store_pair(out + static_cast<int64_t>(8 * (i / 2)) * n, column + 8 * half + pair, n,
                   args.pairs_aligned, packed);
      }
    }
  }
}

}  // namespace octavo::cuda::skinny
