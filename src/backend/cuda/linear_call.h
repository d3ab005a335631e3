// One matrix product as the GEMM kernels of this folder see it: ops/linear.h on plain pointers into
// device memory. cuda_backend.cc says which of skinny_linear.h, cluster_linear.h, cublaslt.h and
// large_linear.h serves a call.
#pragma once

#include "ops/linear.h"
#include "tensor/tensor.h"

namespace octavo::cuda {

// out[m, n] = act(x[m, :] . weight[n, :] + bias[n]) + residual[m, n]
struct LinearCall {
  DType dtype =
      DType::kBF16;         // kBF16 or kF16: of x, weight, residual, and of out unless out_is_float
  int m = 0, n = 0, k = 0;  // k a multiple of 8
  const void* x = nullptr;  // [m, k], 16-byte aligned
  // [n, k], 16-byte aligned, row-major. With kSwiGlu (n a multiple of 16) gate and up rows
  // alternate in blocks of eight: rows 16 j + [0, 8) are gate rows 8 j + [0, 8), rows 16 j + [8,
  // 16) the up rows 8 j + [0, 8).
  const void* weight = nullptr;
  const float* bias = nullptr;     // [n], in the order of weight's rows; optional
  const void* residual = nullptr;  // [m, n], 16-byte aligned; optional, never with kSwiGlu
  Activation activation = Activation::kNone;
  void* out = nullptr;  // [m, n], or [m, n / 2] with kSwiGlu
  bool out_is_float = false;

  // A norm carried from one product to the next, without a kernel of its own (ops/linear.h):
  // rms_norm(y) W^T is (y gain) W^T with row r scaled by 1 / rms(y[r]). The product that makes y
  // also writes y gain and the squares of y, the next one takes both. bfloat16 only: y gain, which
  // is not normalised, might not fit a float16.
  // The first: with next_gain, the two below it. Never with kSwiGlu or out_is_float.
  const float* next_gain = nullptr;  // [n]
  void* weighted = nullptr;          // [m, n]: out, as rounded, times next_gain, rounded
  float* squares_out = nullptr;  // [m, parts]: sums of squares of out, as rounded, over parts of
                                 // a row; the kernel's header says how many
  // The second, whose x is the first's `weighted`: before bias and activation, its sums of row r
  // are multiplied by 1 / sqrt(sum(squares[r]) / k + norm_eps).
  const float* squares = nullptr;  // [m, square_parts]
  int square_parts = 0;
  float norm_eps = 0;
};

// Whether what `call` carries of norms, if anything, is as above: for the kernels' own
// ..._linear_takes().
inline bool norms_fit(const LinearCall& call) {
  const bool carries = call.next_gain != nullptr;
  if (carries && (call.activation == Activation::kSwiGlu || call.out_is_float)) return false;
  return call.dtype == DType::kBF16 || !(carries || call.squares != nullptr);
}

}  // namespace octavo::cuda
