// Linear, NormedLinear, Embedding and LmHead: the modules that own large matrices. Each makes its
// weight in the backend's layout when it is built, and fills it through the parameters that it
// lists. Worker thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nn/context.h"
#include "nn/norm.h"
#include "nn/parameter.h"

namespace octavo {

struct LinearOptions {
  bool bias = false;
  Activation activation = Activation::kNone;  // kSwiGlu: the first half of the rows is the gate
  bool transposed = false;                    // the checkpoint holds [in, out] (GPT-2's Conv1D)
};

// The states between the blocks of a model, [T, hidden]. Where the backend carries the norm that
// comes next (ops/linear.h), also what the product behind it needs.
struct Hidden {
  StepTensor x;
  StepTensor weighted, squares;
};

class NormedLinear;

// y = act(x W^T + b) + residual, W [out, in]. W may be fused from several tensors of the
// checkpoint, whose rows follow each other: {{"q_proj", 4096}, {"k_proj", 1024}, {"v_proj", 1024}}
// is one matrix product.
class Linear {
 public:
  struct Part {
    std::string name;  // in the checkpoint, before ".weight" and ".bias"
    int64_t rows = 0;  // output features
  };

  Linear(Backend& backend, DType dtype, int64_t in_features, std::vector<Part> parts,
         LinearOptions options = {});

  // x [T, in] to [T, out] ([T, out / 2] with kSwiGlu). residual [T, out], optional.
  StepTensor operator()(ForwardContext& ctx, const Tensor& x, const Tensor& residual = {}) const;
  // The same, for `next` to go on with (unless it is null).
  Hidden operator()(ForwardContext& ctx, const Tensor& x, const Tensor& residual,
                    const NormedLinear* next) const;
  void for_each_parameter(const std::string& prefix, const ParameterVisitor& visit) const;

 private:
  friend class NormedLinear;
  LinearArgs arguments(const Tensor& x, const Tensor& residual) const;
  StepTensor run(ForwardContext& ctx, LinearArgs args) const;
  Parameter weight_parameter(std::string name, int64_t first, int64_t rows) const;

  std::vector<Part> parts_;
  LinearOptions options_;
  std::unique_ptr<LinearWeight> weight_;
  std::unique_ptr<VectorWeight> bias_;
  // Held while loading where a part does not begin at a multiple of 64 rows: LinearWeight promises
  // concurrent writes only for blocks of 64.
  std::unique_ptr<std::mutex> load_mutex_;
};

// A product of what an RmsNorm gives.
class NormedLinear {
 public:
  NormedLinear(Backend& backend, DType dtype, double norm_eps, int64_t in_features,
               std::vector<Linear::Part> parts, LinearOptions options = {});

  // hidden [T, in] to [T, out] ([T, out / 2] with kSwiGlu).
  StepTensor operator()(ForwardContext& ctx, const Hidden& hidden) const;

  const RmsNorm& norm() const { return norm_; }
  const Linear& linear() const { return linear_; }

 private:
  RmsNorm norm_;
  Linear linear_;
};

// A table of vectors, [entries, hidden]: tokens or learned positions.
class Embedding {
 public:
  Embedding(Backend& backend, DType dtype, int64_t entries, int64_t hidden);

  // The vectors of the batch's tokens, [T, hidden], plus those of its positions if a table is
  // given.
  StepTensor operator()(ForwardContext& ctx, const Embedding* positions = nullptr) const;
  // `name` is the table's: "model.embed_tokens.weight".
  void for_each_parameter(const std::string& name, const ParameterVisitor& visit) const;
  const std::shared_ptr<LinearWeight>& weight() const { return weight_; }

 private:
  std::shared_ptr<LinearWeight> weight_;
};

// Hidden states to logits, with a matrix of its own or the embedding's.
class LmHead {
 public:
  // With `tied`, the head is the embedding's own table; otherwise a matrix of the same shape and
  // dtype.
  LmHead(Backend& backend, const Embedding& embedding, bool tied);

  // Logits of each row of hidden [R, hidden]: [R, vocab] float32, valid until the next
  // begin_step().
  Tensor operator()(ForwardContext& ctx, const Tensor& hidden) const;
  // Visits nothing when tied.
  void for_each_parameter(const std::string& name, const ParameterVisitor& visit) const;

 private:
  std::shared_ptr<LinearWeight> weight_;
  bool tied_ = false;
};

}  // namespace octavo
