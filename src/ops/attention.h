// The paged KV cache and the two ops that use it.
//
// rope_and_cache splits the output of the QKV projection, per token t at position p = positions[t]:
//   q, k, v = qkv[t]                            Hq, Hkv, Hkv heads of D
//   q, k = rms_norm per head                    only with q_norm / k_norm (Qwen3), float32 [D]
//   q, k = rotate                               only with rotary_dims > 0, r of them: for i < r/2,
//                                               a = cos(p f_i) and b = sin(p f_i):
//                                               x_i, x_{i+r/2} = x_i a - x_{i+r/2} b,
//                                                                x_{i+r/2} a + x_i b
//                                               ("half" layout of transformers)
//   cache[layer][slot_mapping[t]] = k, v        slot = block * block_size + offset
//   q_out[t] = q
//
// attention:  out[t, h, :] = softmax_j( scale * q[t, h] . k[j, h / (Hq/Hkv)] ) v[j]
//   over the positions j <= p of t's sequence, and j > p - window if window > 0. Row r of the batch
//   owns the tokens [row_begin[r], row_begin[r+1]), which are the last of its kv_len[r] positions;
//   all of their keys are in the cache already. Position j lies in block blocks[block_begin[r] + j
//   / block_size]; entries for blocks wholly outside the window may be -1. A row with kv_len 0 only
//   fills a step up to a fixed size (Backend::padded_rows): its output is 0, and its slot is -1.
//   Precision: scores, softmax and sums in float32. The order of summation over j depends on j
//   only, so a token's result does not depend on the chunk it was computed in.
#pragma once

#include <memory>
#include <vector>

#include "ops/linear.h"
#include "tensor/tensor.h"

namespace octavo {

// One cache group: layers that keep the same tokens.
struct KvCacheSpec {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int block_size = 16;  // a multiple of 16
  int num_blocks = 0;
  int window = 0;  // sliding window in tokens; 0: all positions
  DType dtype = DType::kBF16;
};

// All blocks of a group, in the backend's layout. Blocks are zero before they are first written.
class KvCache {
 public:
  virtual ~KvCache() = default;
  virtual const KvCacheSpec& spec() const = 0;
  virtual size_t bytes() const = 0;
  // Reads back one position as float32, for tests: k or v of [head_dim].
  virtual void read(int layer, int64_t slot, int kv_head, float* k, float* v) const = 0;
};

// Groups of decode rows whose first prefix_len tokens lie in the same blocks, so that a backend may
// read those once for all members. Groups have no row in common.
struct SharedPrefixBatch {
  int capacity = 0;   // 0: no groups, no tensors
  Tensor num_groups;  // [1] int32, at most capacity
  Tensor prefix_len;  // [capacity] int32, multiples of the block size, below every member's kv_len
  Tensor member_begin;  // [capacity + 1] int32, into members
  Tensor members;       // [R] int32, rows
};

// What attention needs to know of the batch; built once a step, shared by all layers of a group.
struct AttentionBatch {
  int num_rows = 0;
  int num_decode_rows = 0;  // the first rows, of one token each; those behind may have more
  int num_tokens = 0;
  int max_query_len = 0;
  int max_kv_len = 0;
  int64_t kv_tokens = 0;  // sum of kv_len
  int64_t scores = 0;     // pairs of a token and a position that it attends to, the window apart
  Tensor row_begin;       // [R + 1] int32
  Tensor kv_len;          // [R] int32, including this step's tokens
  Tensor positions;       // [T] int32
  Tensor block_begin;     // [R + 1] int32, into blocks: where a row's begin
  Tensor blocks;          // int32, of all cache groups
  Tensor slot_mapping;    // [T] int64
  SharedPrefixBatch shared_prefixes;
};

struct RopeAndCacheArgs {
  Tensor qkv;  // [T, (Hq + 2 Hkv) * D]
  int num_q_heads = 0;
  KvCache* cache = nullptr;
  int layer = 0;  // within the group
  const AttentionBatch* batch = nullptr;
  int rotary_dims = 0;  // even, <= D; 0: no rotation
  Tensor cos_sin;       // [max_position, rotary_dims] float32: cos of rotary/2, then sin
  const VectorWeight* q_norm = nullptr;
  const VectorWeight* k_norm = nullptr;
  float norm_eps = 1e-6f;
  Tensor q_out;  // [T, Hq * D]
};

struct AttentionArgs {
  Tensor q;  // [T, Hq * D]
  int num_q_heads = 0;
  const KvCache* cache = nullptr;
  int layer = 0;
  const AttentionBatch* batch = nullptr;
  float scale = 1;
  Tensor out;  // [T, Hq * D]
  // What rope_and_cache() would be called with just before, q_out apart: both ops in one, where the
  // backend asks for that (Backend::appends_in_attention). q is not read then.
  const RopeAndCacheArgs* append = nullptr;
};

}  // namespace octavo
