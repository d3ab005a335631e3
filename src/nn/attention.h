// Attention over the paged KV cache: from the fused projection of queries, keys and values to the
// heads' outputs. Rotation, the optional norms of q and k, and the write into the cache are one op.
// Worker thread.
#pragma once

#include <optional>
#include <string>

#include "nn/norm.h"
#include "nn/rope.h"

namespace octavo {

struct AttentionOptions {
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int layer = 0;               // within its cache group
  int group = 0;               // cache group
  bool last = false;           // of all layers: narrows (Batch::wanted_groups)
  const Rope* rope = nullptr;  // outlives the module; null: positions are not rotated in
  bool qk_norm = false;        // RMS norm of each head of q and k (Qwen3)
  double norm_eps = 1e-6;
};

class Attention {
 public:
  Attention(Backend& backend, const AttentionOptions& options);

  // qkv [T, (heads + 2 kv_heads) * head_dim] to [T, heads * head_dim], of the wanted tokens alone
  // where the last layer narrows; not defined if none is. The scale is head_dim^-1/2; the sliding
  // window, if any, is the cache group's.
  StepTensor operator()(ForwardContext& ctx, const Tensor& qkv) const;
  // Of x [T, n] the rows of the tokens that the above has computed.
  StepTensor rows_of(ForwardContext& ctx, StepTensor x) const;
  void for_each_parameter(const std::string& prefix, const ParameterVisitor& visit) const;

 private:
  bool narrows(const ForwardContext& ctx) const { return options_.last && ctx.batch->narrows(); }

  AttentionOptions options_;
  std::optional<RmsNorm> q_norm_, k_norm_;
};

}  // namespace octavo
