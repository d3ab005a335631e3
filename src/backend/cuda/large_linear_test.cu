#include "backend/cuda/large_linear.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "backend/cuda/numeric.cuh"
#include "backend/cuda/testing_linear.cuh"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;
using testing::ProductOptions;
using testing::random_values;
using testing::relative_error;
using testing::worst_element;

constexpr int kWidths[] = {256, 128, 192, 64};  // the first two also with SwiGLU

// One thread for each element of the result, as ops/linear.h says it.
template <typename T>
__global__ void reference_kernel(LinearCall call, int out_columns, float* out) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y;
  if (column >= out_columns) return;
  auto product = [&](int n) {
    const T* x = static_cast<const T*>(call.x) + int64_t{row} * call.k;
    const T* w = static_cast<const T*>(call.weight) + int64_t{n} * call.k;
    float sum = 0;
    for (int i = 0; i < call.k; ++i) sum += to_float(x[i]) * to_float(w[i]);
    return call.bias == nullptr ? sum : sum + call.bias[n];
  };
  float v;
  if (call.activation == Activation::kSwiGlu) {
    const int gate = column / 8 * 16 + column % 8;
    const float g = product(gate);
    v = g / (1 + expf(-g)) * product(gate + 8);
  } else {
    v = product(column);
    if (call.activation == Activation::kGelu) v = 0.5f * v * (1 + erff(v / sqrtf(2)));
    if (call.activation == Activation::kGeluTanh)
      v = 0.5f * v * (1 + tanhf(0.7978845608f * (v + 0.044715f * v * v * v)));
  }
  const int64_t at = int64_t{row} * out_columns + column;
  if (call.residual != nullptr) v += to_float(static_cast<const T*>(call.residual)[at]);
  out[at] = v;
}

struct Case {
  int m, n, k;
  DType dtype = DType::kBF16;
  Activation activation = Activation::kNone;
  bool bias = false, residual = false, out_is_float = false, in_place = false;

  std::string name() const {
    char text[160];
    std::snprintf(text, sizeof text,
                  "m %d n %d k %d dtype %d activation %d bias %d residual %d float %d in place %d",
                  m, n, k, static_cast<int>(dtype), static_cast<int>(activation), bias, residual,
                  out_is_float, in_place);
    return text;
  }
};

void check(const Case& c, std::mt19937& random, const LargeTiles& tiles) {
  const int out_columns = c.activation == Activation::kSwiGlu ? c.n / 2 : c.n;
  const DType out_type = c.out_is_float ? DType::kF32 : c.dtype;
  const DeviceArray x(c.dtype, {c.m, c.k}, random_values(random, int64_t{c.m} * c.k, c.dtype));
  const DeviceArray weight(
      c.dtype, {c.n, c.k},
      random_values(random, int64_t{c.n} * c.k, c.dtype, 1 / std::sqrt(static_cast<float>(c.k))));
  const DeviceArray bias(DType::kF32, {c.n}, random_values(random, c.n, DType::kF32));
  const int residual_rows = c.residual ? c.m : 1;
  const DeviceArray residual(c.dtype, {residual_rows, out_columns},
                             random_values(random, int64_t{residual_rows} * out_columns, c.dtype));
  const DeviceArray out(out_type, {c.m, out_columns});
  const DeviceArray reference(DType::kF32, {c.m, out_columns});

  LinearCall call;
  call.dtype = c.dtype;
  call.m = c.m;
  call.n = c.n;
  call.k = c.k;
  call.x = x.data();
  call.weight = weight.data();
  call.bias = c.bias ? bias.as<float>() : nullptr;
  call.residual = c.residual ? residual.data() : nullptr;
  call.activation = c.activation;
  call.out = c.in_place ? residual.data() : out.data();
  call.out_is_float = c.out_is_float;
  ASSERT_TRUE(large_linear_takes(call)) << c.name();

  const dim3 grid((out_columns + 127) / 128, c.m);
  if (c.dtype == DType::kF16) {
    reference_kernel<__half><<<grid, 128>>>(call, out_columns, reference.as<float>());
  } else {
    reference_kernel<__nv_bfloat16><<<grid, 128>>>(call, out_columns, reference.as<float>());
  }
  large_linear({}, call, tiles);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << c.name();
  ASSERT_EQ(take_error().code, cudaSuccess) << c.name();

  const std::string where =
      c.name() + " columns " + std::to_string(tiles.columns) + (tiles.split ? " split" : "");
  const double step = c.out_is_float ? 1e-4 : c.dtype == DType::kF16 ? 0x1p-10 : 0x1p-7;
  const DeviceArray& result = c.in_place ? residual : out;
  const auto got = result.read(), want = reference.read();
  EXPECT_LT(relative_error(got, want), step) << where;
  EXPECT_LT(worst_element(got, want, step), 1) << where;
  EXPECT_TRUE(result.guard_intact()) << where;
}

