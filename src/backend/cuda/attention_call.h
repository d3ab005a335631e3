// The part of an attention call that is neither cache nor rows (paged.h): ops/attention.h on plain
// pointers into device memory.
#pragma once

#include "backend/cuda/paged.h"

namespace octavo::cuda {

struct AttentionCall {
  const void* q = nullptr;  // [num_tokens, num_q_heads * head_dim], dtype of the layer's cache
  int num_q_heads = 0;      // a multiple of the layer's num_kv_heads
  float scale = 1;
  void* out = nullptr;  // as q
  // Order of summation that depends on a token's own position only (ops/backend.h, determinism).
  bool batch_invariant = false;
};

}  // namespace octavo::cuda
