#include "backend/cpu/linear_reference.h"

#include <cmath>

namespace octavo::cpu {
namespace {

double activate(Activation activation, double v) {
  switch (activation) {
    case Activation::kGelu:
      return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    default:
      return v;
  }
}

double dot(const Tensor& weight, int64_t n, const LinearArgs& args, int64_t m) {
  const int64_t k_end = weight.dim(1);
  double sum = args.bias == nullptr ? 0 : read_float(args.bias->tensor(), n);
  for (int64_t k = 0; k < k_end; ++k) {
    sum +=
        static_cast<double>(read_float(args.x, m * k_end + k)) * read_float(weight, n * k_end + k);
  }
  return sum;
}

}  // namespace

void linear_reference(const Tensor& weight, const LinearArgs& args) {
  const bool gated = args.activation == Activation::kSwiGlu;
  const int64_t columns = gated ? weight.dim(0) / 2 : weight.dim(0);
  for (int64_t m = 0; m < args.x.dim(0); ++m) {
    for (int64_t n = 0; n < columns; ++n) {
      double v = dot(weight, n, args, m);
      if (gated) {
        v = v / (1 + std::exp(-v)) * dot(weight, columns + n, args, m);
      } else {
        v = activate(args.activation, v);
      }
      if (args.residual.defined()) v += read_float(args.residual, m * columns + n);
      args.out.as<float>()[m * columns + n] = static_cast<float>(v);
    }
  }
}

}  // namespace octavo::cpu
