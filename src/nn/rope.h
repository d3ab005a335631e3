// Rotary position embedding (Su et al., arXiv:2104.09864, in transformers' "half" layout): the
// table of cosines and sines that rope_and_cache reads. One per model, shared by its layers. Worker
// thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/backend.h"

namespace octavo {

// rope_theta, and rope_scaling or rope_parameters of config.json.
struct RopeConfig {
  std::string type = "default";  // default, llama3 (others are refused by make_model, by name)
  double theta = 10000;
  double factor = 1;  // llama3
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  int original_max_position = 8192;
};

// Frequencies of the rotary_dims / 2 pairs, in float32 step by step as transformers computes them:
// they are what a model was trained with, rounding included. REQUIRES: type is default or llama3,
// rotary_dims even.
std::vector<float> rope_frequencies(const RopeConfig& config, int rotary_dims);

class Rope {
 public:
  Rope(Backend& backend, const RopeConfig& config, int rotary_dims, int max_position);
  int rotary_dims() const { return rotary_dims_; }
  // [max_position, rotary_dims] float32: cosines of the pairs, then their sines.
  const Tensor& cos_sin() const { return cos_sin_; }

 private:
  std::unique_ptr<VectorWeight> table_;
  Tensor cos_sin_;
  int rotary_dims_;
};

}  // namespace octavo
