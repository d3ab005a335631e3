// ForwardContext: all that a model sees of the world while it runs one step: a backend, the batch's metadata
// and the KV caches. A model never sees the scheduler or who owns a block. Worker thread.
#pragma once

#include <vector>

#include "ops/backend.h"

namespace octavo {

// One step's rows as the device reads them. Built by ModelRunner from a BatchPlan.
struct Batch {
  Tensor tokens;                       // [T] int32, resolved
  Tensor positions;                    // [T] int32
  std::vector<AttentionBatch> groups;  // one per cache group; row_begin, kv_len, positions are shared
  Tensor logit_rows;                   // [L] int32: tokens whose logits are wanted
  int num_tokens() const { return static_cast<int>(tokens.dim(0)); }
};

struct ForwardContext {
  Backend* backend = nullptr;
  const Batch* batch = nullptr;
  std::vector<KvCache*> caches;        // one per group
  DType activation = DType::kF32;

  Tensor allocate(Shape shape) { return backend->allocate(activation, shape); }
};

}  // namespace octavo
