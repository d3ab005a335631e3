// The passes over a row of logits of one instruction set, as the sampler sees them: plain structs
// and pointers only (rules in vec.h).
#pragma once

#include <stdint.h>

namespace octavo::cpu {

struct RowMaximum {
  float value = 0;
  int index = -1;        // the lowest of equals; -1: no element above -inf
  bool invalid = false;  // a NaN or +inf was seen
};

struct Mass {
  float sum = 0;
  int count = 0;
};

// argmax_i( x[i] * inverse_temperature + g(i) ) over the i with x[i] * inverse_temperature >=
// threshold.
struct DrawArgs {
  const float* x = nullptr;
  int size = 0;
  float inverse_temperature = 1;
  float threshold = 0;
  uint64_t seed = 0;
  uint32_t position = 0;
  float (*noise)(uint32_t word) =
      nullptr;  // gumbel_noise of ops/philox.h, compiled for every machine
};

struct SamplerKernels {
  RowMaximum (*maximum)(const float* x, int size);
  // Sum and number of exp(x[i] - maximum) over x[i] >= threshold. The order of the sum depends on
  // size only.
  Mass (*mass_at_least)(const float* x, int size, float maximum, float threshold);
  int (*count_greater)(const float* x, int size, float value);
  // Writes the indices of x > value (or of low <= x < high), ascending, and returns how many.
  int (*find_greater)(const float* x, int size, float value, int32_t* found);
  int (*find_between)(const float* x, int size, float low, float high, int32_t* found);
  void (*scale)(float* x, int size, float factor);
  // out[i] = x[i] where bit i of the mask is set, else -inf.
  void (*mask)(const float* x, const uint32_t* mask, int size, float* out);
  // The winner's index is -1 when nothing above -inf is left.
  RowMaximum (*draw)(const DrawArgs& args);
};

namespace portable {
extern const SamplerKernels kSamplerKernels;
}
namespace avx2 {
extern const SamplerKernels kSamplerKernels;
}
namespace avx512 {
extern const SamplerKernels kSamplerKernels;
}

}  // namespace octavo::cpu
