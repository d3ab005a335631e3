// RmsNorm and LayerNorm: see the header.
#include "nn/norm.h"

namespace octavo {
namespace {

Parameter vector_parameter(std::string name, VectorWeight* vector, float fill) {
  return {.name = std::move(name),
          .shape = {vector->tensor().dim(0)},
          .load_rows = [vector](int64_t first, const Tensor& src) { vector->load(first, src); },
          .constant = true,
          .fill = fill};
}

}  // namespace

RmsNorm::RmsNorm(Backend& backend, int64_t size, double eps)
    : weight_(backend.make_vector_weight(size)), eps_(static_cast<float>(eps)) {}

StepTensor RmsNorm::operator()(ForwardContext& ctx, const Tensor& x) const {
  StepTensor out = ctx.allocate(x.shape);
  ctx.backend->rms_norm({.x = x, .weight = weight_.get(), .eps = eps_, .out = out});
  return out;
}

void RmsNorm::for_each_parameter(const std::string& prefix, const ParameterVisitor& visit) const {
  visit(vector_parameter(prefix + "weight", weight_.get(), 1));
}

LayerNorm::LayerNorm(Backend& backend, int64_t size, double eps)
    : weight_(backend.make_vector_weight(size)),
      bias_(backend.make_vector_weight(size)),
      eps_(static_cast<float>(eps)) {}

StepTensor LayerNorm::operator()(ForwardContext& ctx, const Tensor& x) const {
  StepTensor out = ctx.allocate(x.shape);
  ctx.backend->layer_norm(
      {.x = x, .weight = weight_.get(), .bias = bias_.get(), .eps = eps_, .out = out});
  return out;
}

void LayerNorm::for_each_parameter(const std::string& prefix, const ParameterVisitor& visit) const {
  visit(vector_parameter(prefix + "weight", weight_.get(), 1));
  visit(vector_parameter(prefix + "bias", bias_.get(), 0));
}

}  // namespace octavo
