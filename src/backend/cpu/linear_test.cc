// Tests of linear, embedding and the loading of weights: every instruction set that the machine
// has, and the AMX kernels over emulated tiles, against the plain reference; and bit for bit
// against themselves at other numbers of rows and threads.
#include "backend/cpu/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "backend/cpu/embedding.h"
#include "backend/cpu/linear_weight.h"
#include "backend/cpu/testing_linear_reference.h"

namespace octavo::cpu {
namespace {

struct Target {
  std::string name;
  const LinearKernels* kernels;  // null: by Isa
  Isa isa;
  bool rounds_x;  // to bf16, with bf16 weights
};

std::vector<Target> targets() {
  std::vector<Target> all;
  for (Isa isa : machine_isas())
    all.push_back({std::string(to_string(isa)), nullptr, isa, isa == Isa::kAmx});
  if (machine_has(Isa::kAvx512) && __builtin_cpu_supports("avx512bf16")) {
    all.push_back({"emulated amx", &emulated::kLinearKernels, Isa::kAvx512, true});
  }
  return all;
}

// Owns a tensor's memory.
struct Array {
  std::vector<char> memory;
  Tensor tensor;
  Array() = default;
  Array(DType dtype, Shape shape) : memory(static_cast<size_t>(shape.count()) * size_of(dtype)) {
    tensor = Tensor{memory.data(), dtype, shape};
  }
  float* floats() { return tensor.as<float>(); }
};

Array random_array(std::mt19937& rng, DType dtype, Shape shape, float scale = 1) {
  Array a(dtype, shape);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  for (int64_t i = 0; i < shape.count(); ++i) {
    const float v = uniform(rng);
    if (dtype == DType::kF32) a.floats()[i] = v;
    if (dtype == DType::kBF16) a.tensor.as<uint16_t>()[i] = float_to_bf16(v);
    if (dtype == DType::kF16) a.tensor.as<uint16_t>()[i] = float_to_f16(v);
  }
  return a;
}

void round_to_bf16(Array& a) {
  for (int64_t i = 0; i < a.tensor.count(); ++i)
    a.floats()[i] = bf16_to_float(float_to_bf16(a.floats()[i]));
}

void poison(Array& a) {
  for (int64_t i = 0; i < a.tensor.count(); ++i)
    a.floats()[i] = std::numeric_limits<float>::quiet_NaN();
}

// One op with all that belongs to it.
struct Case {
  int64_t m, n, k;
  DType dtype;
  Activation activation = Activation::kNone;
  bool bias = false, residual = false;
  int64_t columns() const { return activation == Activation::kSwiGlu ? n / 2 : n; }
};

struct Problem {
  Case c;
  Array weight, x, residual, out;
  WeightMemory memory;
  std::unique_ptr<CpuLinearWeight> packed;
  std::unique_ptr<CpuVectorWeight> bias;
  LinearArgs args;

