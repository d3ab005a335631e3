// rms_norm:    out[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + eps) * weight
// layer_norm:  out[t, :] = (x[t, :] - mean) / sqrt(var + eps) * weight + bias     (var: mean of
// squares of the
//              differences, as torch.nn.LayerNorm)
//
// x, out [T, H] activation dtype; weight, bias float32 [H]. Sums in float32, in an order that
// depends on H only.
#pragma once

#include "ops/linear.h"
#include "tensor/tensor.h"

namespace octavo {

struct RmsNormArgs {
  Tensor x;
  const VectorWeight* weight = nullptr;
  float eps = 1e-6f;
  Tensor out;
};

struct LayerNormArgs {
  Tensor x;
  const VectorWeight* weight = nullptr;
  const VectorWeight* bias = nullptr;
  float eps = 1e-5f;
  Tensor out;
};

}  // namespace octavo
