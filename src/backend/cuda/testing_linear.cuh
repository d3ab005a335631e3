// For the tests of matrix products: a product with random operands, what it should give in float64,
// and how far from that rounding may lead.
#pragma once

#include <functional>
#include <initializer_list>
#include <numeric>
#include <string>

#include "backend/cuda/elementwise.h"
#include "backend/cuda/linear_call.h"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/testing_device.h"
#include "ops/testing_linear.h"

namespace octavo::cuda::testing {

// One warp per element of x W^T, in float64.
template <typename X, typename T>
__global__ void reference_products(const X* x, const T* weight, double* out, int m, int n, int k) {
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (at >= static_cast<int64_t>(m) * n) return;
  const X* const row = x + at / n * k;
  const T* const column = weight + at % n * k;
  double sum = 0;
  for (int i = lane; i < k; i += 32) {
    sum += double{to_float(row[i])} * double{to_float(column[i])};
  }
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (lane == 0) out[at] = sum;
}

struct ProductOptions {
  DType dtype = DType::kBF16;
  int m = 1, n = 64, k = 64;
  Activation activation = Activation::kNone;
  bool bias = false, residual = false, out_is_float = false;
  bool in_place = false;  // out is the residual
  bool carries = false;   // a norm of its result: the first product of linear_call.h
  int square_parts = 0;   // of the norm that x carries, if it is the second

  std::string text() const {
    return std::string(to_string(dtype)) + " m " + std::to_string(m) + " n " + std::to_string(n) +
           " k " + std::to_string(k) + " activation " +
           std::to_string(static_cast<int>(activation)) + (bias ? " bias" : "") +
           (residual ? " residual" : "") + (out_is_float ? " float" : "") +
           (in_place ? " in place" : "") + (carries ? " carries" : "") + " square parts " +
           std::to_string(square_parts);
  }
};

// x W^T in float64.
template <typename X, typename T>
std::vector<double> reference(const DeviceArray& x, const DeviceArray& weight, int m, int n,
                              int k) {
  const DeviceArray products(DType::kI64, {m, n});
  const auto blocks = static_cast<unsigned>((int64_t{m} * n * 32 + 255) / 256);
  reference_products<<<blocks, 256>>>(x.as<X>(), weight.as<T>(), products.as<double>(), m, n, k);
  std::vector<double> sums(static_cast<size_t>(m) * static_cast<size_t>(n));
  EXPECT_EQ(cudaMemcpy(sums.data(), products.data(), 8 * sums.size(), cudaMemcpyDeviceToHost),
            cudaSuccess);
  return sums;
}

// What the first product of a carried norm leaves for the second.
struct Carried {
  DeviceArray weighted;  // [m, n]
  DeviceArray squares;   // [m, parts]
  int parts;
};

// The operands of one call, random, and what it should give.
class RandomProduct {
 public:
  RandomProduct(const ProductOptions& options, std::mt19937& random)
      : options_(options),
        x_values_(random_values(random, int64_t{options.m} * options.k, options.dtype)),
        x_(options.dtype, {options.m, options.k}, x_values_),
        weight_(options.dtype, {options.n, options.k},
                random_values(random, int64_t{options.n} * options.k, options.dtype,
                              1 / std::sqrt(static_cast<float>(options.k)))),
        bias_values_(random_values(random, options.n, DType::kF32)),
        bias_(DType::kF32, {options.n}, bias_values_),
        gain_values_(random_values(random, options.n, DType::kF32)),
        gain_(DType::kF32, {options.n}, gain_values_),
        squares_values_(random_squares(options, random)),
        squares_(DType::kF32, {options.m, options.square_parts}, squares_values_),
        residual_values_(random_values(random, int64_t{options.m} * options.n, options.dtype)),
        residual_(options.dtype, {options.m, options.n}, residual_values_) {}

