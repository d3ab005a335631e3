#include "backend/cuda/skinny_linear.h"

#include <string>

#include "backend/cuda/numeric.cuh"
#include "backend/cuda/testing_device.h"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;

// One warp per element of x W^T, in float64.
template <typename T>
__global__ void reference_products(const T* x, const T* weight, double* out, int m, int n, int k) {
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (at >= static_cast<int64_t>(m) * n) return;
  const T* const row = x + at / n * k;
  const T* const column = weight + at % n * k;
  double sum = 0;
  for (int i = lane; i < k; i += 32) {
    sum += double{to_float(row[i])} * double{to_float(column[i])};
  }
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (lane == 0) out[at] = sum;
}

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

struct Options {
  DType dtype = DType::kBF16;
  int m = 1, n = 64, k = 64;
  Activation activation = Activation::kNone;
  bool bias = false, residual = false, out_is_float = false, norm = false;

  std::string text() const {
    return std::string(to_string(dtype)) + " m " + std::to_string(m) + " n " + std::to_string(n) +
           " k " + std::to_string(k) + " activation " +
           std::to_string(static_cast<int>(activation)) + (bias ? " bias" : "") +
           (residual ? " residual" : "") + (out_is_float ? " float" : "") + (norm ? " norm" : "");
  }
};

class Workspace {
 public:
  Workspace() : array_(DType::kU8, {static_cast<int64_t>(skinny_linear_workspace_bytes())}) {
    cudaMemset(array_.data(), 0, array_.bytes());
  }
  void* data() const { return array_.data(); }
  bool guard_intact() const { return array_.guard_intact(); }

 private:
  DeviceArray array_;
};

// The operands of one call, random, and what it should give.
class Problem {
 public:
  Problem(const Options& options, std::mt19937& random)
      : options_(options),
        x_values_(testing::random_values(random, int64_t{options.m} * options.k, options.dtype)),
        x_(options.dtype, {options.m, options.k}, x_values_),
        weight_(options.dtype, {options.n, options.k},
                testing::random_values(random, int64_t{options.n} * options.k, options.dtype,
                                       1 / std::sqrt(static_cast<float>(options.k)))),
        bias_values_(testing::random_values(random, options.n, DType::kF32)),
        bias_(DType::kF32, {options.n}, bias_values_),
        gain_values_(testing::random_values(random, options.k, DType::kF32)),
        gain_(DType::kF32, {options.k}, gain_values_),
        residual_values_(
            testing::random_values(random, int64_t{options.m} * options.n, options.dtype)),
        residual_(options.dtype, {options.m, options.n}, residual_values_) {}