void check_all_tiles(const Case& c, std::mt19937& random) {
  for (int columns : kWidths) {
    if (c.activation == Activation::kSwiGlu && columns % 128 != 0) continue;
    for (bool split : {false, true}) check(c, random, {columns, split});
  }
}

TEST(LargeLinear, MatchesTheReferenceOnWholeTiles) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(1);
  check_all_tiles({.m = 256, .n = 768, .k = 64}, random);
  check_all_tiles({.m = 512, .n = 768, .k = 512}, random);
  check_all_tiles({.m = 384, .n = 768, .k = 512}, random);  // pairs along n
  check_all_tiles({.m = 512, .n = 768, .k = 512, .dtype = DType::kF16}, random);
}

TEST(LargeLinear, MatchesTheReferenceWhenEachClusterWalksManyTiles) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(2);
  check_all_tiles({.m = 2300, .n = 6144, .k = 200}, random);
  check_all_tiles({.m = 900, .n = 12288, .k = 136, .residual = true}, random);
  check_all_tiles({.m = 600, .n = 30720, .k = 72, .activation = Activation::kSwiGlu}, random);
}

TEST(LargeLinear, AddsBiasActivationAndResidual) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(3);
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    for (Activation a : {Activation::kNone, Activation::kGelu, Activation::kGeluTanh}) {
      check({.m = 300, .n = 520, .k = 328, .dtype = dtype, .activation = a, .bias = true}, random,
            {256, true});
      check({.m = 300,
             .n = 520,
             .k = 328,
             .dtype = dtype,
             .activation = a,
             .bias = true,
             .residual = true},
            random, {128, true});
    }
    check({.m = 300,
           .n = 528,
           .k = 328,
           .dtype = dtype,
           .activation = Activation::kSwiGlu,
           .bias = true},
          random, {256, true});
  }
}

TEST(LargeLinear, MayWriteOverTheResidual) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(4);
  check_all_tiles({.m = 700, .n = 4104, .k = 264, .residual = true, .in_place = true}, random);
}

TEST(LargeLinear, WritesFloatsAndRowsOfAnyLength) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(5);
  check_all_tiles({.m = 300, .n = 1024, .k = 256, .out_is_float = true}, random);
  check_all_tiles({.m = 300, .n = 1023, .k = 256, .bias = true, .out_is_float = true}, random);
  check_all_tiles({.m = 300, .n = 1021, .k = 256, .bias = true, .residual = true}, random);
  check_all_tiles({.m = 260, .n = 14001, .k = 64, .out_is_float = true}, random);
}

TEST(LargeLinear, MatchesTheReferenceOnRandomShapes) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(6);
  auto up_to = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int i = 0; i < 100; ++i) {
    Case c;
    c.m = 1 + up_to(900);
    c.k = 8 * (1 + up_to(100));
    c.dtype = up_to(2) ? DType::kBF16 : DType::kF16;
    c.activation = static_cast<Activation>(up_to(4));
    c.bias = up_to(2);
    if (c.activation == Activation::kSwiGlu) {
      c.n = 16 * (1 + up_to(120));
    } else {
      c.n = up_to(4) ? 8 * (1 + up_to(240)) : 1 + up_to(2000);
      c.residual = up_to(2);
      c.in_place = c.residual && up_to(2);
      c.out_is_float = !c.in_place && up_to(4) == 0;
    }
    check(c, random, {kWidths[up_to(c.activation == Activation::kSwiGlu ? 2 : 4)], up_to(2) != 0});
  }
}

// Of products with norms: against float64, and what is carried.
void check_norm(const ProductOptions& options, std::mt19937& random, const LargeTiles& tiles) {
  SCOPED_TRACE("columns " + std::to_string(tiles.columns) + (tiles.split ? " split" : ""));
  const auto product = [&](const LinearCall& call) {
    ASSERT_TRUE(large_linear_takes(call));
    large_linear({}, call, tiles);
  };
  testing::expect_product(options, random, product, [&](const LinearCall& call) {
    return large_linear_square_parts(call, tiles);
  });
}

