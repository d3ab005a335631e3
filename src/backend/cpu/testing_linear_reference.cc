#include "backend/cpu/testing_linear_reference.h"

#include "ops/testing_linear.h"

namespace octavo::cpu {
namespace {

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
      double v = octavo::testing::activated(args.activation, dot(weight, n, args, m));
      if (gated) v *= dot(weight, columns + n, args, m);
      if (args.residual.defined()) v += read_float(args.residual, m * columns + n);
      args.out.as<float>()[m * columns + n] = static_cast<float>(v);
    }
  }
}

}  // namespace octavo::cpu
