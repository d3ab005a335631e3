// What the two prefill kernels share: the plan of query tiles and a few device functions.
//
// A query tile is up to tokens_per_tile consecutive tokens of one row, times `pack` query heads of
// one KV head: tile row m is token m / pack, head m % pack. Packing the heads keeps tiles full when
// a row has few tokens, and lets the heads share the keys they load. plan_tiles (prefill_attention
// .cu) finds the tiles of all rows on the device and lists the longest first, so that the short
// ones fill the gaps at the end.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "backend/cuda/attention_call.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/paged.h"

namespace octavo::cuda::prefill {

struct alignas(16) QueryTile {
  int first_token = 0;
  int tokens = 0;
  int position = 0;     // of first_token; negative in padding rows
  int kv_len = 0;       // of the row
  int block_begin = 0;  // of the row, into blocks
};

// In the workspace.
struct Plan {
  int count = 0;  // tiles
  // Items (a tile and a group of heads) are numbered; next is the first that no CTA has taken yet.
  // The last CTA of a call puts both back for the next call.
  int next = 0;
  unsigned finished = 0;  // CTAs
  int unused = 0;
  QueryTile tiles[1];  // [count]
};

// Parameters of the kernels.
struct Params {
  const void* q = nullptr;  // [num_tokens, num_q_heads, head_dim]
  const void* keys = nullptr;
  const void* values = nullptr;
  void* out = nullptr;
  const int32_t* blocks = nullptr;
  Plan* plan = nullptr;
  int num_q_heads = 0;
  int num_kv_heads = 0;
  int pack = 0;
  int head_dim = 0;
  int block_size = 0;
  int window = 0;
  float scale_log2 = 0;  // scale / ln 2: scores are exponents of 2
  // Query heads come in groups of `pack`.
  __device__ int head_groups() const { return num_q_heads / pack; }
  __device__ int kv_head(int head_group) const {
    return head_group * pack / (num_q_heads / num_kv_heads);
  }
};

inline int heads_per_tile(int group, int tile_rows) {
  return group <= tile_rows ? group : 1;
}

// prefill_attention.cu: the public calls, for the rows from first_row on and with the kernel that
// `wgmma` says; the tests compare the two.
void make_plan(const Launch& on, const PagedLayer& layer, int num_q_heads, const PagedRows& rows,
               void* workspace, int first_row, bool wgmma);
void attend(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
            const AttentionCall& call, void* workspace, int first_row, bool wgmma);

// A CTA of the wgmma kernel has its first items by its own number; the counter gives the others.
inline constexpr int kItemsAhead = 2;

// prefill_wgmma.cu. Rows of a query tile, 0 where the kernel does not take the layer.
int wgmma_tile_rows(const PagedLayer& layer);
int wgmma_tile_keys(const PagedLayer& layer);
void wgmma_attention(const Launch& on, const PagedLayer& layer, const Params& params,
                     int num_tokens, int blocks);

// prefill_mma.cuh.
inline constexpr int kMmaTileRows = 64;
inline constexpr int kMmaTileKeys = 64;
template <typename T>
void mma_attention(const Launch& on, const Params& params, int max_tiles);

// The tiles of keys [first, last] that a query tile goes through. Never none: a padding row's tile
// goes through one of which it sees no key, which makes zeros.
struct KeyTiles {
  int first, last;
};
__host__ __device__ __forceinline__ KeyTiles key_tiles(const QueryTile& tile, int window,
                                                       int tile_keys) {
  const int newest = tile.position + tile.tokens - 1;
  const int oldest = window > 0 ? tile.position - window + 1 : 0;
  return {(oldest > 0 ? oldest : 0) / tile_keys, (newest > 0 ? newest : 0) / tile_keys};
}

#ifdef __CUDACC__
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// One row's running maximum and sum of exponentials: online softmax. A row lies in the four lanes
// of a quad; `sum` is this lane's part only.
struct OnlineRow {
  float max = -INFINITY;
  float sum = 0;
  // Takes in a new maximum of this lane's scores and returns by how much earlier sums shrink: by
  // exactly nothing if the maximum stays. `offset` is what to subtract from scaled scores.
  __device__ __forceinline__ float raise(float lane_max, float scale_log2, float& offset) {
    float top = fmaxf(max, lane_max);
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
    // While all keys are masked, -inf - -inf must not become NaN.
    const float finite_top = top == -INFINITY ? 0.0f : top;
    offset = finite_top * scale_log2;
    const float shrink = exp2_fast((max - finite_top) * scale_log2);
    max = top;
    sum *= shrink;
    return shrink;
  }
  // 1 / the whole row's sum; 0 for a row without keys.
  __device__ __forceinline__ float inverse_sum() const {
    float total = sum + __shfl_xor_sync(~0u, sum, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    return total > 0 ? 1.0f / total : 0.0f;
  }
};

// Lane q of a quad holds word q of four 16-byte pieces; afterwards it holds the four words of piece
// q.
__device__ __forceinline__ uint4 transpose_in_quad(uint32_t (&w)[4]) {
  const int lane = threadIdx.x & 3;
  const bool odd = lane & 1, high = lane & 2;
  const auto exchange = [](uint32_t& a, uint32_t& b, bool upper, int distance) {
    const uint32_t other = __shfl_xor_sync(~0u, upper ? a : b, distance);
    a = upper ? other : a;
    b = upper ? b : other;
  };
  exchange(w[0], w[1], odd, 1);
  exchange(w[2], w[3], odd, 1);
  exchange(w[0], w[2], high, 2);
  exchange(w[1], w[3], high, 2);
  return {w[0], w[1], w[2], w[3]};
}

// Stores row `half` (0: upper, 1: lower) of accumulators laid out as wgmma's and mma.sync's are,
// times `factor`, where `to` is not null. Called by whole warps.
template <typename T, int kCount>
__device__ __forceinline__ void store_row(T* to, const float (&o)[kCount], int half, float factor,
                                          int head_dim) {
  const int lane = threadIdx.x & 3;
#pragma unroll
  for (int j = 0; j < kCount / 4; j += 4) {
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = 4 * (j + i) + 2 * half;
      words[i] = pack2<T>(o[at] * factor, o[at + 1] * factor);
    }
    const uint4 piece = transpose_in_quad(words);
    const int column = 8 * (j + lane);
    if (to != nullptr && column < head_dim) *reinterpret_cast<uint4*>(to + column) = piece;
  }
}
#endif

}  // namespace octavo::cuda::prefill