  int columns() const {
    return options_.activation == Activation::kSwiGlu ? options_.n / 2 : options_.n;
  }
  DeviceArray make_out() const {
    return {options_.out_is_float ? DType::kF32 : options_.dtype, {options_.m, columns()}};
  }
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
    if (options_.norm) {
      c.norm_weight = gain_.as<float>();
      c.norm_eps = kEps;
    }
    return c;
  }

  std::vector<float> expected() const {
    const Options& o = options_;
    DeviceArray x(o.dtype, {o.m, o.k}, normalised());
    DeviceArray products(DType::kI64, {o.m, o.n});
    const auto blocks = static_cast<unsigned>((int64_t{o.m} * o.n * 32 + 255) / 256);
    if (o.dtype == DType::kBF16) {
      reference_products<<<blocks, 256>>>(x.as<__nv_bfloat16>(), weight_.as<__nv_bfloat16>(),
                                          products.as<double>(), o.m, o.n, o.k);
    } else {
      reference_products<<<blocks, 256>>>(x.as<__half>(), weight_.as<__half>(),
                                          products.as<double>(), o.m, o.n, o.k);
    }
    std::vector<double> sums(static_cast<size_t>(o.m) * o.n);
    EXPECT_EQ(cudaMemcpy(sums.data(), products.data(), 8 * sums.size(), cudaMemcpyDeviceToHost),
              cudaSuccess);
    const auto value = [&](int m, int n) {
      const double sum = sums[static_cast<size_t>(m) * o.n + n];
      return o.bias ? sum + bias_values_[static_cast<size_t>(n)] : sum;
    };
    std::vector<float> out;
    for (int m = 0; m < o.m; ++m) {
      for (int n = 0; n < columns(); ++n) {
        double v;
        if (o.activation == Activation::kSwiGlu) {
          const int gate = n / 8 * 16 + n % 8;
          const double g = value(m, gate);
          v = g / (1 + std::exp(-g)) * value(m, gate + 8);
        } else {
          v = activate(o.activation, value(m, n));
          if (o.residual) v += residual_values_[static_cast<size_t>(m) * o.n + n];
        }
        out.push_back(static_cast<float>(v));
      }
    }
    return out;
  }

 private:
  static constexpr float kEps = 1e-5f;

  std::vector<float> normalised() const {
    std::vector<float> values = x_values_;
    if (!options_.norm) return values;
    for (int m = 0; m < options_.m; ++m) {
      float* const row = values.data() + static_cast<size_t>(m) * options_.k;
      double squares = 0;
      for (int i = 0; i < options_.k; ++i) squares += double{row[i]} * row[i];
      const double scale = 1 / std::sqrt(squares / options_.k + kEps);
      for (int i = 0; i < options_.k; ++i) {
        row[i] = testing::round_to(
            options_.dtype,
            static_cast<float>(row[i] * scale * gain_values_[static_cast<size_t>(i)]));
      }
    }
    return values;
  }

  Options options_;
  std::vector<float> x_values_;
  DeviceArray x_, weight_;
  std::vector<float> bias_values_;
  DeviceArray bias_;
  std::vector<float> gain_values_;
  DeviceArray gain_;
  std::vector<float> residual_values_;
  DeviceArray residual_;
};

double tolerance(const Options& o) {
  // The rounding of one result, and with the norm, that of x falling the other way here and there.
  const double rounding = o.dtype == DType::kBF16 ? 2.5e-3 : 3e-4;
  if (!o.out_is_float) return rounding;
  return o.norm ? rounding / 4 : 3e-5;
}

void check(const Options& options, std::mt19937& random, const Workspace& workspace) {
  SCOPED_TRACE(options.text());
  const Problem problem(options, random);
  const DeviceArray out = problem.make_out();
  const LinearCall call = problem.call(out);
  ASSERT_TRUE(skinny_linear_takes(call));
  skinny_linear({}, call, workspace.data());
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  ASSERT_EQ(take_error().code, cudaSuccess);
  const double error = testing::relative_error(out.read(), problem.expected());
  EXPECT_LT(error, tolerance(options));
  EXPECT_FALSE(std::isnan(error));
  EXPECT_TRUE(out.guard_intact());
  EXPECT_TRUE(workspace.guard_intact());
}

TEST(SkinnyLinear, IsTheProductForEveryClassOfM) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(1);
  const Workspace workspace;
  for (int m : {1, 2, 7, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 200, 256}) {
    for (DType dtype : {DType::kBF16, DType::kF16}) {
      check({.dtype = dtype, .m = m, .n = 512, .k = 1024}, random, workspace);
      check({.dtype = dtype, .m = m, .n = 1000, .k = 200, .out_is_float = true}, random, workspace);
    }
  }
}

TEST(SkinnyLinear, IsTheProductForRandomShapesAndEpilogues) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(2);
  const Workspace workspace;
  const auto below = [&](int limit) { return static_cast<int>(random() % limit); };
  for (int i = 0; i < 150; ++i) {
    Options o;
    o.dtype = below(2) ? DType::kBF16 : DType::kF16;
    o.m = below(2) ? 1 + below(16) : 1 + below(256);
    if (i % 8 == 0) o.m = 1 + below(2);
    o.n = below(4) ? 1 + below(1500) : 1 + below(90);
    o.k = 8 * (1 + below(below(2) ? 250 : 12));
    o.activation = static_cast<Activation>(below(4));
    if (o.activation == Activation::kSwiGlu) o.n = (o.n + 15) / 16 * 16;
    o.bias = below(2);
    o.residual = below(2) && o.activation != Activation::kSwiGlu;
    o.out_is_float = below(3) == 0;
    o.norm = o.m <= 2 && below(2);
    check(o, random, workspace);
  }
}

