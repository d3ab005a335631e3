// Attention: see the header.
#include "nn/attention.h"

#include <cmath>

namespace octavo {

Attention::Attention(Backend& backend, const AttentionOptions& options) : options_(options) {
  if (options_.qk_norm) {
    q_norm_.emplace(backend, options_.head_dim, options_.norm_eps);
    k_norm_.emplace(backend, options_.head_dim, options_.norm_eps);
  }
}

StepTensor Attention::operator()(ForwardContext& ctx, const Tensor& qkv) const {
  const auto group = static_cast<size_t>(options_.group);
  const Shape heads{qkv.dim(0), int64_t{options_.num_heads} * options_.head_dim};
  RopeAndCacheArgs append{.qkv = qkv,
                          .num_q_heads = options_.num_heads,
                          .cache = ctx.caches[group],
                          .layer = options_.layer,
                          .batch = &ctx.batch->groups[group],
                          .rotary_dims = options_.rope ? options_.rope->rotary_dims() : 0,
                          .cos_sin = options_.rope ? options_.rope->cos_sin() : Tensor{},
                          .q_norm = q_norm_ ? q_norm_->weight() : nullptr,
                          .k_norm = k_norm_ ? k_norm_->weight() : nullptr,
                          .norm_eps = static_cast<float>(options_.norm_eps)};
  const bool in_one = !narrows(ctx) && ctx.backend->appends_in_attention(append);
  StepTensor q;
  if (!in_one) {
    q = ctx.allocate(heads);
    append.q_out = q;
    ctx.backend->rope_and_cache(append);
  }
  const AttentionBatch* batch = append.batch;
  if (narrows(ctx)) {
    batch = &ctx.batch->wanted_groups[group];
    if (batch->num_rows == 0) return {};
    q = rows_of(ctx, std::move(q));
  }
  StepTensor out = ctx.allocate({batch->num_tokens, heads[1]});
  ctx.backend->attention({.q = q,
                          .num_q_heads = options_.num_heads,
                          .cache = ctx.caches[group],
                          .layer = options_.layer,
                          .batch = batch,
                          .scale = 1.0f / std::sqrt(static_cast<float>(options_.head_dim)),
                          .out = out,
                          .append = in_one ? &append : nullptr});
  return out;
}

StepTensor Attention::rows_of(ForwardContext& ctx, StepTensor x) const {
  if (!narrows(ctx)) return x;
  const Tensor& all = x;
  StepTensor wanted = ctx.allocate(all.dtype, {ctx.batch->logit_rows.dim(0), all.dim(1)});
  ctx.backend->gather_rows({.x = all, .rows = ctx.batch->logit_rows, .out = wanted});
  return wanted;
}

void Attention::for_each_parameter(const std::string& prefix, const ParameterVisitor& visit) const {
  if (q_norm_) q_norm_->for_each_parameter(prefix + "q_norm.", visit);
  if (k_norm_) k_norm_->for_each_parameter(prefix + "k_norm.", visit);
}

}  // namespace octavo