void check_norm_in_all_tiles(const ProductOptions& options, std::mt19937& random) {
  int trial = 0;
  for (int columns : kWidths) {
    if (options.activation == Activation::kSwiGlu && columns % 128 != 0) continue;
    for (bool split : {false, true}) {
      if (testing::wants_trial(trial++)) check_norm(options, random, {columns, split});
    }
  }
}

TEST(LargeLinear, LeavesWhatTheNextNormWants) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(9);
  check_norm_in_all_tiles({.m = 512, .n = 768, .k = 256, .carries = true}, random);
  check_norm_in_all_tiles({.m = 300, .n = 1000, .k = 328, .residual = true, .carries = true},
                          random);
  check_norm_in_all_tiles({.m = 193, .n = 1032, .k = 72, .bias = true, .carries = true}, random);
  // Each cluster walks over many tiles.
  check_norm_in_all_tiles({.m = 1100, .n = 4104, .k = 136, .residual = true, .carries = true},
                          random);
  check_norm_in_all_tiles(
      {.m = 700, .n = 1544, .k = 264, .residual = true, .in_place = true, .carries = true}, random);
}

TEST(LargeLinear, ScalesByTheSquaresOfTheNormBefore) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(10);
  check_norm_in_all_tiles({.m = 512, .n = 768, .k = 512, .square_parts = 16}, random);
  check_norm_in_all_tiles({.m = 300, .n = 1000, .k = 328, .bias = true, .square_parts = 13},
                          random);
  check_norm_in_all_tiles({.m = 700,
                           .n = 1024,
                           .k = 264,
                           .activation = Activation::kSwiGlu,
                           .bias = true,
                           .square_parts = 64},
                          random);
  check_norm_in_all_tiles({.m = 333,
                           .n = 520,
                           .k = 136,
                           .activation = Activation::kGelu,
                           .bias = true,
                           .residual = true,
                           .square_parts = 6},
                          random);
  check_norm_in_all_tiles({.m = 130, .n = 1021, .k = 200, .square_parts = 4}, random);
  check_norm_in_all_tiles({.m = 130, .n = 1024, .k = 200, .out_is_float = true, .square_parts = 8},
                          random);
}

TEST(LargeLinear, TakesSquaresInAnyNumberOfParts) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(11);
  for (int parts : {1, 2, 3, 4, 5, 16, 17, 64, 65, 68, 132, 600}) {
    check_norm({.m = 190, .n = 256, .k = 192, .bias = true, .square_parts = parts}, random,
               {128, parts % 2 == 0});
  }
}

TEST(LargeLinear, CarriesNormsInRandomShapes) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(12);
  const auto below = [&](int limit) { return static_cast<int>(random() % limit); };
  for (int i = 0; i < testing::trials(60); ++i) {
    ProductOptions o;
    o.m = 1 + below(below(2) ? 2000 : 200);
    o.n = 16 * (1 + below(120));
    o.k = 8 * (1 + below(100));
    o.activation = static_cast<Activation>(below(4));
    const bool gated = o.activation == Activation::kSwiGlu;
    o.bias = below(2);
    o.residual = !gated && below(2);
    o.in_place = o.residual && below(2);
    o.carries = !gated && below(2);
    if (o.carries) o.n -= 8 * below(2);
    if (!o.carries || below(2)) o.square_parts = 1 + below(200);
    check_norm(o, random, {kWidths[below(gated ? 2 : 4)], below(2) != 0});
  }
}

TEST(LargeLinear, CarriesANormAsExactlyAsAKernelForIt) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(13);
  for (int m : {1, 300, 1025}) {
    SCOPED_TRACE(m);
    testing::expect_carried_norm_as_exact_as_a_kernel(
        m, random, [](const LinearCall& call) { large_linear({}, call); },
        [](const LinearCall& call) { return large_linear_square_parts(call); });
  }
}

TEST(LargeLinear, GivesTheSameBitsAgainAndAgainWhileCallsOverlap) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(14);
  for (int columns : kWidths) {
    SCOPED_TRACE(columns);
    const LargeTiles tiles = {columns, true};
    testing::expect_same_bits_while_calls_overlap(
        300, random,
        [&](const Launch& on, const LinearCall& call) { large_linear(on, call, tiles); },
        [&](const LinearCall& call) { return large_linear_square_parts(call, tiles); });
  }
}

