// Rope: see the header.
#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace octavo {
namespace {

// Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between
// interpolated.
float scale_llama3(const RopeConfig& config, float frequency) {
  const auto context = static_cast<float>(config.original_max_position);
  const auto factor = static_cast<float>(config.factor);
  const auto low = static_cast<float>(config.low_freq_factor);
  const auto high = static_cast<float>(config.high_freq_factor);
  const float wavelength = 2 * std::numbers::pi_v<float> / frequency;
  if (wavelength > context / low) return frequency / factor;
  if (wavelength < context / high) return frequency;
  const float smooth = (context / wavelength - low) / (high - low);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

}  // namespace

std::vector<float> rope_frequencies(const RopeConfig& config, int rotary_dims) {
  std::vector<float> frequencies(static_cast<size_t>(rotary_dims / 2));
  for (int i = 0; i < rotary_dims / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dims);
    const float f = 1.0f / std::pow(static_cast<float>(config.theta), exponent);
    frequencies[static_cast<size_t>(i)] = config.type == "llama3" ? scale_llama3(config, f) : f;
  }
  return frequencies;
}

Rope::Rope(Backend& backend, const RopeConfig& config, int rotary_dims, int max_position)
    : table_(backend.make_vector_weight(int64_t{max_position} * rotary_dims)),
      rotary_dims_(rotary_dims) {
  const std::vector<float> frequencies = rope_frequencies(config, rotary_dims);
  const int half = rotary_dims / 2;
  constexpr int kRows = 256;  // positions computed at a time, so that the copy stays small
  std::vector<float> rows(static_cast<size_t>(kRows) * static_cast<size_t>(rotary_dims));
  for (int begin = 0; begin < max_position; begin += kRows) {
    const int end = std::min(begin + kRows, max_position);
    for (int p = begin; p < end; ++p) {
      float* row = rows.data() + static_cast<size_t>(p - begin) * static_cast<size_t>(rotary_dims);
      for (int i = 0; i < half; ++i) {
        const float angle = static_cast<float>(p) * frequencies[static_cast<size_t>(i)];
        row[i] = std::cos(angle);
        row[half + i] = std::sin(angle);
      }
    }
    table_->load(int64_t{begin} * rotary_dims,
                 {rows.data(), DType::kF32, {int64_t{end - begin} * rotary_dims}});
  }
  cos_sin_ = table_->tensor();
  cos_sin_.shape = {max_position, rotary_dims};
}

}  // namespace octavo
