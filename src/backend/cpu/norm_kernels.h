// The norm kernels of one instruction set, as norm.cc sees them. Plain pointers only (rules in
// vec.h).
#pragma once

#include <stdint.h>

namespace octavo::cpu {

struct NormKernels {
  // out[t, :] for `rows` rows of `size`; see ops/norm.h.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t rows, int64_t size,
                   float* out);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps,
                     int64_t rows, int64_t size, float* out);
};

namespace portable {
extern const NormKernels kNormKernels;
}
namespace avx2 {
extern const NormKernels kNormKernels;
}
namespace avx512 {
extern const NormKernels kNormKernels;
}

}  // namespace octavo::cpu
