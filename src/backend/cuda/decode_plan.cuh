// The plan of a decode step: what plan_decode() writes into the workspace and the kernels of
// decode_attention.cu and decode_prefix.cu read.
//
// Work comes in tiles of 64 tokens at multiples of 64 of the position. An item is a row and a KV
// head (all query heads of the group together); its tiles are the row's tokens, less those outside
// the window or in a shared prefix. All tiles of all items, in the order of (row, head, tile), are
// one sequence, which is cut into slices of equal length, one per CTA: slice c is [begin(c),
// begin(c + 1)). So only the first and the last item of a slice can be cut. The CTA in whose slice
// an item begins finishes it: the others send partial results, at the beginning of their slices,
// and it adds them to its own in order, at the end of its slice. It waits for them there; they
// waited for nobody before, so the kernel cannot hang even where not all CTAs fit the GPU at once
// (CTAs start in the order of their numbers). Where slices of whole items are hardly longer, each
// begin(c) is moved back to the beginning of an item, and nothing is cut.
//
// The shared prefixes are a second sequence of the same kind. Its items are (group, KV head, query
// tile), a query tile being the query heads of as many members as fit 128 rows.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "backend/cuda/decode_attention.h"
#include "backend/cuda/driver.h"

namespace octavo::cuda::decode {

inline constexpr int kTileTokens = 64;
inline constexpr int kQueryTile = 128;

inline constexpr int kPieceTokens = 8;  // what one copy brings
inline constexpr int kPieces = kTileTokens / kPieceTokens;

// Divides token positions by the block size, exactly for positions below 2^32 / divisor (and for
// powers of two always).
struct Divider {
  uint32_t divisor, inverse;

  Divider() : Divider(16) {}
  explicit Divider(int d)
      : divisor(static_cast<uint32_t>(d)),
        inverse(static_cast<uint32_t>(((uint64_t{1} << 32) + divisor - 1) / divisor)) {}
  __device__ int quotient(int n) const {
    return static_cast<int>(__umulhi(static_cast<uint32_t>(n), inverse));
  }
  __device__ int remainder(int n, int quotient) const {
    return n - quotient * static_cast<int>(divisor);
  }
};

// A sequence of tiles cut into slices of equal length, the first few of them one tile longer.
struct Cut {
  int32_t tiles = 0;
  int32_t ctas = 0;

  __device__ int begin(int cta) const { return cta * (tiles / ctas) + min(cta, tiles % ctas); }
  // The CTA whose slice holds `tile`.
  __device__ int owner(int tile) const {
    const int shorter = tiles / ctas, num_longer = tiles % ctas;
    const int behind_longer = tile - num_longer * (shorter + 1);
    return behind_longer < 0 ? tile / (shorter + 1) : num_longer + behind_longer / shorter;
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

  __host__ __device__ int base() const { return begin / kTileTokens; }  // the first tile's number
  __host__ __device__ int tiles() const { return (end + kTileTokens - 1) / kTileTokens - base(); }
};

// Where a CTA begins. `tiles` 0: nothing to do.
struct alignas(16) CtaPlan {
  int32_t tiles;
  int32_t row, head, tile;  // tile of the item
  RowPlan first;            // the plan of `row`
  int32_t blocks[kPieces];  // where the pieces of the first tile lie
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

// Unnormalised results of part of a softmax. m is the maximum of the scores in units of log 2, l
// the sum of 2^(score - m), o that of 2^(score - m) v.
struct Partials {
  float* o;    // [slots, kQueryTile, head_dim]
  float2* ml;  // [slots, kQueryTile]
};

// The same from one CTA to another of the same kernel, by mail (mail.cuh), four dims at a time: a
// head's parts follow each other, and each has m and l of its own. Zero between kernels.
struct Mail {
  float4* o;   // [row_ctas, heads * head_dim / 4]
  float2* ml;  // [row_ctas, heads * head_dim / 4]
};

struct Workspace {
  Mail mail;  // from CTA c: of the item that began before slice c; first, so always in one place
  PlanHeader* header;
  CtaPlan* ctas;      // [row_ctas]
  GroupPlan* groups;  // [kMaxGroups]
  RowPlan* rows;      // [max_rows + 1]
  Partials prefix;    // slot item + c: the part of `item` in slice c
};

// The decode kernel's CTAs per SM: two hide each other's waits, but halve the slices, which is a
// loss where there are few items.
inline int ctas_per_sm(int num_rows, int num_kv_heads) {
  return num_rows * num_kv_heads > 2 * multiprocessors() ? 2 : 1;
}

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