  int columns() const {
    return options_.activation == Activation::kSwiGlu ? options_.n / 2 : options_.n;
  }
  DeviceArray make_out() const {
    return {options_.out_is_float ? DType::kF32 : options_.dtype, {options_.m, columns()}};
  }
  Carried make_carried(int parts) const {
    return {{options_.dtype, {options_.m, options_.n}}, {DType::kF32, {options_.m, parts}}, parts};
  }
  // With options.carries, `call` needs carry() as well.
  LinearCall call(const DeviceArray& out) const {
    LinearCall c;
    c.dtype = options_.dtype;
    c.m = options_.m;
    c.n = options_.n;
    c.k = options_.k;
    c.x = x_.data();
    c.weight = weight_.data();
    if (options_.bias) c.bias = bias_.as<float>();
    if (options_.residual) c.residual = residual_.data();
    c.activation = options_.activation;
    c.out = out.data();
    c.out_is_float = options_.out_is_float;
    if (options_.square_parts > 0) {
      c.squares = squares_.as<float>();
      c.square_parts = options_.square_parts;
      c.norm_eps = kEps;
    }
    return c;
  }
  void carry(LinearCall& call, const Carried& to) const {
    call.next_gain = gain_.as<float>();
    call.weighted = to.weighted.data();
    call.squares_out = to.squares.as<float>();
  }
  const std::vector<float>& gain() const { return gain_values_; }
  const DeviceArray& weight() const { return weight_; }

  std::vector<float> expected() const {
    const ProductOptions& o = options_;
    const std::vector<double> sums =
        o.dtype == DType::kBF16
            ? reference<__nv_bfloat16, __nv_bfloat16>(x_, weight_, o.m, o.n, o.k)
            : reference<__half, __half>(x_, weight_, o.m, o.n, o.k);
    const std::vector<double> scales = row_scales();
    const auto value = [&](int m, int n) {
      const double sum = sums[static_cast<size_t>(m) * o.n + n] * scales[static_cast<size_t>(m)];
      return o.bias ? sum + bias_values_[static_cast<size_t>(n)] : sum;
    };
    std::vector<float> out;
    for (int m = 0; m < o.m; ++m) {
      for (int n = 0; n < columns(); ++n) {
        const bool gated = o.activation == Activation::kSwiGlu;
        const int first = gated ? n / 8 * 16 + n % 8 : n;
        double v = octavo::testing::activated(o.activation, value(m, first));
        if (gated) v *= value(m, first + 8);
        if (o.residual && !gated) v += residual_values_[static_cast<size_t>(m) * o.n + n];
        out.push_back(static_cast<float>(v));
      }
    }
    return out;
  }

 private:
  static constexpr float kEps = 1e-5f;

  // Of rows whose mean squares differ much.
  static std::vector<float> random_squares(const ProductOptions& o, std::mt19937& random) {
    std::lognormal_distribution<float> size(0, 1);
    std::uniform_real_distribution<float> part(0.5f, 1.5f);
    std::vector<float> squares;
    for (int m = 0; m < o.m; ++m) {
      const float row = size(random) * static_cast<float>(o.k) / static_cast<float>(o.square_parts);
      for (int i = 0; i < o.square_parts; ++i) squares.push_back(row * part(random));
    }
    return squares;
  }
  // 1 / rms of the rows whose squares x brings, or 1.
  std::vector<double> row_scales() const {
    std::vector<double> scales(static_cast<size_t>(options_.m), 1);
    if (options_.square_parts == 0) return scales;
    auto part = squares_values_.begin();
    for (double& scale : scales) {
      const double sum = std::accumulate(part, part + options_.square_parts, 0.0);
      part += options_.square_parts;
      scale = 1 / std::sqrt(sum / options_.k + double{kEps});
    }
    return scales;
  }

  ProductOptions options_;
  std::vector<float> x_values_;
  DeviceArray x_, weight_;
  std::vector<float> bias_values_;
  DeviceArray bias_;
  std::vector<float> gain_values_;
  DeviceArray gain_;
  std::vector<float> squares_values_;
  DeviceArray squares_;
  std::vector<float> residual_values_;
  DeviceArray residual_;
};

// The rounding of one result.
inline double tolerance(const ProductOptions& o) {
  if (o.out_is_float) return 3e-5;
  return o.dtype == DType::kBF16 ? 2.5e-3 : 3e-4;
}

// A product carries what its `out` [m, n], as it stands in memory, makes necessary.
inline void expect_carried(const Carried& carried, const std::vector<float>& out,
                           const std::vector<float>& gain) {
  const std::vector<float> weighted = carried.weighted.read(), squares = carried.squares.read();
  const size_t n = gain.size(), parts = static_cast<size_t>(carried.parts);
  for (size_t row = 0; row < out.size() / n; ++row) {
    double expected = 0, sum = 0;
    size_t wrong = 0;
    for (size_t i = row * n; i < (row + 1) * n; ++i) {
      expected += double{out[i]} * out[i];
      wrong += weighted[i] != round_to(DType::kBF16, out[i] * gain[i % n]);
    }
    for (size_t i = row * parts; i < (row + 1) * parts; ++i) sum += squares[i];
    EXPECT_EQ(wrong, 0u) << "weighted, row " << row;
    EXPECT_NEAR(sum / expected, 1, 3e-6) << "squares, row " << row;
  }
  EXPECT_TRUE(carried.weighted.guard_intact());
  EXPECT_TRUE(carried.squares.guard_intact());
}

// Says how many parts of squares a call writes.
using PartsOf = std::function<int(const LinearCall&)>;

// The widest wrong: |out - expected| over what rounding by `step` may do to an element; NaN counts
// as 1e9.
inline double worst_element(const std::vector<float>& out, const std::vector<float>& expected,
                            double step) {
  double worst = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const double over =
        std::abs(double{out[i]} - expected[i]) / (step * (0.05 + std::abs(double{expected[i]})));
    worst = std::max(worst, std::isnan(over) ? 1e9 : over);
  }
  return worst;
}

