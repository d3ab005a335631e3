// ForwardContext: all that a model sees of the world while it runs one step: a backend, the batch's
// metadata and the KV caches. A model never sees the scheduler or who owns a block. Worker thread.
//
// Every module returns its result as a StepTensor, whose memory goes back to the step when the
// handle goes: in `x = down(ctx, gate_up(ctx, norm(ctx, x)), x)` each intermediate is free for the
// next layer, so a step needs the memory of one layer, not of all. The ops of a step run in order,
// so reuse needs no waiting.
#pragma once

#include <utility>
#include <vector>

#include "base/rounding.h"
#include "ops/backend.h"

namespace octavo {

// One step's rows as the device reads them. Built by ModelRunner from a BatchPlan.
struct Batch {
  Tensor tokens;     // [T] int32, resolved
  Tensor positions;  // [T] int32
  // One per cache group. Only block_begin, slot_mapping and shared_prefixes differ between them.
  std::vector<AttentionBatch> groups;
  Tensor logit_rows;  // [L] int32: tokens whose logits are wanted; not defined: all, in order
  // One per cache group, or none: logit_rows as rows of one token each. Where there are such, the
  // last layer computes nothing but keys and values of the other tokens, since nobody reads more.
  std::vector<AttentionBatch> wanted_groups;
  int num_tokens() const { return static_cast<int>(tokens.dim(0)); }
  bool narrows() const { return !wanted_groups.empty(); }
};

struct ForwardContext;

// Owns one activation until it goes out of scope. Keep it with `auto`: a `Tensor` made from a
// temporary would outlive its memory. Must not outlive the context.
class StepTensor {
 public:
  StepTensor() = default;
  StepTensor(ForwardContext* ctx, Tensor tensor, Tensor block)
      : ctx_(ctx), tensor_(tensor), block_(block) {}
  StepTensor(StepTensor&& other) noexcept
      : ctx_(std::exchange(other.ctx_, nullptr)), tensor_(other.tensor_), block_(other.block_) {}
  StepTensor& operator=(StepTensor&& other) noexcept {
    std::swap(ctx_, other.ctx_);
    std::swap(tensor_, other.tensor_);
    std::swap(block_, other.block_);
    return *this;
  }
  inline ~StepTensor();

  operator const Tensor&() const { return tensor_; }  // NOLINT(google-explicit-constructor)
  bool defined() const { return tensor_.defined(); }
  // The tensor, whose memory now stays taken until the next begin_step().
  Tensor release() && {
    ctx_ = nullptr;
    return tensor_;
  }

 private:
  ForwardContext* ctx_ = nullptr;
  Tensor tensor_;
  Tensor block_;  // the whole allocation, which may be larger
};

struct ForwardContext {
  Backend* backend = nullptr;
  const Batch* batch = nullptr;
  std::vector<KvCache*> caches;  // one per group
  DType activation = DType::kF32;
  std::vector<Tensor> free_blocks;  // of this step, given back by StepTensors

  // Not initialised. The smallest free block that is large enough, or new memory of the step.
  StepTensor allocate(Shape shape) { return allocate(activation, shape); }
  StepTensor allocate(DType dtype, Shape shape) {
    const auto unit = static_cast<int64_t>(size_of(activation));
    const int64_t count = divide_up(shape.count() * static_cast<int64_t>(size_of(dtype)), unit);
    auto best = free_blocks.end();
    for (auto it = free_blocks.begin(); it != free_blocks.end(); ++it) {
      if (it->count() >= count && (best == free_blocks.end() || it->count() < best->count()))
        best = it;
    }
    Tensor block;
    if (best == free_blocks.end()) {
      block = backend->allocate(activation, {count});
    } else {
      block = *best;
      free_blocks.erase(best);
    }
    Tensor tensor = block;
    tensor.dtype = dtype;
    tensor.shape = shape;
    return {this, tensor, block};
  }
};

StepTensor::~StepTensor() {
  if (ctx_ != nullptr) ctx_->free_blocks.push_back(block_);
}

}  // namespace octavo
