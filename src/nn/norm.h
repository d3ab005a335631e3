// RmsNorm and LayerNorm over the last dimension: one float32 vector or two, and an epsilon. Worker
// thread.
#pragma once

#include <memory>
#include <string>

#include "nn/context.h"
#include "nn/parameter.h"

namespace octavo {

class RmsNorm {
 public:
  RmsNorm(Backend& backend, int64_t size, double eps);
  StepTensor operator()(ForwardContext& ctx, const Tensor& x) const;  // [T, size] to the same
  // "model.norm." lists "model.norm.weight".
  void for_each_parameter(const std::string& prefix, const ParameterVisitor& visit) const;
  const VectorWeight* weight() const { return weight_.get(); }
  float eps() const { return eps_; }

 private:
  std::unique_ptr<VectorWeight> weight_;
  float eps_;
};

class LayerNorm {
 public:
  LayerNorm(Backend& backend, int64_t size, double eps);
  StepTensor operator()(ForwardContext& ctx, const Tensor& x) const;
  void for_each_parameter(const std::string& prefix, const ParameterVisitor& visit) const;

 private:
  std::unique_ptr<VectorWeight> weight_, bias_;
  float eps_;
};

}  // namespace octavo
