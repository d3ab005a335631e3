#include "backend/cuda/cluster_linear.h"

#include "backend/cuda/testing_linear.cuh"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;
using testing::ProductOptions;
using testing::RandomProduct;

constexpr int kWidths[] = {64, 72, 96, 112, 128, 144, 192, 224};

void check(const ProductOptions& options, std::mt19937& random, const ClusterTiles& tiles) {
  SCOPED_TRACE(options.text() + " columns " + std::to_string(tiles.columns) + " splits " +
               std::to_string(tiles.splits));
  const RandomProduct product(options, random);
  const DeviceArray out = product.make_out();
  const LinearCall call = product.call(out);
  ASSERT_TRUE(cluster_linear_takes(call));
  cluster_linear({}, call, tiles);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  ASSERT_EQ(take_error().code, cudaSuccess);
  const double error = testing::relative_error(out.read(), product.expected());
  EXPECT_LT(error, testing::tolerance(options));
  EXPECT_FALSE(std::isnan(error));
  EXPECT_TRUE(out.guard_intact());
}

void check_all_cuts(const ProductOptions& options, std::mt19937& random) {
  for (int columns : kWidths) {
    if (options.activation == Activation::kSwiGlu && columns % 16 != 0) continue;
    for (int splits = 1; splits <= 4; ++splits) check(options, random, {columns, splits});
  }
}

TEST(ClusterLinear, IsTheProductInEveryCut) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(1);
  check_all_cuts({.m = 128, .n = 1152, .k = 1024}, random);
  check_all_cuts({.m = 75, .n = 1000, .k = 328, .residual = true}, random);
  check_all_cuts({.m = 100, .n = 672, .k = 512, .activation = Activation::kSwiGlu}, random);
  check_all_cuts({.dtype = DType::kF16, .m = 128, .n = 520, .k = 256, .out_is_float = true},
                 random);
}

TEST(ClusterLinear, WalksOverMoreTilesThanThereAreClusters) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(2);
  for (int columns : {64, 112, 224}) {
    check({.m = 128, .n = 29680, .k = 264, .activation = Activation::kSwiGlu}, random,
          {columns, 1});
    check({.dtype = DType::kF16, .m = 90, .n = 36864, .k = 128, .activation = Activation::kSwiGlu},
          random, {columns, 1});
  }
}

TEST(ClusterLinear, IsTheProductForRandomShapesAndEpilogues) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(3);
  const auto below = [&](int limit) { return static_cast<int>(random() % limit); };
  for (int i = 0; i < 100; ++i) {
    ProductOptions o;
    o.dtype = below(2) ? DType::kBF16 : DType::kF16;
    o.m = 1 + below(128);
    o.n = 16 * (1 + below(200));
    o.k = 8 * (1 + below(below(2) ? 250 : 12));
    o.activation = below(3) ? Activation::kNone : Activation::kSwiGlu;
    if (o.activation == Activation::kNone) {
      o.bias = below(2);
      o.residual = below(2);
      o.out_is_float = below(4) == 0;
    }
    LinearCall shape;
    shape.n = o.n;
    shape.k = o.k;
    shape.activation = o.activation;
    check(o, random, cluster_linear_tiles(shape));
  }
}

TEST(ClusterLinear, IsTheProductForTheShapesOfLlama8B) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(4);
  LinearCall shape;
  const auto check_chosen = [&](const ProductOptions& o) {
    shape.n = o.n;
    shape.k = o.k;
    shape.activation = o.activation;
    check(o, random, cluster_linear_tiles(shape));
  };
  check_chosen({.m = 128, .n = 6144, .k = 4096});
  check_chosen({.m = 96, .n = 4096, .k = 4096, .residual = true});
  check_chosen({.m = 128, .n = 4096, .k = 14336, .residual = true});
  check_chosen({.m = 128, .n = 28672, .k = 4096, .activation = Activation::kSwiGlu});
}

// Calls in a row on one stream, the next starting while the last still runs.
TEST(ClusterLinear, GivesTheSameBitsAgainAndAgainWhileCallsOverlap) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(5);
  const ClusterTiles cuts[] = {{72, 2}, {144, 4}, {96, 3}, {112, 1}};
  for (const ClusterTiles& tiles : cuts) {
    SCOPED_TRACE(tiles.columns);
    testing::expect_same_bits_while_calls_overlap(
        100, random,
        [&](const Launch& on, const LinearCall& call) { cluster_linear(on, call, tiles); });
  }
}

TEST(ClusterLinear, GivesARowTheSameBitsInAnyBatch) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(6);
  const RandomProduct product({.m = 128, .n = 1536, .k = 768}, random);
  const DeviceArray all = product.make_out(), some = product.make_out();
  const LinearCall call = product.call(all);
  cluster_linear({}, call);
  for (int m : {1, 40, 101}) {
    LinearCall part = product.call(some);
    part.m = m;
    cluster_linear({}, part);
    std::vector<float> expected = all.read(), got = some.read();
    expected.resize(static_cast<size_t>(m) * 1536);
    got.resize(expected.size());
    EXPECT_EQ(got, expected) << m;
  }
}

TEST(ClusterLinear, MayWriteOverTheResidual) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(7);
  for (int splits : {1, 4}) {
    const RandomProduct product({.m = 128, .n = 1024, .k = 512, .residual = true}, random);
    const DeviceArray out = product.make_out();
    LinearCall call = product.call(out);
    ASSERT_EQ(cudaMemcpy(out.data(), call.residual, out.bytes(), cudaMemcpyDeviceToDevice),
              cudaSuccess);
    call.residual = call.out;
    cluster_linear({}, call, {144, splits});
    EXPECT_LT(testing::relative_error(out.read(), product.expected()), 2.5e-3);
  }
}

TEST(ClusterLinear, RefusesWhatItCannotDo) {
  LinearCall call;
  call.m = 100;
  call.n = call.k = 64;
  EXPECT_TRUE(cluster_linear_takes(call));
  call.m = 129;
  EXPECT_FALSE(cluster_linear_takes(call));
  call.m = 100;
  call.n = 60;
  EXPECT_FALSE(cluster_linear_takes(call));
  call.n = 72;
  call.activation = Activation::kSwiGlu;
  EXPECT_FALSE(cluster_linear_takes(call));
  call.n = 80;
  const float bias = 0;
  call.bias = &bias;
  EXPECT_FALSE(cluster_linear_takes(call));
  call.bias = nullptr;
  call.activation = Activation::kGelu;
  EXPECT_FALSE(cluster_linear_takes(call));
}

TEST(ClusterLinear, LeavesWideMatricesToOthersUnlessTheyAreGated) {
  SKIP_WITHOUT_GPU();
  LinearCall call;
  call.m = 100;
  call.n = 128256;
  call.k = 64;
  EXPECT_FALSE(cluster_linear_takes(call));
  call.activation = Activation::kSwiGlu;
  EXPECT_TRUE(cluster_linear_takes(call));
}

}  // namespace
}  // namespace octavo::cuda