  Problem(const Case& which, Isa isa, uint32_t seed) : c(which) {
    std::mt19937 rng(seed);
    weight = random_array(rng, c.dtype, {c.n, c.k});
    x = random_array(rng, DType::kF32, {c.m, c.k});
    out = Array(DType::kF32, {c.m, c.columns()});
    poison(out);
    packed = std::make_unique<CpuLinearWeight>(
        isa, memory, LinearSpec{c.n, c.k, c.dtype, c.activation == Activation::kSwiGlu});
    packed->load_rows(0, weight.tensor);
    args.x = x.tensor;
    args.weight = packed.get();
    args.activation = c.activation;
    args.out = out.tensor;
    if (c.bias) {
      Array b = random_array(rng, DType::kF32, {c.n});
      bias = std::make_unique<CpuVectorWeight>(c.n);
      bias->load(0, b.tensor);
      args.bias = bias.get();
    }
    if (c.residual) {
      residual = random_array(rng, DType::kF32, {c.m, c.columns()});
      args.residual = residual.tensor;
    }
  }
};

const LinearKernels& kernels_of(const Target& t, DType dtype) {
  if (t.kernels != nullptr && dtype == DType::kBF16) return *t.kernels;
  const WeightFormat format = dtype == DType::kBF16 ? WeightFormat::kBF16 : WeightFormat::kF32;
  return linear_kernels(t.isa, format);
}

void expect_near(const Tensor& actual, const Tensor& expected, double tolerance,
                 const std::string& what) {
  double largest = 1e-3;
  for (int64_t i = 0; i < expected.count(); ++i)
    largest = std::max(largest, std::fabs(double{expected.as<float>()[i]}));
  for (int64_t i = 0; i < expected.count(); ++i) {
    const double a = actual.as<float>()[i], e = expected.as<float>()[i];
    ASSERT_LE(std::fabs(a - e), tolerance * largest)
        << what << " at " << i << ": " << a << " for " << e;
  }
}

void check_against_reference(const Case& c, uint32_t seed) {
  for (const Target& t : targets()) {
    const std::string what = t.name + " " + std::string(to_string(c.dtype)) +
                             " m=" + std::to_string(c.m) + " n=" + std::to_string(c.n) +
                             " k=" + std::to_string(c.k) +
                             " act=" + std::to_string(static_cast<int>(c.activation));
    Problem p(c, t.isa, seed);
    if (t.rounds_x && c.dtype == DType::kBF16) round_to_bf16(p.x);
    ThreadPool pool(1 + static_cast<int>(seed % 3));
    LinearScratch scratch;
    linear(kernels_of(t, c.dtype), pool, scratch, p.args);
    Array expected(DType::kF32, {c.m, c.columns()});
    LinearArgs reference = p.args;
    reference.out = expected.tensor;
    linear_reference(p.weight.tensor, reference);
    expect_near(p.out.tensor, expected.tensor, 3e-6 * std::sqrt(static_cast<double>(c.k)) + 2e-6,
                what);
    if (testing::Test::HasFatalFailure()) return;
  }
}

constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

TEST(Linear, AgreesWithTheReferenceOverRandomShapes) {
  std::mt19937 rng(7);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  for (uint32_t i = 0; i < 60; ++i) {
    Case c;
    c.m = i % 3 == 0 ? pick(1, 4) : pick(1, 70);
    c.n = 2 * pick(1, 70);
    c.k = pick(1, 200);
    c.dtype = kDTypes[i % 3];
    c.activation = static_cast<Activation>(pick(0, 3));
    c.bias = pick(0, 1);
    c.residual = pick(0, 1);
    check_against_reference(c, i);
    if (HasFatalFailure()) return;
  }
}

TEST(Linear, AgreesWithTheReferenceWhereKAndMTakeSeveralBlocks) {
  check_against_reference({150, 70, 1100, DType::kBF16, Activation::kNone, true, true}, 1);
  check_against_reference({97, 80, 2500, DType::kBF16, Activation::kSwiGlu, true, false}, 2);
  check_against_reference({540, 40, 96, DType::kBF16}, 3);
  check_against_reference({60, 4200, 33, DType::kBF16}, 4);
  check_against_reference({230, 34, 1040, DType::kF32}, 5);
  check_against_reference({110, 34, 1040, DType::kF16}, 6);
}

// Rows [first, first + count) of the problem, computed on their own.
std::vector<float> rows_alone(Problem& p, const LinearKernels& kernels, ThreadPool& pool,
                              int64_t first, int64_t count) {
  LinearArgs args = p.args;
  std::vector<float> out(static_cast<size_t>(count * p.c.columns()),
                         std::numeric_limits<float>::quiet_NaN());
  args.x = args.x.rows(first, first + count);
  args.out = Tensor{out.data(), DType::kF32, {count, p.c.columns()}};
  if (args.residual.defined()) args.residual = args.residual.rows(first, first + count);
  LinearScratch scratch;
  linear(kernels, pool, scratch, args);
  return out;
}

void check_rows_bitwise(const Case& c, const std::vector<int64_t>& counts) {
  ThreadPool pools[] = {ThreadPool(1), ThreadPool(2), ThreadPool(3)};
  for (const Target& t : targets()) {
    Problem p(c, t.isa, 11);
    const LinearKernels& kernels = kernels_of(t, c.dtype);
    const std::vector<float> all = rows_alone(p, kernels, pools[0], 0, c.m);
    for (float v : all) ASSERT_FALSE(std::isnan(v)) << t.name;
    for (int64_t count : counts) {
      for (int64_t i = 0; i < 3; ++i) {
        const int64_t first = (c.m - count) * i / 2;
        const std::vector<float> some = rows_alone(p, kernels, pools[i], first, count);
        ASSERT_EQ(std::memcmp(some.data(), all.data() + first * c.columns(), some.size() * 4), 0)
            << t.name << " " << to_string(c.dtype) << ": " << count << " rows from " << first;
      }
    }
  }
}

TEST(LinearRows, AreBitwiseTheSameForEveryNumberOfRowsAndThreads) {
  std::vector<int64_t> counts;
  for (int64_t i = 1; i <= 70; ++i) counts.push_back(i);
  for (DType dtype : kDTypes) {
    check_rows_bitwise({71, 72, 170, dtype, Activation::kNone, true, true}, counts);
    if (HasFatalFailure()) return;
  }
  check_rows_bitwise({71, 88, 97, DType::kBF16, Activation::kSwiGlu}, counts);
}

TEST(LinearRows, AreBitwiseTheSameAcrossBlocksOfKAndM) {
  check_rows_bitwise({530, 40, 1200, DType::kBF16}, {1, 3, 16, 17, 64, 200, 513, 530});
  check_rows_bitwise({300, 40, 1200, DType::kF32}, {1, 16, 64, 97, 299});
}

// --- loading ---

void expect_rows(const CpuLinearWeight& packed, const Tensor& expected, const std::string& what) {
  std::vector<float> row(static_cast<size_t>(expected.dim(1)));
  for (int64_t n = 0; n < expected.dim(0); ++n) {
    packed.read_row(n, row.data());
    for (int64_t k = 0; k < expected.dim(1); ++k) {
      ASSERT_EQ(row[static_cast<size_t>(k)], read_float(expected, n * expected.dim(1) + k))
          << what << " " << n << "," << k;
    }
  }
}

// `a`, rounded to `dtype`.
Array as_dtype(const Tensor& a, DType dtype) {
  Array out(dtype, a.shape);
  for (int64_t i = 0; i < a.count(); ++i) {
    const float v = read_float(a, i);
    if (dtype == DType::kF32) out.floats()[i] = v;
    if (dtype == DType::kBF16) out.tensor.as<uint16_t>()[i] = float_to_bf16(v);
    if (dtype == DType::kF16) out.tensor.as<uint16_t>()[i] = float_to_f16(v);
  }
  return out;
}

TEST(LinearLoading, EveryPairOfDTypesInAnyCutByThreads) {
  std::mt19937 rng(3);
  for (Isa isa : machine_isas()) {
    for (DType stored : kDTypes) {
      for (DType given : kDTypes) {
        for (bool gated : {false, true}) {
          for (int64_t k : {1, 31, 70, 128}) {
            const int64_t n = 2 * 101;
            Array src = random_array(rng, given, {n, k});
            WeightMemory memory;
            CpuLinearWeight packed(isa, memory, {n, k, stored, gated});
            std::vector<std::thread> threads;
            for (int64_t row = 0; row < n; row += 64) {
              threads.emplace_back(
                  [&, row] { packed.load_rows(row, src.tensor.rows(row, std::min(n, row + 64))); });
            }
            for (auto& t : threads) t.join();
            expect_rows(packed, as_dtype(src.tensor, stored).tensor, std::string(to_string(isa)));
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(LinearLoading, TransposedInPieces) {
  std::mt19937 rng(4);
  const int64_t n = 90, k = 67;
  for (DType stored : kDTypes) {
    Array logical = random_array(rng, DType::kF32, {n, k});
    WeightMemory memory;
    CpuLinearWeight packed(machine_isas().back(), memory, {n, k, stored, false});
    for (int64_t k0 : {0, 40}) {
      for (int64_t n0 : {0, 64}) {
        const int64_t rows = k0 == 0 ? 40 : k - 40, columns = n0 == 0 ? 64 : n - 64;
        Array piece(DType::kF32, {rows, columns});
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t j = 0; j < columns; ++j)
            piece.floats()[i * columns + j] = logical.floats()[(n0 + j) * k + k0 + i];
        }
        packed.load_transposed(k0, n0, piece.tensor);
      }
    }
    expect_rows(packed, as_dtype(logical.tensor, stored).tensor, "transposed");
  }
}

TEST(Embedding, ReadsTokensAndPositionsFromPackedTables) {
  std::mt19937 rng(5);
  const int64_t vocab = 75, positions = 20, width = 50, tokens = 33;
  ThreadPool pool(2);
  for (DType dtype : kDTypes) {
    WeightMemory memory;
    Array table = random_array(rng, dtype, {vocab, width}),
          places = random_array(rng, dtype, {positions, width});
    CpuLinearWeight packed(machine_isas().back(), memory, {vocab, width, dtype, false});
    CpuLinearWeight packed_places(machine_isas().back(), memory, {positions, width, dtype, false});
    packed.load_rows(0, table.tensor);
    packed_places.load_rows(0, places.tensor);
    Array ids(DType::kI32, {tokens}), at(DType::kI32, {tokens}), out(DType::kF32, {tokens, width});
    for (int64_t i = 0; i < tokens; ++i) {
      ids.tensor.as<int32_t>()[i] = static_cast<int32_t>(i * 31 % vocab);
      at.tensor.as<int32_t>()[i] = static_cast<int32_t>(i * 7 % positions);
    }
    for (bool with_positions : {false, true}) {
      poison(out);
      EmbeddingArgs args{ids.tensor, &packed, at.tensor, with_positions ? &packed_places : nullptr,
                         out.tensor};
      embedding(pool, args);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t i = 0; i < width; ++i) {
          float expected = read_float(table.tensor, ids.tensor.as<int32_t>()[t] * width + i);
          if (with_positions)
            expected += read_float(places.tensor, at.tensor.as<int32_t>()[t] * width + i);
          ASSERT_EQ(out.floats()[t * width + i], expected);
        }
      }
    }
  }
}

TEST(GatherRows, CopiesTheRowsAskedFor) {
  std::mt19937 rng(6);
  ThreadPool pool(2);
  Array x = random_array(rng, DType::kF32, {40, 7}), rows(DType::kI32, {100}),
        out(DType::kF32, {100, 7});
  for (int32_t i = 0; i < 100; ++i) rows.tensor.as<int32_t>()[i] = i * 13 % 40;
  poison(out);
  gather_rows(pool, {x.tensor, rows.tensor, out.tensor});
  for (int32_t i = 0; i < 100; ++i) {
    EXPECT_EQ(std::memcmp(out.floats() + i * 7, x.floats() + i * 13 % 40 * 7, 28), 0);
  }
}

}  // namespace
}  // namespace octavo::cpu
