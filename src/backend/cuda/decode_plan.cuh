// The plan of a decode step: what plan_decode() writes into the workspace and the kernels of
// decode_attention.cu and decode_prefix.cu read.
//
// Work comes in tiles of 64 tokens at multiples of 64 of the position. An item is a row and a KV
// head (all query heads of the group together); its tiles are the row's tokens, less those outside
// the window or in a shared prefix. All tiles of all items, in the order of (row, head, tile), are
// one sequence, which is cut into slices of equal length, one per CTA: slice c is [begin(c),
// begin(c + 1)). So only the first and the last item of a slice can be cut; each leaves a partial
// result, and the CTA that arrives last sums the partial results in order.
//
// The shared prefixes are a second sequence of the same kind. Its items are (group, KV head, query
// tile), a query tile being the query heads of as many members as fit 128 rows.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "backend/cuda/decode_attention.h"

namespace octavo::cuda::decode {

inline constexpr int kTileTokens = 64;
inline constexpr int kQueryTile = 128;

struct Tuning {
  int ctas_per_sm = 1;
  int stage_bytes = 104 * 1024;
  int min_tiles = 2;
};
inline Tuning tuning;

// A sequence of tiles cut into slices of equal length.
struct Cut {
  int32_t tiles = 0;
  int32_t ctas = 0;

  __host__ __device__ int begin(int cta) const {
    return static_cast<int>(int64_t{tiles} * cta / ctas);
  }
  // The CTA whose slice holds `tile`.
  __host__ __device__ int owner(int tile) const {
    return static_cast<int>(((int64_t{tile} + 1) * ctas - 1) / tiles);
  }
};

struct PlanHeader {
  Cut rows;
  Cut prefixes;
  int32_t num_groups;
};

struct alignas(16) RowPlan {
  int32_t begin, end;   // the tokens to read; 0, 0 for padding
  int32_t first_tile;   // of the row's first head, in the sequence
  int32_t block_begin;  // into PagedRows::blocks
  int32_t token;        // of q and out
  int32_t group;        // of shared prefixes; -1: none
  int32_t member;       // of the group
  int32_t unused;

  __host__ __device__ int base() const { return begin / kTileTokens; }  // the first tile's number
  __host__ __device__ int tiles() const { return (end + kTileTokens - 1) / kTileTokens - base(); }
};

// Where a CTA begins. `tiles` 0: nothing to do.
struct alignas(16) CtaPlan {
  int32_t tiles;
  int32_t row, head, tile;  // tile of the item
  RowPlan first;            // the plan of `row`
};

struct alignas(16) GroupPlan {
  int32_t prefix_len;
  int32_t tiles;        // of an item
  int32_t query_tiles;  // items per KV head
  int32_t block_begin;  // of the first member
  int32_t member_begin;
  int32_t num_members;
  int32_t first_item;
  int32_t first_tile;  // in the sequence of the prefixes
};

// Unnormalised results of part of a softmax: slots of `rows` query rows. m is the maximum of the
// scores in units of log 2, l the sum of 2^(score - m), o that of 2^(score - m) v.
struct Partials {
  float* o = nullptr;    // [slots, rows, head_dim]
  float2* ml = nullptr;  // [slots, rows]
  int rows = 0;
};

struct Workspace {
  PlanHeader* header;
  CtaPlan* ctas;      // [row_ctas]
  int32_t* arrivals;  // [row_ctas]: of the item that is cut at the end of slice c
  GroupPlan* groups;  // [kMaxGroups]
  RowPlan* rows;      // [max_rows + 1]
  Partials cut;       // slot c: the item that began before slice c; row_ctas + c: the one that ends
                      // after it
  Partials prefix;    // slot item + c: the part of `item` in slice c
};

struct GridSizes {
  int row_ctas;
  int prefix_ctas;
};
GridSizes grid_sizes();  // of the current device, read once

struct WorkspaceShape {
  int max_rows, num_q_heads, num_kv_heads, head_dim;
};
// The parts of a workspace at `base`; returns its size.
size_t carve_workspace(void* base, const WorkspaceShape& shape, Workspace* workspace);

inline bool prefixes_served(const PagedLayer& layer, int num_q_heads,
                            const SharedPrefixes& prefixes) {
  return prefixes.capacity > 0 && layer.window == 0 && num_q_heads <= 16 * layer.num_kv_heads &&
         (layer.head_dim == 64 || layer.head_dim == 128);
}
// Members whose query heads share a query tile.
__host__ __device__ inline int members_per_tile(int heads_per_kv_head) {
  return kQueryTile / heads_per_kv_head;
}

// decode_prefix.cu: fills workspace.prefix. The kernel behind it may start its work at once, and
// waits for this one where it reads the result.
void attend_prefixes(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                     const SharedPrefixes& prefixes, const AttentionCall& call,
                     const Workspace& workspace);

}  // namespace octavo::cuda::decode
