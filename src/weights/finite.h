// all_finite: whether no value of a float tensor is a NaN or an infinity. Reads memory once, at its
// speed.
#pragma once

#include "tensor/tensor.h"

namespace octavo {

// REQUIRES: t is float32, bfloat16 or float16, in host memory.
bool all_finite(const Tensor& t);

}  // namespace octavo