// One call: its result and what it carries. `product` is called with a LinearCall.
template <typename Product>
void expect_product(const ProductOptions& options, std::mt19937& random, const Product& product,
                    const PartsOf& parts_of) {
  SCOPED_TRACE(options.text());
  const RandomProduct problem(options, random);
  const DeviceArray out = problem.make_out();
  LinearCall call = problem.call(out);
  if (options.in_place) {
    ASSERT_EQ(cudaMemcpy(out.data(), call.residual, out.bytes(), cudaMemcpyDeviceToDevice),
              cudaSuccess);
    call.residual = call.out;
  }
  const Carried carried = problem.make_carried(parts_of(call));
  if (options.carries) problem.carry(call, carried);
  product(call);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  ASSERT_EQ(take_error().code, cudaSuccess);
  const std::vector<float> got = out.read(), expected = problem.expected();
  const double error = relative_error(got, expected);
  EXPECT_LT(error, tolerance(options));
  EXPECT_FALSE(std::isnan(error));
  if (!options.out_is_float) {
    EXPECT_LT(worst_element(got, expected, options.dtype == DType::kBF16 ? 0x1p-7 : 0x1p-10), 1);
  }
  EXPECT_TRUE(out.guard_intact());
  if (options.carries) expect_carried(carried, got, problem.gain());
}

// y = x A^T + residual and z = rms_norm(y) B^T, the norm carried from one product to the other:
// z errs no more than where a kernel for the norm stands between them. `product` is called with a
// LinearCall.
template <typename Product>
void expect_carried_norm_as_exact_as_a_kernel(int m, std::mt19937& random, const Product& product,
                                              const PartsOf& parts_of) {
  constexpr int kHidden = 1024, kWide = 1536;
  constexpr float kEps = 1e-5f;
  const RandomProduct first({.m = m, .n = kHidden, .k = 512, .residual = true}, random);
  const RandomProduct second({.m = m, .n = kWide, .k = kHidden}, random);
  const DeviceArray y = first.make_out(), z = second.make_out(), z_by_kernel = second.make_out();

  LinearCall a = first.call(y);
  const Carried carried = first.make_carried(parts_of(a));
  first.carry(a, carried);
  LinearCall b = second.call(z);
  b.x = carried.weighted.data();
  b.squares = carried.squares.as<float>();
  b.square_parts = carried.parts;
  b.norm_eps = kEps;
  product(a);
  product(b);

  const DeviceArray gain(DType::kF32, {kHidden}, first.gain());
  const DeviceArray normed(DType::kBF16, {m, kHidden});
  rms_norm({}, {.rows = m,
                .width = kHidden,
                .x = y.data(),
                .weight = gain.as<float>(),
                .eps = kEps,
                .out = normed.data()});
  LinearCall beside = second.call(z_by_kernel);
  beside.x = normed.data();
  product(beside);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  ASSERT_EQ(take_error().code, cudaSuccess);

  std::vector<float> norm = y.read();
  for (size_t row = 0; row < static_cast<size_t>(m); ++row) {
    float* const values = norm.data() + row * kHidden;
    const double squares = std::inner_product(values, values + kHidden, values, 0.0);
    const double scale = 1 / std::sqrt(squares / kHidden + double{kEps});
    for (size_t i = 0; i < kHidden; ++i) {
      values[i] = static_cast<float>(values[i] * scale * first.gain()[i]);
    }
  }
  const DeviceArray exact_norm(DType::kF32, {m, kHidden}, norm);
  const std::vector<double> sums =
      reference<float, __nv_bfloat16>(exact_norm, second.weight(), m, kWide, kHidden);
  const std::vector<float> expected(sums.begin(), sums.end());
  const double error = relative_error(z.read(), expected);
  EXPECT_LT(error, 3e-3);
  EXPECT_LT(error, 1.1 * relative_error(z_by_kernel.read(), expected));
}

