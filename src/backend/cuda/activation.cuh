// The activations of the matrix products' last step, in float32.
#pragma once

namespace octavo::cuda {

// v / (1 + exp(-z)): silu with z = v, and GELU's tanh form with z = 2 sqrt(2/pi) (v + 0.044715
// v^3), since (1 + tanh(z / 2)) / 2 = 1 / (1 + exp(-z)).
__device__ __forceinline__ float times_sigmoid(float v, float z) {
  return __fdividef(v, 1 + __expf(-z));
}
__device__ __forceinline__ float silu(float v) {
  return times_sigmoid(v, v);
}
__device__ __forceinline__ float gelu_tanh(float v) {
  return times_sigmoid(v, v * (1.5957691216f + 0.0713548162726f * v * v));
}
__device__ __forceinline__ float gelu(float v) {
  return 0.5f * v * (1 + erff(v * 0.70710678118f));
}

}  // namespace octavo::cuda
