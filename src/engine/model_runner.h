// ModelRunner: turns a BatchPlan into one forward pass and drawn tokens. It owns what lives on the
// device: backend, model, KV caches, the sampler's state rows. Called by a worker thread only.
//
// A step has two halves: forward() computes logits and draws every row that needs no mask; finish()
// draws the others and yields the result.
#pragma once

#include <memory>
#include <vector>

#include "engine/batch_plan.h"
#include "models/model.h"
#include "ops/backend.h"

namespace octavo {

class ModelRunner {
 public:
  // `caches`: one per group of model->kv_groups(), complete specs. `model` was built on `backend`.
  ModelRunner(Backend& backend, Model& model, const std::vector<KvCacheSpec>& caches,
              DType activation, const SamplerSpec& sampler);

  void forward(const BatchPlan& plan);
  StepResult finish(const BatchPlan& plan, const StepMasks& masks);

 private:
  void build_batch(const BatchPlan& plan);
  AttentionBatch build_group(const BatchPlan& plan, size_t group, const Tensor& shared_row_begin,
                             const Tensor& shared_kv_len, const Tensor& positions);
  void draw(const BatchPlan& plan, bool masked, const StepMasks& masks);
  Tensor upload(const std::vector<int32_t>& values);

  Backend& backend_;
  Model& model_;
  std::vector<std::unique_ptr<KvCache>> caches_;
  std::unique_ptr<Sampler> sampler_;
  DType activation_;
  Batch batch_;
  Tensor logits_;  // [samples + prompt logprob rows, vocab] of the step in progress
  StepResult result_;
};

}  // namespace octavo
