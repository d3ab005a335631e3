// rms_norm and layer_norm against sums in double, on every instruction set of this machine.
#include "backend/cpu/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "ops/testing_linear.h"

namespace octavo::cpu {
namespace {

using octavo::testing::GivenVector;

std::vector<float> random_values(size_t n, uint32_t seed, float mean = 0) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(mean, 2.0f);
  std::vector<float> values(n);
  for (float& v : values) v = normal(engine);
  return values;
}

struct Norm {
  bool layer = false;
  int64_t size = 0;
  GivenVector weight{random_values(static_cast<size_t>(size), 1)};
  GivenVector bias{random_values(static_cast<size_t>(size), 2)};

  std::vector<float> run(Isa isa, ThreadPool& pool, std::vector<float> x) const {
    std::vector<float> out(x.size(), std::numeric_limits<float>::quiet_NaN());
    const int64_t rows = static_cast<int64_t>(x.size()) / size;
    const Tensor xt{x.data(), DType::kF32, {rows, size}},
        outt{out.data(), DType::kF32, {rows, size}};
    if (layer) {
      layer_norm(isa, pool, {xt, &weight, &bias, 1e-5f, outt});
    } else {
      rms_norm(isa, pool, {xt, &weight, 1e-5f, outt});
    }
    return out;
  }

  std::vector<double> expected(const std::vector<float>& x) const {
    std::vector<double> out(x.size());
    for (size_t row = 0; row < x.size(); row += static_cast<size_t>(size)) {
      double mean = 0, squares = 0;
      for (int64_t i = 0; layer && i < size; ++i) mean += x[row + i] / static_cast<double>(size);
      for (int64_t i = 0; i < size; ++i) squares += (x[row + i] - mean) * (x[row + i] - mean);
      const double factor = 1 / std::sqrt(squares / static_cast<double>(size) + 1e-5);
      for (int64_t i = 0; i < size; ++i) {
        out[row + i] = (x[row + i] - mean) * factor * weight.tensor().as<float>()[i];
        if (layer) out[row + i] += bias.tensor().as<float>()[i];
      }
    }
    return out;
  }
};

TEST(Norm, AgreesWithSumsInDouble) {
  ThreadPool pool(2);
  for (const Isa isa : machine_isas()) {
    for (const bool layer : {false, true}) {
      for (const int64_t size : {1, 3, 8, 16, 31, 64, 100, 288, 2048, 4099}) {
        for (const size_t rows : {1, 5, 40}) {
          const Norm norm{layer, size};
          const auto x = random_values(rows * static_cast<size_t>(size), 3, 5.0f);
          const auto out = norm.run(isa, pool, x);
          const auto expected = norm.expected(x);
          for (size_t i = 0; i < out.size(); ++i) {
            ASSERT_NEAR(out[i], expected[i], 2e-5 * (1 + std::abs(expected[i])))
                << to_string(isa) << (layer ? " layer_norm" : " rms_norm") << " size " << size
                << " at " << i;
          }
        }
      }
    }
  }
}

TEST(Norm, RowIsTheSameAloneAndAmongOthers) {
  ThreadPool one(1), three(3);
  for (const Isa isa : machine_isas()) {
    for (const bool layer : {false, true}) {
      const Norm norm{layer, 301};
      const auto x = random_values(200 * 301, 4);
      const auto together = norm.run(isa, three, x);
      for (size_t row = 0; row < 200; row += 17) {
        const auto alone = norm.run(isa, one, {x.begin() + row * 301, x.begin() + (row + 1) * 301});
        ASSERT_EQ(0, std::memcmp(alone.data(), together.data() + row * 301, 301 * sizeof(float)));
      }
    }
  }
}

TEST(Norm, NanStaysNan) {
  ThreadPool pool(1);
  for (const Isa isa : machine_isas()) {
    for (const bool layer : {false, true}) {
      const Norm norm{layer, 40};
      auto x = random_values(40, 5);
      x[39] = std::numeric_limits<float>::quiet_NaN();
      for (const float v : norm.run(isa, pool, x)) EXPECT_TRUE(std::isnan(v));
    }
  }
}

}  // namespace
}  // namespace octavo::cpu
