// The reference of linear (ops/linear.h): plain loops over the logical weight [N, K], float64 sums.
// Every faster version is tested against it.
#pragma once

#include "ops/linear.h"
#include "tensor/tensor.h"

namespace octavo::cpu {

// Uses `weight`, any float dtype, row-major, in place of args.weight. Biases and tensors are on the
// host.
void linear_reference(const Tensor& weight, const LinearArgs& args);

}  // namespace octavo::cpu