// Forty rounds on one stream of a product [m, 2048] and one of its result, each call starting while
// the last still runs: no call may see another's sums or counters, nor read what it needs of the
// last before that is written. `product` is called with a Launch and a LinearCall. With
// `parts_of` a norm is carried from the one to the other.
template <typename Product>
void expect_same_bits_while_calls_overlap(int m, std::mt19937& random, const Product& product,
                                          const PartsOf& parts_of = {}) {
  const int wide_columns = length(2048), columns = length(1024);
  const RandomProduct up({.m = m, .n = wide_columns, .k = columns}, random);
  const RandomProduct down({.m = m, .n = columns, .k = wide_columns}, random);
  const auto rounds = static_cast<size_t>(trials(40));
  std::vector<DeviceArray> wide, outs;  // of each round its own, poisoned
  std::vector<Carried> carried;
  for (size_t i = 0; i < rounds; ++i) {
    wide.push_back(up.make_out());
    outs.push_back(down.make_out());
    if (parts_of != nullptr) carried.push_back(up.make_carried(parts_of(up.call(wide[i]))));
  }
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  for (size_t i = 0; i < rounds; ++i) {
    LinearCall first = up.call(wide[i]), second = down.call(outs[i]);
    second.x = wide[i].data();
    if (parts_of != nullptr) {
      up.carry(first, carried[i]);
      second.x = first.weighted;
      second.squares = first.squares_out;
      second.square_parts = carried[i].parts;
    }
    product(Launch{stream, i > 0}, first);
    product(Launch{stream, true}, second);
  }
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  ASSERT_EQ(take_error().code, cudaSuccess);
  const std::vector<float> expected = outs[0].read();
  for (float v : expected) ASSERT_FALSE(std::isnan(v));
  for (const DeviceArray& out : outs) EXPECT_EQ(out.read(), expected);
  cudaStreamDestroy(stream);
}

// The first rows of a batch have the same bits as in smaller batches, also in what they carry: with
// options.carries, squares in `parts` parts. `product` is called with a LinearCall.
template <typename Product>
void expect_same_bits_in_batches(const ProductOptions& options,
                                 std::initializer_list<int> smaller_batches, std::mt19937& random,
                                 const Product& product, int parts = 0) {
  SCOPED_TRACE(options.text());
  const RandomProduct problem(options, random);
  // Arrays of options.m rows.
  const auto results = [&](int m) {
    const DeviceArray out = problem.make_out();
    const Carried carried = problem.make_carried(parts);
    LinearCall call = problem.call(out);
    call.m = m;
    if (options.carries) problem.carry(call, carried);
    product(call);
    std::vector<std::vector<float>> arrays = {out.read()};
    if (options.carries) {
      arrays.push_back(carried.weighted.read());
      arrays.push_back(carried.squares.read());
    }
    return arrays;
  };
  const auto all = results(options.m);
  for (int m : smaller_batches) {
    SCOPED_TRACE(m);
    const auto some = results(m);
    for (size_t i = 0; i < all.size(); ++i) {
      const size_t count = all[i].size() / static_cast<size_t>(options.m) * static_cast<size_t>(m);
      for (size_t at = 0; at < count; ++at) {
        ASSERT_EQ(some[i][at], all[i][at]) << "array " << i << " at " << at;
      }
    }
  }
}

// Which calls of `m` rows carry norms, by `takes` of a LinearCall: both products of bfloat16, and
// of these the first only with a plain result of 16 bits.
template <typename Takes>
void expect_carries_norms_in_bfloat16_alone(int m, const Takes& takes) {
  const float value = 1;
  LinearCall first, second;
  first.m = second.m = m;
  first.n = first.k = second.n = second.k = 64;
  first.next_gain = &value;
  second.squares = &value;
  const auto expect_takes = [&](bool takes_first, bool takes_second) {
    EXPECT_EQ(takes(first), takes_first);
    EXPECT_EQ(takes(second), takes_second);
  };
  expect_takes(true, true);
  first.out_is_float = second.out_is_float = true;
  expect_takes(false, true);
  first.out_is_float = second.out_is_float = false;
  first.activation = second.activation = Activation::kSwiGlu;
  expect_takes(false, true);
  first.activation = second.activation = Activation::kNone;
  first.dtype = second.dtype = DType::kF16;
  expect_takes(false, false);
}

}  // namespace octavo::cuda::testing
