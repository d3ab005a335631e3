#include "backend/cuda/skinny_linear.h"

#include "backend/cuda/testing_linear.cuh"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;
using testing::ProductOptions;
using testing::RandomProduct;

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

void check(const ProductOptions& options, std::mt19937& random, const Workspace& workspace) {
  const auto product = [&](const LinearCall& call) {
    ASSERT_TRUE(skinny_linear_takes(call));
    skinny_linear({}, call, workspace.data());
  };
  testing::expect_product(options, random, product, skinny_linear_square_parts);
  EXPECT_TRUE(workspace.guard_intact()) << options.text();
}

TEST(SkinnyLinear, IsTheProductForEveryClassOfM) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(1);
  const Workspace workspace;
  for (int m : {1, 2, 7, 8, 9, 16, 17, 32, 33, 64, 65, 100, 128}) {
    for (DType dtype : {DType::kBF16, DType::kF16}) {
      check({.dtype = dtype, .m = m, .n = 512, .k = 1024}, random, workspace);
      check({.dtype = dtype, .m = m, .n = 1000, .k = 200, .out_is_float = true}, random, workspace);
    }
  }
}

TEST(SkinnyLinear, CarriesANormForEveryClassOfM) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(6);
  const Workspace workspace;
  for (int m : {1, 2, 7, 8, 9, 16, 17, 32, 33, 64}) {
    check({.m = m, .n = 1000, .k = 328, .residual = true, .carries = true}, random, workspace);
    check({.m = m, .n = 512, .k = 1024, .square_parts = 64}, random, workspace);
    check({.m = m, .n = 672, .k = 512, .activation = Activation::kSwiGlu, .square_parts = 37},
          random, workspace);
  }
}

TEST(SkinnyLinear, CarriesANormAsExactlyAsAKernelForIt) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(7);
  const Workspace workspace;
  for (int m : {1, 8, 20, 64}) {
    SCOPED_TRACE(m);
    testing::expect_carried_norm_as_exact_as_a_kernel(
        m, random, [&](const LinearCall& call) { skinny_linear({}, call, workspace.data()); },
        skinny_linear_square_parts);
  }
}

TEST(SkinnyLinear, IsTheProductForRandomShapesAndEpilogues) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(2);
  const Workspace workspace;
  const auto below = [&](int limit) { return static_cast<int>(random() % limit); };
  for (int i = 0; i < testing::trials(150); ++i) {
    ProductOptions o;
    o.dtype = below(2) ? DType::kBF16 : DType::kF16;
    o.m = below(2) ? 1 + below(16) : 1 + below(128);
    o.n = below(4) ? 1 + below(1500) : 1 + below(90);
    o.k = 8 * (1 + below(below(2) ? 250 : 12));
    o.activation = static_cast<Activation>(below(4));
    if (o.activation == Activation::kSwiGlu) o.n = (o.n + 15) / 16 * 16;
    o.bias = below(2);
    o.residual = below(2) && o.activation != Activation::kSwiGlu;
    o.out_is_float = below(3) == 0;
    if (!o.out_is_float || o.residual) o.n += o.n % 2;
    if (o.dtype == DType::kBF16 && o.m <= 64) {
      o.carries = o.activation != Activation::kSwiGlu && !o.out_is_float && below(2);
      if (below(2)) o.square_parts = 1 + below(200);
    }
    check(o, random, workspace);
  }
}

TEST(SkinnyLinear, IsTheProductForTheShapesOfLlama8B) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(3);
  const Workspace workspace;
  for (int m : {1, 30, 64, 128}) {
    check({.m = m, .n = 4096, .k = 4096, .residual = true}, random, workspace);
  }
  for (int m : {1, 32, 64}) {
    check({.m = m, .n = 4096, .k = 14336, .residual = true, .carries = true}, random, workspace);
    check({.m = m, .n = 6144, .k = 4096, .square_parts = 64}, random, workspace);
  }
  check({.m = 128, .n = 7168, .k = 4096, .activation = Activation::kSwiGlu}, random, workspace);
}

TEST(SkinnyLinear, IsTheProductForMatricesWithAWideTileForEverySm) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(8);
  const Workspace workspace;
  for (int m : {1, 5, 12, 30}) {
    check({.m = m, .n = 20000, .k = 1024, .out_is_float = true}, random, workspace);
    check({.m = m, .n = 17408, .k = 640, .activation = Activation::kSwiGlu, .square_parts = 64},
          random, workspace);
    check({.m = m, .n = 17000, .k = 512, .residual = true, .carries = true}, random, workspace);
  }
}

// Calls in a row on one stream, the next starting while the last still runs: no call may see
// another's sums or counters, nor read x before it is written.
TEST(SkinnyLinear, GivesTheSameBitsAgainAndAgainWhileCallsOverlap) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(4);
  const Workspace workspace;
  for (int m : {1, 12, 32, 50, 128}) {
    SCOPED_TRACE(m);
    const auto product = [&](const Launch& on, const LinearCall& call) {
      skinny_linear(on, call, workspace.data());
    };
    testing::expect_same_bits_while_calls_overlap(m, random, product);
    if (m > 64) continue;
    testing::expect_same_bits_while_calls_overlap(m, random, product, skinny_linear_square_parts);
  }
}

TEST(SkinnyLinear, GivesARowTheSameBitsForEveryMOfAClass) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(5);
  const Workspace workspace;
  const int classes[][2] = {{1, 8}, {9, 16}, {17, 32}, {33, 64}, {65, 128}};
  const auto product = [&](const LinearCall& call) { skinny_linear({}, call, workspace.data()); };
  for (const auto& [small, large] : classes) {
    const ProductOptions plain = {.m = large, .n = 1536, .k = 768};
    testing::expect_same_bits_in_batches(plain, {small}, random, product);
    if (large > 64) continue;
    ProductOptions first = plain, second = plain;
    first.residual = first.carries = true;
    second.square_parts = 50;
    testing::expect_same_bits_in_batches(first, {small}, random, product, 1536 / 64);
    testing::expect_same_bits_in_batches(second, {small}, random, product);
  }
}

TEST(SkinnyLinear, RefusesWhatItCannotDo) {
  LinearCall call;
  call.m = 2;
  call.n = 64;
  call.k = 64;
  EXPECT_TRUE(skinny_linear_takes(call));
  call.m = 257;
  EXPECT_FALSE(skinny_linear_takes(call));
  call.m = 1;
  call.n = 63;
  EXPECT_FALSE(skinny_linear_takes(call));
  call.out_is_float = true;
  EXPECT_TRUE(skinny_linear_takes(call));
  call.residual = &call;
  EXPECT_FALSE(skinny_linear_takes(call));
  call.residual = nullptr;
  call.k = 60;
  EXPECT_FALSE(skinny_linear_takes(call));
}

TEST(SkinnyLinear, CarriesNormsInBFloat16UpToSixtyFourRows) {
  testing::expect_carries_norms_in_bfloat16_alone(64, skinny_linear_takes);
  const float value = 1;
  LinearCall first, second;
  first.m = second.m = 65;
  first.n = first.k = second.n = second.k = 64;
  first.next_gain = &value;
  second.squares = &value;
  EXPECT_FALSE(skinny_linear_takes(first));
  EXPECT_FALSE(skinny_linear_takes(second));
}

}  // namespace
}  // namespace octavo::cuda