// Each product reads what the one before it wrote, with the kernels overlapping.
TEST(LargeLinear, WaitsForTheKernelBeforeItInAGraph) {
  SKIP_WITHOUT_GPU();
  constexpr int kSize = 1024, kSteps = 12;
  std::mt19937 random(7);
  const DeviceArray weight(DType::kBF16, {kSize, kSize},
                           random_values(random, kSize * kSize, DType::kBF16, 1 / 32.f));
  const auto start = random_values(random, kSize * kSize, DType::kBF16);
  auto run = [&](bool overlap, bool graph) {
    DeviceArray a(DType::kBF16, {kSize, kSize}, start), b(DType::kBF16, {kSize, kSize});
    cudaStream_t stream;
    cudaStreamCreate(&stream);
    cudaDeviceSynchronize();
    LinearCall call;
    call.m = call.n = call.k = kSize;
    call.weight = weight.data();
    if (graph) cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    for (int i = 0; i < kSteps; ++i) {
      call.x = i % 2 ? b.data() : a.data();
      call.out = i % 2 ? a.data() : b.data();
      large_linear({stream, overlap}, call, {i % 3 ? 128 : 256, i % 4 < 2});
    }
    if (graph) {
      cudaGraph_t captured;
      cudaGraphExec_t ready;
      EXPECT_EQ(cudaStreamEndCapture(stream, &captured), cudaSuccess);
      EXPECT_EQ(cudaGraphInstantiate(&ready, captured, 0), cudaSuccess);
      EXPECT_EQ(cudaGraphLaunch(ready, stream), cudaSuccess);
      EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
      cudaGraphExecDestroy(ready);
      cudaGraphDestroy(captured);
    }
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    cudaStreamDestroy(stream);
    return a.read();
  };
  const auto alone = run(false, false);
  EXPECT_EQ(run(true, false), alone);
  EXPECT_EQ(run(true, true), alone);
  EXPECT_EQ(take_error().code, cudaSuccess);
}

TEST(LargeLinear, GivesARowTheSameResultInAnyBatch) {
  SKIP_WITHOUT_GPU();
  constexpr int kN = 1536, kK = 1024;
  std::mt19937 random(8);
  const DeviceArray x(DType::kBF16, {1024, kK}, random_values(random, 1024 * kK, DType::kBF16));
  const DeviceArray weight(DType::kBF16, {kN, kK},
                           random_values(random, kN * kK, DType::kBF16, 1 / 32.f));
  auto first_row = [&](int m, int columns) {
    const DeviceArray out(DType::kF32, {m, kN});
    LinearCall call;
    call.m = m;
    call.n = kN;
    call.k = kK;
    call.x = x.data();
    call.weight = weight.data();
    call.out = out.data();
    call.out_is_float = true;
    large_linear({}, call, {columns, false});
    auto values = out.read();
    values.resize(kN);
    return values;
  };
  const auto alone = first_row(1, 128);
  for (int columns : {256, 192, 128, 64}) EXPECT_EQ(first_row(1000, columns), alone) << columns;
}

TEST(LargeLinear, RefusesWhatItCannotDo) {
  LinearCall call;
  call.m = call.n = call.k = 256;
  EXPECT_TRUE(large_linear_takes(call));
  call.k = 252;
  EXPECT_FALSE(large_linear_takes(call));
  call.k = 256;
  call.activation = Activation::kSwiGlu;
  EXPECT_TRUE(large_linear_takes(call));
  call.out_is_float = true;
  EXPECT_FALSE(large_linear_takes(call));
}

TEST(LargeLinear, CarriesNormsInBFloat16Alone) {
  testing::expect_carries_norms_in_bfloat16_alone(1000, large_linear_takes);
}

TEST(LargeLinear, CarriesNormsFromRowsOfWholeUnitsAlone) {
  LinearCall call;
  call.m = call.k = 256;
  call.n = 252;
  EXPECT_TRUE(large_linear_takes(call));
  const float value = 1;
  call.squares = &value;
  EXPECT_TRUE(large_linear_takes(call));
  call.next_gain = &value;
  EXPECT_FALSE(large_linear_takes(call));
  call.n = 248;
  EXPECT_TRUE(large_linear_takes(call));
}

}  // namespace
}  // namespace octavo::cuda
