#include "backend/cuda/cluster_linear.h"

#include "backend/cuda/testing_linear.cuh"

namespace octavo::cuda {
namespace {

using testing::ProductOptions;

constexpr int kWidths[] = {64, 72, 96, 112, 128, 144, 192, 224};

void check(const ProductOptions& options, std::mt19937& random, const ClusterTiles& tiles) {
  SCOPED_TRACE("columns " + std::to_string(tiles.columns) + " splits " +
               std::to_string(tiles.splits));
  const auto product = [&](const LinearCall& call) {
    ASSERT_TRUE(cluster_linear_takes(call));
    cluster_linear({}, call, tiles);
  };
  testing::expect_product(options, random, product, [&](const LinearCall& call) {
    return cluster_linear_square_parts(call, tiles);
  });
}

void check_all_cuts(const ProductOptions& options, std::mt19937& random) {
  int trial = 0;
  for (int columns : kWidths) {
    if (options.activation == Activation::kSwiGlu && columns % 16 != 0) continue;
    for (int splits = 1; splits <= 4; ++splits)
      if (testing::wants_trial(trial++)) check(options, random, {columns, splits});
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

TEST(ClusterLinear, CarriesANormInEveryCut) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(8);
  check_all_cuts({.m = 75, .n = 1000, .k = 328, .residual = true, .carries = true}, random);
  check_all_cuts({.m = 128, .n = 1152, .k = 1024, .square_parts = 64}, random);
  check_all_cuts(
      {.m = 100, .n = 672, .k = 512, .activation = Activation::kSwiGlu, .square_parts = 37},
      random);
}

// What a kernel's CTAs hold together, and beyond.
TEST(ClusterLinear, TakesSquaresInAnyNumberOfParts) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(9);
  for (int parts : {1, 2, 3, 4, 36, 37, 132, 144, 148, 600}) {
    check({.m = 90, .n = 256, .k = 192, .bias = true, .square_parts = parts}, random, {64, 2});
  }
}

TEST(ClusterLinear, WalksOverMoreTilesThanThereAreClusters) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(2);
  for (int columns : {64, 112, 224}) {
    check({.m = 128, .n = 29680, .k = 264, .activation = Activation::kSwiGlu}, random,
          {columns, 1});
    check({.m = 120, .n = 29680, .k = 264, .activation = Activation::kSwiGlu, .square_parts = 64},
          random, {columns, 1});
    check({.dtype = DType::kF16, .m = 90, .n = 36864, .k = 128, .activation = Activation::kSwiGlu},
          random, {columns, 1});
  }
}

TEST(ClusterLinear, IsTheProductForRandomShapesAndEpilogues) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(3);
  const auto below = [&](int limit) { return static_cast<int>(random() % limit); };
  for (int i = 0; i < testing::trials(100); ++i) {
    ProductOptions o;
    o.dtype = below(2) ? DType::kBF16 : DType::kF16;
    o.m = 1 + below(128);
    o.n = 16 * (1 + below(testing::length(200)));
    o.k = 8 * (1 + below(below(2) ? testing::length(250) : 12));
    o.activation = below(3) ? Activation::kNone : Activation::kSwiGlu;
    if (o.activation == Activation::kNone) {
      o.bias = below(2);
      o.residual = below(2);
      o.out_is_float = below(4) == 0;
    }
    if (o.dtype == DType::kBF16) {
      o.carries = o.activation == Activation::kNone && !o.out_is_float && below(2);
      if (below(2)) o.square_parts = 1 + below(200);
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
  check_chosen({.m = 128, .n = 6144, .k = 4096, .square_parts = 64});
  check_chosen({.m = 96, .n = 4096, .k = 4096, .residual = true, .carries = true});
  check_chosen({.m = 128, .n = 4096, .k = 14336, .residual = true, .carries = true});
  check_chosen(
      {.m = 128, .n = 28672, .k = 4096, .activation = Activation::kSwiGlu, .square_parts = 116});
}

// Calls in a row on one stream, the next starting while the last still runs.
TEST(ClusterLinear, GivesTheSameBitsAgainAndAgainWhileCallsOverlap) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(5);
  const ClusterTiles cuts[] = {{72, 2}, {144, 4}, {96, 3}, {112, 1}};
  int trial = 0;
  for (const ClusterTiles& tiles : cuts) {
    if (!testing::wants_trial(trial++)) continue;
    SCOPED_TRACE(tiles.columns);
    const auto product = [&](const Launch& on, const LinearCall& call) {
      cluster_linear(on, call, tiles);
    };
    testing::expect_same_bits_while_calls_overlap(100, random, product);
    testing::expect_same_bits_while_calls_overlap(100, random, product, [&](const LinearCall& c) {
      return cluster_linear_square_parts(c, tiles);
    });
  }
}

TEST(ClusterLinear, CarriesANormAsExactlyAsAKernelForIt) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(10);
  for (int m : {1, 65, 128}) {
    SCOPED_TRACE(m);
    testing::expect_carried_norm_as_exact_as_a_kernel(
        m, random, [](const LinearCall& call) { cluster_linear({}, call); },
        [](const LinearCall& call) { return cluster_linear_square_parts(call); });
  }
}

TEST(ClusterLinear, GivesARowTheSameBitsInAnyBatch) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(6);
  const auto product = [](const LinearCall& call) { cluster_linear({}, call); };
  testing::expect_same_bits_in_batches({.m = 128, .n = 1536, .k = 768}, {1, 40, 101}, random,
                                       product);
  testing::expect_same_bits_in_batches({.m = 128, .n = 1536, .k = 768, .square_parts = 50},
                                       {1, 40, 101}, random, product);
  LinearCall shape;
  shape.n = 1536;
  shape.k = 768;
  testing::expect_same_bits_in_batches(
      {.m = 128, .n = 1536, .k = 768, .residual = true, .carries = true}, {1, 40, 101}, random,
      product, cluster_linear_square_parts(shape));
}

TEST(ClusterLinear, MayWriteOverTheResidual) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(7);
  for (int splits : {1, 4}) {
    check({.m = 128, .n = 1024, .k = 512, .residual = true, .in_place = true, .carries = true},
          random, {144, splits});
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

TEST(ClusterLinear, CarriesNormsInBFloat16Alone) {
  SKIP_WITHOUT_GPU();
  testing::expect_carries_norms_in_bfloat16_alone(100, cluster_linear_takes);
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
