// The norm in front of a product of skinny_kernel.cuh: the consumers of a CTA take the root mean
// square of each row of x once, and scale x in the ring, stage by stage, before they multiply.
#pragma once

#include "backend/cuda/numeric.cuh"
#include "backend/cuda/skinny_tile.cuh"
#include "backend/cuda/sm90.cuh"

namespace octavo::cuda::skinny {

// scale[kN] = 1 / rms of each row of x, by all consumers together; 0 for rows that are padding.
// `sums` [warps][kN] is scratch.
template <typename T, typename C>
__device__ void inverse_rms(const Args& args, float* sums, float* scale) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int words = args.k / 8;
  const auto* const x = static_cast<const uint4*>(args.x);
  for (int row = 0; row < args.m; ++row) {
    float sum = 0;
#pragma unroll 4
    for (int i = threadIdx.x; i < words; i += C::kConsumers) {
      float v[8];
      unpack8<T>(__ldcg(x + static_cast<int64_t>(row) * words + i), v);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum += v[e] * v[e];
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (lane == 0) sums[warp * C::kN + row] = sum;
  }
  sm90::named_barrier(1, C::kConsumers);
  if (threadIdx.x < C::kN) {
    float sum = 0;
    for (int w = 0; w < C::kWarps; ++w) sum += sums[w * C::kN + threadIdx.x];
    scale[threadIdx.x] =
        threadIdx.x < args.m ? rsqrtf(sum / static_cast<float>(args.k) + args.norm_eps) : 0;
  }
  sm90::named_barrier(1, C::kConsumers);
}

// Normalises the stage's piece of x in place. It lies as the copy engine left it: rows of 128
// bytes, the 16-byte words of row r permuted by XOR with r % 8. `gain` was loaded ahead by
// load_gain().
template <typename C>
inline constexpr int kNormWords = (C::kBoxes * C::kN * 8 + C::kConsumers - 1) / C::kConsumers;

template <typename C>
__device__ __forceinline__ void load_gain(const Args& args, int k,
                                          float4 (&gain)[kNormWords<C>][2]) {
#pragma unroll
  for (int i = 0; i < kNormWords<C>; ++i) {
    const int word = i * C::kConsumers + threadIdx.x;
    const int column = k + 64 * (word / (8 * C::kN)) + 8 * (word % 8);
    const auto* const from = reinterpret_cast<const float4*>(args.norm_weight + column);
    const bool inside = column < args.k;  // k is a multiple of 8
    gain[i][0] = inside ? __ldg(from) : float4{};
    gain[i][1] = inside ? __ldg(from + 1) : float4{};
  }
}
template <typename T, typename C>
__device__ __forceinline__ void normalise(unsigned char* x, const float* scale,
                                          const float4 (&gain)[kNormWords<C>][2]) {
#pragma unroll
  for (int i = 0; i < kNormWords<C>; ++i) {
    const int word = i * C::kConsumers + threadIdx.x;
    const int box = word / (8 * C::kN), row = word / 8 % C::kN, column = word % 8;
    auto* const at =
        reinterpret_cast<uint4*>(x + box * C::kXBox + row * 128 + 16 * (column ^ (row % 8)));
    if (box >= C::kBoxes) break;
    float v[8];
    unpack8<T>(*at, v);
    const float s = scale[row];
    const float* const g = reinterpret_cast<const float*>(gain[i]);
#pragma unroll
    for (int e = 0; e < 8; ++e) v[e] = v[e] * s * g[e];
    *at = pack8<T>(v);
  }
  sm90::fence_shared_for_async();
  sm90::named_barrier(1, C::kConsumers);
}

}  // namespace octavo::cuda::skinny
