// ModelRunner: turns a BatchPlan into one forward pass and drawn tokens. It owns what lives on the
// device: the model's inputs, KV caches, the sampler's state rows.
//
// A step has two halves: forward() computes logits and draws every row that needs no mask; finish()
// draws the others. Both only launch work where the device is asynchronous, and are called by a
// worker thread; collect() waits for the oldest finished step, on another thread.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/batch_plan.h"
#include "models/model.h"
#include "ops/backend.h"

namespace octavo {

class ModelRunner {
 public:
  // `caches`: one per group of model.kv_groups(), at most 16, complete specs. `model` was built on
  // `backend`; both outlive the runner. Throws std::bad_alloc.
  ModelRunner(Backend& backend, Model& model, const std::vector<KvCacheSpec>& caches,
              DType activation, const SamplerSpec& sampler);

  void forward(const BatchPlan& plan);
  void finish(const BatchPlan& plan, const StepMasks& masks);
  // REQUIRES: finish() was called for a step not yet collected.
  StepResult collect();

  // Brings the next size of decode steps, the smallest first, nearer to being recorded: makes one
  // step of padding rows alone, which read and write neither caches nor slots, and waits for it.
  // False: nothing is left to record, or the device failed. Worker thread. REQUIRES: every step was
  // collected.
  bool prepare();

 private:
  // Tokens being drawn, and where in the result they go.
  struct Draw {
    std::unique_ptr<PendingTokens> tokens;
    std::vector<size_t> index;
  };
  struct PendingStep {
    StepId step;
    Status status;  // of the launches
    size_t num_samples = 0;
    std::vector<Draw> draws;
    std::unique_ptr<PendingTokens> prompt_logprobs;
    size_t num_prompt_logprobs = 0;
  };

  void build_batch(const BatchPlan& plan, int rows);
  void build_rows(const BatchPlan& plan, int rows, int tokens);
  void build_wanted(const BatchPlan& plan);
  void build_tables(const BatchPlan& plan, int rows, int tokens);
  bool build_shared_prefixes(const BatchPlan& plan, size_t group, int rows);
  Tensor run_model();
  void run_or_replay();
  void draw(const BatchPlan& plan, bool masked, const StepMasks& masks);
  Tensor stage(const std::vector<int32_t>& values);
  void note_launch_errors();

  Backend& backend_;
  Model& model_;
  std::vector<std::unique_ptr<KvCache>> caches_;
  std::unique_ptr<Sampler> sampler_;
  DType activation_;
  const int max_rows_;

  // Of the step in progress.
  Tensor staged_tokens_;
  Batch batch_;
  uint64_t sharing_groups_ = 0;  // bit g: cache group g has shared prefixes
  bool all_rows_drawn_ = false;  // the logits of every token are wanted, in order
  Tensor logits_;                // [samples + prompt logprob rows, vocab]
  PendingStep pending_;
  std::unordered_map<uint64_t, Tensor> recorded_logits_;  // of steps that the backend may replay

  std::mutex mutex_;
  std::deque<PendingStep> finished_;  // guarded by mutex_
};

}  // namespace octavo
