// linear:  out[m, n] = act( sum_k x[m, k] * W[n, k] + bias[n] ) + residual[m, n]
//
// x        [M, K] activation dtype
// W        [N, K] logical shape, in the packed layout of the backend, dtype float32, bfloat16 or
// float16 bias     [N], float32, optional residual [M, N] activation dtype, optional out      [M,
// N] activation dtype; float32 for logits on every backend. With kSwiGlu: [M, N/2].
//
// act: kNone; kGeluTanh: 0.5 v (1 + tanh(sqrt(2/pi) (v + 0.044715 v^3))), the "gelu_new" of GPT-2;
// kGelu: 0.5 v (1 + erf(v / sqrt 2)); kSwiGlu: rows [0, N/2) of W are the gate g, the others u:
// silu(g) * u.
//
// Carried norms (optional, only where Backend::carried_norm_parts says so). Since
// rms_norm(y) W^T = (y g) W^T with row m scaled by 1 / sqrt(mean(y[m]^2) + eps), g the norm's
// weight, the two products on either side of a norm can do its work. The first, whose out is y:
//   weighted[m, n] = y[m, n] * g[n]; squares_out[m, :] adds up to the sum over n of y[m, n]^2
// The second, whose x is that `weighted`, multiplies its sums of row m, before the bias, with
// 1 / sqrt(sum(squares[m, :]) / K + norm_eps).
//
// Precision: products of the weight's dtype and at least that dtype for x, sums in float32. The
// order of summation over k is the same for every m, M and thread count.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace octavo {

enum class Activation { kNone, kGelu, kGeluTanh, kSwiGlu };

struct LinearSpec {
  int64_t out_features = 0;   // N
  int64_t in_features = 0;    // K
  DType dtype = DType::kF32;  // of the stored weight
  bool gated = false;         // will be used with kSwiGlu; the backend may interleave the halves
};

// A weight at a fixed address in the backend's layout.
class LinearWeight {
 public:
  virtual ~LinearWeight() = default;
  virtual const LinearSpec& spec() const = 0;
  // Writes logical rows [first_row, first_row + src.dim(0)) from src [rows, K], any float dtype,
  // host memory. Disjoint rows may be written by several threads at once (cut at multiples of 64
  // rows).
  virtual void load_rows(int64_t first_row, const Tensor& src) = 0;
  // The same for a weight stored transposed (GPT-2's Conv1D): src [rows of K, columns of N] holds
  // input features [first_k, first_k + src.dim(0)) of output features [first_n, first_n +
  // src.dim(1)).
  virtual void load_transposed(int64_t first_k, int64_t first_n, const Tensor& src) = 0;
  // Fills logical rows [first_row, first_row + rows) with the noise `key` (ops/noise.h), row after
  // row from index 0, where the device can do that itself; false: the caller makes the values.
  virtual bool load_noise(int64_t first_row, int64_t rows, uint64_t key) { return false; }
  virtual size_t bytes() const = 0;
};

// A small float32 vector: norm weights, biases.
class VectorWeight {
 public:
  virtual ~VectorWeight() = default;
  virtual void load(int64_t first, const Tensor& src) = 0;  // any float dtype, host memory
  virtual const Tensor& tensor() const = 0;                 // float32 [size], on the device
};

struct LinearArgs {
  Tensor x;
  const LinearWeight* weight = nullptr;
  const VectorWeight* bias = nullptr;
  Tensor residual;
  Activation activation = Activation::kNone;
  Tensor out;
  // The first of two products with a norm between them.
  const VectorWeight* next_norm = nullptr;  // g
  Tensor weighted;                          // [M, N] activation dtype
  Tensor squares_out;                       // [M, parts] float32
  // The second.
  Tensor squares;  // [M, parts] float32
  float norm_eps = 0;
};

}  // namespace octavo
