// For the tests of ops: the activations of ops/linear.h in double, and weights of given values.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "ops/linear.h"

namespace octavo::testing {

// For kSwiGlu, what becomes of the gate.
inline double activated(Activation activation, double v) {
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kGelu:
      return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    case Activation::kSwiGlu:
      return v / (1 + std::exp(-v));
  }
  return v;
}

// A VectorWeight on the host.
class GivenVector final : public VectorWeight {
 public:
  explicit GivenVector(std::vector<float> values) : values_(std::move(values)) {
    tensor_ = {values_.data(), DType::kF32, {static_cast<int64_t>(values_.size())}};
  }
  void load(int64_t, const Tensor&) override {}
  const Tensor& tensor() const override { return tensor_; }

 private:
  std::vector<float> values_;
  Tensor tensor_;
};

}  // namespace octavo::testing
