// rms_norm and layer_norm over Vec. A sum over a row of H runs in 4 accumulators of kWidth lanes,
// element i in lane i % (4 kWidth); they are then folded in a fixed tree. So its order depends on H
// alone.
#pragma once

#include "backend/cpu/norm_kernels.h"
#include "backend/cpu/vec.h"

namespace octavo::cpu::OCTAVO_ISA {

// sum_i (x[i] - shift)^power for power 1 or 2.
template <int kPower>
OCTAVO_INLINE float sum_of_powers(const float* x, int64_t size, float shift) {
  constexpr int kAccumulators = 4;
  Vec acc[kAccumulators] = {};
  const Vec s = broadcast(shift);
  int64_t i = 0;
  for (; i + kAccumulators * kWidth <= size; i += kAccumulators * kWidth) {
    for (int a = 0; a < kAccumulators; ++a) {
      const Vec v = load(x + i + a * kWidth) - s;
      acc[a] = kPower == 1 ? acc[a] + v : fma(v, v, acc[a]);
    }
  }
  for (int a = 0; i < size; i += kWidth, ++a) {
    const int n = size - i < kWidth ? static_cast<int>(size - i) : kWidth;
    Vec v = load_first(x + i, n) - s;
    for (int lane = n; lane < kWidth; ++lane) v[lane] = 0;
    acc[a] = kPower == 1 ? acc[a] + v : fma(v, v, acc[a]);
  }
  return sum((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

// out = (x - shift) * factor * weight (+ bias)
OCTAVO_INLINE void scale_row(const float* x, const float* weight, const float* bias, float shift,
                             float factor, int64_t size, float* out) {
  const Vec s = broadcast(shift), f = broadcast(factor);
  int64_t i = 0;
  for (; i + kWidth <= size; i += kWidth) {
    const Vec v = (load(x + i) - s) * f, w = load(weight + i);
    store(out + i, bias ? fma(v, w, load(bias + i)) : v * w);
  }
  if (i == size) return;
  const int n = static_cast<int>(size - i);
  const Vec v = (load_first(x + i, n) - s) * f, w = load_first(weight + i, n);
  store_first(out + i, bias ? fma(v, w, load_first(bias + i, n)) : v * w, n);
}

static void rms_norm(const float* x, const float* weight, float eps, int64_t rows, int64_t size,
                     float* out) {
  for (int64_t t = 0; t < rows; ++t, x += size, out += size) {
    const float mean = sum_of_powers<2>(x, size, 0) / static_cast<float>(size);
    scale_row(x, weight, nullptr, 0, 1.0f / __builtin_sqrtf(mean + eps), size, out);
  }
}

static void layer_norm(const float* x, const float* weight, const float* bias, float eps,
                       int64_t rows, int64_t size, float* out) {
  for (int64_t t = 0; t < rows; ++t, x += size, out += size) {
    const float mean = sum_of_powers<1>(x, size, 0) / static_cast<float>(size);
    const float variance = sum_of_powers<2>(x, size, mean) / static_cast<float>(size);
    scale_row(x, weight, bias, mean, 1.0f / __builtin_sqrtf(variance + eps), size, out);
  }
}

const NormKernels kNormKernels = {rms_norm, layer_norm};

}  // namespace octavo::cpu::OCTAVO_ISA
