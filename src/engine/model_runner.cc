#include "engine/model_runner.h"

#include <algorithm>

namespace octavo {

ModelRunner::ModelRunner(Backend& backend, Model& model, const std::vector<KvCacheSpec>& caches,
                         DType activation, const SamplerSpec& sampler)
    : backend_(backend),
      model_(model),
      sampler_(backend.make_sampler(sampler)),
      activation_(activation) {
  for (const KvCacheSpec& spec : caches) caches_.push_back(backend.make_kv_cache(spec));
}

Tensor ModelRunner::upload(const std::vector<int32_t>& values) {
  Tensor host{
      const_cast<int32_t*>(values.data()), DType::kI32, {static_cast<int64_t>(values.size())}};
  Tensor staged = backend_.allocate(DType::kI32, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), staged.as<int32_t>());
  return backend_.upload(staged);
}

AttentionBatch ModelRunner::build_group(const BatchPlan& plan, size_t group,
                                        const Tensor& row_begin, const Tensor& kv_len,
                                        const Tensor& positions) {
  const PlanBlockTable& table = plan.tables[group];
  const int block_size = caches_[group]->spec().block_size;
  const auto rows = static_cast<int64_t>(plan.rows.size());
  int64_t width = 1;
  for (int64_t r = 0; r < rows; ++r)
    width = std::max<int64_t>(width, table.begin[r + 1] - table.begin[r]);

  Tensor blocks = backend_.allocate(DType::kI32, {rows, width});
  Tensor slots = backend_.allocate(DType::kI64, {static_cast<int64_t>(plan.tokens.size())});
  AttentionBatch batch;
  batch.num_rows = static_cast<int>(rows);
  batch.num_tokens = static_cast<int>(plan.tokens.size());
  for (int64_t r = 0; r < rows; ++r) {
    const PlanRow& row = plan.rows[r];
    const int32_t* own = table.blocks.data() + table.begin[r];
    const int64_t count = table.begin[r + 1] - table.begin[r];
    int32_t* out = blocks.as<int32_t>() + r * width;
    std::copy(own, own + count, out);
    std::fill(out + count, out + width, -1);
    for (int i = 0; i < row.num_tokens; ++i) {
      const int position = row.start + i;
      slots.as<int64_t>()[row.token_begin + i] =
          int64_t{own[position / block_size]} * block_size + position % block_size;
    }
    batch.max_query_len = std::max(batch.max_query_len, row.num_tokens);
    batch.max_kv_len = std::max(batch.max_kv_len, row.start + row.num_tokens);
  }
  batch.row_begin = batch.host_row_begin = row_begin;
  batch.kv_len = batch.host_kv_len = kv_len;
  batch.positions = positions;
  batch.block_table = backend_.upload(blocks);
  batch.slot_mapping = backend_.upload(slots);
  return batch;
}

void ModelRunner::build_batch(const BatchPlan& plan) {
  Tensor tokens{const_cast<TokenId*>(plan.tokens.data()),
                DType::kI32,
                {static_cast<int64_t>(plan.tokens.size())}};
  batch_ = Batch();
  batch_.tokens = sampler_->resolve_tokens(tokens);

  std::vector<int32_t> positions(plan.tokens.size());
  std::vector<int32_t> row_begin{0};
  std::vector<int32_t> kv_len;
  for (const PlanRow& row : plan.rows) {
    for (int i = 0; i < row.num_tokens; ++i) positions[row.token_begin + i] = row.start + i;
    row_begin.push_back(row.token_begin + row.num_tokens);
    kv_len.push_back(row.start + row.num_tokens);
  }
  batch_.positions = upload(positions);
  const Tensor begin = upload(row_begin);
  const Tensor lengths = upload(kv_len);
  for (size_t g = 0; g < caches_.size(); ++g) {
    batch_.groups.push_back(build_group(plan, g, begin, lengths, batch_.positions));
  }

  // Logits of the sampled rows' last tokens first, then those of prompt positions that were asked
  // for.
  std::vector<int32_t> logit_rows;
  for (const PlanSample& sample : plan.samples) {
    const PlanRow& row = plan.rows[sample.row];
    logit_rows.push_back(row.token_begin + row.num_tokens - 1);
  }
  for (const PlanPromptLogprob& p : plan.prompt_logprobs) logit_rows.push_back(p.token);
  batch_.logit_rows = upload(logit_rows);
}

void ModelRunner::forward(const BatchPlan& plan) {
  backend_.begin_step();
  for (const SlotSetup& setup : plan.setups) sampler_->set_slot(setup);
  build_batch(plan);

  ForwardContext ctx;
  ctx.backend = &backend_;
  ctx.batch = &batch_;
  ctx.activation = activation_;
  for (auto& cache : caches_) ctx.caches.push_back(cache.get());
  const Tensor hidden = model_.forward(ctx);

  result_ = StepResult();
  result_.step = plan.step;
  result_.samples.resize(plan.samples.size());
  result_.prompt_logprobs.resize(plan.prompt_logprobs.size());
  if (batch_.logit_rows.dim(0) == 0) return;
  Tensor wanted = backend_.allocate(activation_, {batch_.logit_rows.dim(0), hidden.dim(1)});
  backend_.gather_rows({.x = hidden, .rows = batch_.logit_rows, .out = wanted});
  logits_ = model_.logits(ctx, wanted);

  if (!plan.prompt_logprobs.empty()) {
    std::vector<PromptLogprobRow> rows;
    for (size_t i = 0; i < plan.prompt_logprobs.size(); ++i) {
      const PlanPromptLogprob& p = plan.prompt_logprobs[i];
      rows.push_back({static_cast<int>(plan.samples.size() + i), p.target, p.num_logprobs});
    }
    sampler_->prompt_logprobs(logits_, rows, result_.prompt_logprobs);
  }
  draw(plan, /*masked=*/false, {});
}

void ModelRunner::draw(const BatchPlan& plan, bool masked, const StepMasks& masks) {
  std::vector<SampleRow> rows;
  std::vector<size_t> index;
  for (size_t i = 0; i < plan.samples.size(); ++i) {
    const PlanSample& sample = plan.samples[i];
    if (sample.needs_mask != masked) continue;
    SampleRow row{plan.rows[sample.row].slot, static_cast<int>(i), {}, sample.num_logprobs};
    if (masked && rows.size() < masks.masks.size()) row.mask = masks.masks[rows.size()];
    rows.push_back(row);
    index.push_back(i);
  }
  if (rows.empty()) return;
  std::vector<SampledToken> drawn(rows.size());
  sampler_->sample(logits_, rows, drawn);
  for (size_t i = 0; i < rows.size(); ++i) result_.samples[index[i]] = std::move(drawn[i]);
}

StepResult ModelRunner::finish(const BatchPlan& plan, const StepMasks& masks) {
  draw(plan, /*masked=*/true, masks);
  return std::move(result_);
}

}  // namespace octavo