TEST(SkinnyLinear, IsTheProductForTheShapesOfLlama8B) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(3);
  const Workspace workspace;
  for (int m : {1, 30, 64, 256}) {
    check({.m = m, .n = 4096, .k = 4096, .residual = true}, random, workspace);
  }
  check({.m = 2, .n = 6144, .k = 4096, .norm = true}, random, workspace);
  check({.m = 128, .n = 7168, .k = 4096, .activation = Activation::kSwiGlu}, random, workspace);
  check({.m = 5, .n = 20000, .k = 1024, .out_is_float = true}, random, workspace);
}

// Calls in a row on one stream, the next starting while the last still runs: no call may see
// another's sums or counters, nor read x before it is written.
TEST(SkinnyLinear, GivesTheSameBitsAgainAndAgainWhileCallsOverlap) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(4);
  const Workspace workspace;
  for (int m : {1, 12, 32, 50, 100, 256}) {
    SCOPED_TRACE(m);
    const Problem up({.m = m, .n = 2048, .k = 1024}, random);
    const Problem down({.m = m, .n = 1024, .k = 2048}, random);
    const DeviceArray wide = up.make_out();
    std::vector<DeviceArray> outs;
    constexpr int kRounds = 40;
    for (int i = 0; i < kRounds; ++i) outs.push_back(down.make_out());
    cudaStream_t stream;
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    for (int i = 0; i < kRounds; ++i) {
      skinny_linear({stream, i > 0}, up.call(wide), workspace.data());
      LinearCall second = down.call(outs[static_cast<size_t>(i)]);
      second.x = wide.data();
      skinny_linear({stream, i > 0}, second, workspace.data());
    }
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    ASSERT_EQ(take_error().code, cudaSuccess);
    const std::vector<float> first = outs[0].read();
    for (float v : first) ASSERT_FALSE(std::isnan(v));
    for (const DeviceArray& out : outs) EXPECT_EQ(out.read(), first);
    cudaStreamDestroy(stream);
  }
}

TEST(SkinnyLinear, GivesARowTheSameBitsForEveryMOfAClass) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(5);
  const Workspace workspace;
  const int classes[][2] = {{1, 8}, {9, 16}, {17, 32}, {33, 64}, {65, 128}, {129, 256}};
  for (const auto& [small, large] : classes) {
    const Problem problem({.m = large, .n = 1536, .k = 768}, random);
    const DeviceArray all = problem.make_out(), some = problem.make_out();
    skinny_linear({}, problem.call(all), workspace.data());
    LinearCall part = problem.call(some);
    part.m = small;
    skinny_linear({}, part, workspace.data());
    std::vector<float> expected = all.read(), got = some.read();
    expected.resize(static_cast<size_t>(small) * 1536);
    got.resize(expected.size());
    EXPECT_EQ(got, expected) << small;
  }
}

TEST(SkinnyLinear, RefusesWhatItCannotDo) {
  LinearCall call;
  call.m = 2;
  call.n = 64;
  call.k = 64;
  EXPECT_TRUE(skinny_linear_takes(call));
  call.norm_weight = reinterpret_cast<const float*>(16);
  EXPECT_TRUE(skinny_linear_takes(call));
  call.m = 3;
  EXPECT_FALSE(skinny_linear_takes(call));
  call.norm_weight = nullptr;
  EXPECT_TRUE(skinny_linear_takes(call));
  call.m = 257;
  EXPECT_FALSE(skinny_linear_takes(call));
  call.m = 1;
  call.k = 60;
  EXPECT_FALSE(skinny_linear_takes(call));
}

}  // namespace
}  // namespace octavo::cuda
