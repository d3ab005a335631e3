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
  SCOPED_TRACE(options.text());
  const RandomProduct problem(options, random);
  const DeviceArray out = problem.make_out();
  const LinearCall call = problem.call(out);
  ASSERT_TRUE(skinny_linear_takes(call));
  skinny_linear({}, call, workspace.data());
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  ASSERT_EQ(take_error().code, cudaSuccess);
  const double error = testing::relative_error(out.read(), problem.expected());
  EXPECT_LT(error, testing::tolerance(options));
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
    ProductOptions o;
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
    testing::expect_same_bits_while_calls_overlap(m, random,
                                                  [&](const Launch& on, const LinearCall& call) {
                                                    skinny_linear(on, call, workspace.data());
                                                  });
  }
}

TEST(SkinnyLinear, GivesARowTheSameBitsForEveryMOfAClass) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(5);
  const Workspace workspace;
  const int classes[][2] = {{1, 8}, {9, 16}, {17, 32}, {33, 64}, {65, 128}, {129, 256}};
  for (const auto& [small, large] : classes) {
    const RandomProduct problem({.m = large, .n = 1536, .k = 768}, random);
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
