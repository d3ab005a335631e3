// Attention for rows of one token each over the paged KV cache: the decode rows of a step. The cost
// is that of reading the cache, so the cached tokens of all rows are cut into equal slices, one per
// CTA, whatever the lengths. plan_decode() makes the cut on the device once a step; the layers
// share it. Nothing on the host depends on a length: a captured graph serves all lengths.
//
// Rows that begin with the same cached blocks (a shared system prompt) can be declared as groups;
// the common part is then read once for all members, and their results are joined.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cuda/attention_call.h"
#include "backend/cuda/elementwise.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/paged.h"

namespace octavo::cuda {

// Groups of decode rows whose first prefix_len tokens lie in the same blocks. Groups have no row in
// common; rows in no group are ordinary. The arrays are on the device and may change from replay to
// replay of a graph; `capacity` may not.
struct SharedPrefixes {
  static constexpr int kMaxGroups = 8;

  int capacity = 0;                       // at most kMaxGroups; 0: no sharing, no arrays
  const int32_t* num_groups = nullptr;    // [1], at most capacity
  const int32_t* prefix_len = nullptr;    // [capacity], multiples of the block size, less than the
                                          // kv_len of every member
  const int32_t* member_begin = nullptr;  // [capacity + 1], into members
  const int32_t* members = nullptr;       // row numbers below num_decode_rows; none has kv_len 0
};

// The kernels serve 16-bit caches with head_dim 16, 32, 64, 80, 96, 128 or 256 and up to 16 query
// heads per KV head. Sharing is used with head_dim 64 and 128 and without a window; elsewhere
// plan_decode() drops the groups, and every row reads its own.
bool decode_attention_takes(const PagedLayer& layer, int num_q_heads);

// Enough for steps of up to max_rows decode rows (at most kMaxDecodeRows), with or without groups.
// Its first decode_mail_bytes() are zero before the first call. Calls of plan_decode() and
// decode_attention() with one workspace are of one shape, and follow each other on one stream.
inline constexpr int kMaxDecodeRows = 4096;
size_t decode_mail_bytes(int num_q_heads, int num_kv_heads, int head_dim);
size_t decode_workspace_bytes(int max_rows, int num_q_heads, int num_kv_heads, int head_dim);

// Before the first layer of a step; `layer` is any layer of the cache group. The plan is made while
// the kernel before it may still run. REQUIRES: the arrays of `rows` and `prefixes` are there, and
// the workspace is free, when that kernel starts. The next kernel starts when the plan is written,
// so that all behind that one may read it at once. batch_invariant: no row is cut and nothing is
// shared, so that a row's result depends on no other row; few long rows then leave most of the GPU
// idle.
void plan_decode(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                 const SharedPrefixes& prefixes, int num_q_heads, bool batch_invariant,
                 void* workspace);

// Serves rows [0, rows.num_decode_rows), with the plan made for the same rows, prefixes and shape.
// REQUIRES: decode_attention_takes(layer, call.num_q_heads).
// With `append`, first does what rope_and_cache() does to these rows: call.q and append->q_out are
// not used, and a row's last token is at position kv_len - 1, whatever rows.positions and
// rows.slot_mapping say. REQUIRES then: prefixes.capacity is 0.
// `early` (without `append` it changes nothing): the cached tokens are read while the kernel before
// this one may still run. REQUIRES: a kernel lies between plan_decode() and this call; between
// whatever wrote rows.blocks or, last tokens apart, this layer's cache, and this call there is an
// edge at which kernels do not overlap, or that copy_from_host() which wrote rows.blocks.
void decode_attention(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                      const SharedPrefixes& prefixes, const AttentionCall& call,
                      const RopeAndCacheCall* append, bool early, void* workspace);

}  // namespace octavo::cuda
