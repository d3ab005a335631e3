// What the plan of prefill attention (prefill_attention.cu) and its kernel (prefill_wgmma.cu)
// share.
//
// A query tile is up to tokens_per_tile consecutive tokens of one row, times `pack` query heads of
// one KV head: tile row m is token m / pack, head m % pack. Packing the heads keeps tiles full when
// a row has few tokens, and lets the heads share the keys they load. An item is a query tile and a
// group of `pack` heads; items are numbered, the groups of a tile next to each other.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "backend/cuda/launch.h"
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
  // The first item that no CTA has taken yet. The last CTA of a call puts it back, and `finished`
  // too, for the next call.
  int next = 0;
  unsigned finished = 0;  // CTAs
  int unused = 0;
  QueryTile tiles[1];  // [count], those with most keys first
};

// A CTA has its first items by its own number, c and c + num_ctas; Plan::next gives the others.
inline constexpr int kItemsAhead = 2;

struct Tiling {
  int rows = 0;  // of a query tile
  int keys = 0;  // of a tile of keys
  int pack = 0;  // heads
  int tokens() const { return rows / pack; }
};
Tiling tiling_of(const PagedLayer& layer, int num_q_heads);

// Tiles of keys begin at multiples of their size. A query tile goes through [first, last]: never
// none, a padding row's tile goes through one of which it sees no key, which makes zeros.
struct KeyTiles {
  int first, last;
};
__device__ __forceinline__ KeyTiles key_tiles(const QueryTile& tile, int window, int tile_keys) {
  const int newest = tile.position + tile.tokens - 1;
  const int oldest = window > 0 ? tile.position - window + 1 : 0;
  return {max(0, oldest) / tile_keys, max(0, newest) / tile_keys};
}

// Parameters of the kernel.
struct Params {
  const void* q = nullptr;  // [num_tokens, num_q_heads, head_dim]
  void* out = nullptr;      // as q
  const int32_t* blocks = nullptr;
  Plan* plan = nullptr;
  int num_tokens = 0;
  int num_q_heads = 0;
  int num_kv_heads = 0;
  int pack = 0;
  int head_dim = 0;
  int block_size = 0;
  int window = 0;
  float scale_log2 = 0;  // scale / ln 2: scores are exponents of 2

  __device__ int head_groups() const { return num_q_heads / pack; }
  __device__ int kv_head(int head_group) const {
    return head_group * pack / (num_q_heads / num_kv_heads);
  }
};

void start_attention(const Launch& on, const PagedLayer& layer, const Params& params,
                     const Tiling& tiling, int num_ctas);

}  // namespace octavo::cuda::prefill
