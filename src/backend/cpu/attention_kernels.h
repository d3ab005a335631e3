// The attention kernels of one instruction set, as attention.cc sees them: plain structs and
// pointers only (rules in vec.h). The cache's layout is told in attention.h.
#pragma once

#include <stdint.h>

namespace octavo::cpu {

constexpr int kSubBlock = 16;  // tokens
constexpr int kTile = 64;      // positions of one step of the online softmax
constexpr int kMaxRows = 64;   // (query token, head) pairs of one task
constexpr int kMaxHeadDim = 512;

enum class KvElement : uint8_t { kF32, kBF16, kF16 };

// One layer of a cache.
struct KvView {
  char* cells = nullptr;  // of block 0, KV head 0
  int64_t cell_bytes = 0;
  int64_t sub_block_bytes = 0;
  int64_t value_offset = 0;  // bytes from a sub-block's K to its V
  int num_kv_heads = 0;
  int block_size = 0;
  int head_dim = 0;
  int value_stride = 0;  // elements
  KvElement element = KvElement::kF32;
};

// Consecutive query tokens of one sequence, and some heads of the group that shares one KV head.
struct AttentionTask {
  const KvView* kv = nullptr;
  const int32_t* blocks = nullptr;  // the sequence's block table
  int kv_head = 0;
  int tokens = 0;  // tokens * heads <= kMaxRows
  int heads = 0;
  int position = 0;  // of the first token
  int window = 0;
  float scale = 1;
  const float* q = nullptr;  // of the first token and head; heads are head_dim apart
  float* out = nullptr;
  int64_t token_stride = 0;  // floats between tokens of q and of out
};

// What one thread needs to run a task, for value_stride S; all 64-byte aligned.
struct AttentionScratch {
  float* q = nullptr;          // [kMaxRows, S] times scale log2(e)
  float* weights = nullptr;    // [kMaxRows, kTile]: scores, then 2^(score - max)
  float* out = nullptr;        // [kMaxRows, S]
  float* lane_sums = nullptr;  // [kMaxRows, 16]
  float* maxima = nullptr;     // [kMaxRows]
  float* keys = nullptr;       // [kTile / 16, S, 16]
  float* values = nullptr;     // [kTile, S]
};

// rope_and_cache for consecutive tokens; strides in floats, null pointers where ops/attention.h
// says optional.
struct RopeTask {
  const KvView* kv = nullptr;
  int num_tokens = 0;
  int num_q_heads = 0;
  int rotary_dims = 0;
  const float* cos_sin = nullptr;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  float eps = 0;
  const int32_t* positions = nullptr;
  const int64_t* slots = nullptr;
  const float* qkv = nullptr;
  float* q_out = nullptr;
};

struct AttentionKernels {
  void (*attend)(const AttentionTask& task, const AttentionScratch& scratch);
  void (*rope_and_cache)(const RopeTask& task);
};

namespace portable {
extern const AttentionKernels kAttentionKernels;
}
namespace avx2 {
extern const AttentionKernels kAttentionKernels;
}
namespace avx512 {
extern const AttentionKernels kAttentionKernels;
}

}  // namespace octavo::cpu
