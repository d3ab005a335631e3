// The small ops against plain loops in float32, over random shapes, with poisoned outputs.
#include "backend/cuda/elementwise.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "backend/cuda/testing_device.h"
#include "ops/noise.h"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;
using testing::random_values;
using testing::relative_error;
using testing::round_to;

constexpr DType kTypes[] = {DType::kBF16, DType::kF16};

double tolerance(DType dtype) {
  return dtype == DType::kBF16 ? 4e-3 : 6e-4;
}

class Elementwise : public ::testing::TestWithParam<DType> {
 protected:
  int pick(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }
  std::mt19937 random_{7};
  Launch launch_;  // the default stream
};

TEST_P(Elementwise, NormsFollowTheirFormulas) {
  SKIP_WITHOUT_GPU();
  for (int width : {8, 32, 48, 384, 1024, 4096, 8192, 8200, 16384, 32768}) {
    const int rows = pick(1, 9);
    const auto x = random_values(random_, int64_t{rows} * width, GetParam(), 3);
    const auto weight = random_values(random_, width, DType::kF32);
    const auto bias = random_values(random_, width, DType::kF32);
    const DeviceArray in(GetParam(), {rows, width}, x), w(DType::kF32, {width}, weight),
        b(DType::kF32, {width}, bias);
    for (bool layer : {false, true}) {
      std::vector<float> expected;
      for (int r = 0; r < rows; ++r) {
        double mean = 0, squares = 0;
        const float* row = x.data() + int64_t{r} * width;
        for (int i = 0; layer && i < width; ++i) mean += row[i] / double{width * 1.0};
        for (int i = 0; i < width; ++i) squares += std::pow(row[i] - mean, 2) / width;
        for (int i = 0; i < width; ++i) {
          expected.push_back(static_cast<float>((row[i] - mean) / std::sqrt(squares + 1e-5) *
                                                    weight[static_cast<size_t>(i)] +
                                                (layer ? bias[static_cast<size_t>(i)] : 0)));
        }
      }
      DeviceArray out(GetParam(), {rows, width});
      const NormCall call{.dtype = GetParam(),
                          .rows = rows,
                          .width = width,
                          .x = in.data(),
                          .weight = w.as<float>(),
                          .bias = b.as<float>(),
                          .eps = 1e-5f,
                          .out = out.data()};
      layer ? layer_norm(launch_, call) : rms_norm(launch_, call);
      EXPECT_LE(relative_error(out.read(), expected), tolerance(GetParam())) << width << layer;
      EXPECT_TRUE(out.guard_intact());
    }
  }
}

TEST_P(Elementwise, EmbeddingAddsPositionsAndGatherCopiesRows) {
  SKIP_WITHOUT_GPU();
  for (int width : {8, 64, 1024, 4104}) {
    const int vocabulary = 50, tokens = pick(1, 20);
    const auto table = random_values(random_, int64_t{vocabulary} * width, GetParam());
    const auto places = random_values(random_, int64_t{vocabulary} * width, GetParam());
    std::vector<int32_t> ids, positions;
    for (int i = 0; i < tokens; ++i) {
      ids.push_back(pick(0, vocabulary - 1));
      positions.push_back(pick(0, vocabulary - 1));
    }
    std::vector<float> plain, summed;
    for (int t = 0; t < tokens; ++t) {
      for (int i = 0; i < width; ++i) {
        plain.push_back(table[static_cast<size_t>(ids[t] * width + i)]);
        summed.push_back(round_to(
            GetParam(), plain.back() + places[static_cast<size_t>(positions[t] * width + i)]));
      }
    }
    const DeviceArray device_table(GetParam(), {vocabulary, width}, table),
        device_places(GetParam(), {vocabulary, width}, places);
    const auto device_ids = DeviceArray::of_integers(DType::kI32, ids);
    const auto device_positions = DeviceArray::of_integers(DType::kI32, positions);
    DeviceArray out(GetParam(), {tokens, width});
    EmbeddingCall call{.dtype = GetParam(),
                       .tokens = tokens,
                       .width = width,
                       .ids = device_ids.as<int32_t>(),
                       .table = device_table.data(),
                       .positions = device_positions.as<int32_t>(),
                       .out = out.data()};
    embedding(launch_, call);
    EXPECT_EQ(out.read(), plain);
    out.poison();
    call.position_table = device_places.data();
    embedding(launch_, call);
    EXPECT_EQ(out.read(), summed);
    out.poison();
    gather_rows(launch_, device_table.data(), device_ids.as<int32_t>(), tokens, width, out.data());
    EXPECT_EQ(out.read(), plain);
    EXPECT_TRUE(out.guard_intact());
  }
}

struct RopeShape {
  int q_heads, kv_heads, head_dim, rotary, block;
  bool norm;
};

TEST_P(Elementwise, RopeAndCacheNormalisesRotatesAndWritesTheSlots) {
  SKIP_WITHOUT_GPU();
  for (const RopeShape s : {RopeShape{32, 8, 128, 128, 32, false},
                            {16, 8, 128, 128, 16, true},
                            {6, 2, 64, 64, 16, false},
                            {4, 1, 80, 32, 16, false},
                            {3, 3, 96, 96, 48, true},
                            {2, 1, 256, 64, 16, false},
                            {4, 2, 16, 16, 16, true},
                            {2, 2, 16, 0, 16, false}}) {
    const int tokens = pick(1, 30), heads = s.q_heads + 2 * s.kv_heads, blocks = 9;
    const int positions_count = 300;
    const auto qkv = random_values(random_, int64_t{tokens} * heads * s.head_dim, GetParam());
    const auto q_norm = random_values(random_, s.head_dim, DType::kF32);
    const auto k_norm = random_values(random_, s.head_dim, DType::kF32);
    const auto table = random_values(random_, positions_count * std::max(s.rotary, 1), DType::kF32);
    std::vector<int32_t> positions;
    std::vector<int64_t> slots;
    for (int t = 0; t < tokens; ++t) {
      positions.push_back(pick(0, positions_count - 1));
      slots.push_back(t == 2 ? -1 : t * 7 % (blocks * s.block));
    }
    std::vector<float> q_expected;
    const int64_t plane = int64_t{blocks} * s.kv_heads * s.block * s.head_dim;
    std::vector<float> expected[2];
    for (auto& e : expected) e.assign(static_cast<size_t>(plane), NAN);
    for (int t = 0; t < tokens; ++t) {
      for (int h = 0; h < heads; ++h) {
        std::vector<float> x(qkv.begin() + (int64_t{t} * heads + h) * s.head_dim,
                             qkv.begin() + (int64_t{t} * heads + h + 1) * s.head_dim);
        const bool is_q = h < s.q_heads, is_v = h >= s.q_heads + s.kv_heads;
        if (s.norm && !is_v) {
          double squares = 0;
          for (float v : x) squares += double{v} * v / s.head_dim;
          for (int i = 0; i < s.head_dim; ++i)
            x[i] *= (is_q ? q_norm : k_norm)[i] / static_cast<float>(std::sqrt(squares + 1e-6));
        }
        const int half = s.rotary / 2;
        for (int i = 0; !is_v && i < half; ++i) {
          const float c = table[positions[t] * s.rotary + i];
          const float sine = table[positions[t] * s.rotary + half + i];
          const float a = x[i], b = x[i + half];
          x[i] = a * c - b * sine;
          x[i + half] = b * c + a * sine;
        }
        if (is_q) {
          q_expected.insert(q_expected.end(), x.begin(), x.end());
        } else if (slots[t] >= 0) {
          const int64_t row =
              (slots[t] / s.block * s.kv_heads + (h - s.q_heads) % s.kv_heads) * s.block +
              slots[t] % s.block;
          std::copy(x.begin(), x.end(), expected[is_v].begin() + row * s.head_dim);
        }
      }
    }
    const DeviceArray in(GetParam(), {tokens, heads * s.head_dim}, qkv),
        qn(DType::kF32, {s.head_dim}, q_norm), kn(DType::kF32, {s.head_dim}, k_norm),
        cos_sin(DType::kF32, {static_cast<int64_t>(table.size())}, table);
    const auto device_positions = DeviceArray::of_integers(DType::kI32, positions);
    const auto device_slots = DeviceArray::of_integers(DType::kI64, slots);
    DeviceArray q(GetParam(), {tokens, s.q_heads * s.head_dim}), keys(GetParam(), {plane}),
        values(GetParam(), {plane});
    const PagedLayer layer{.keys = keys.data(),
                           .values = values.data(),
                           .dtype = GetParam(),
                           .num_blocks = blocks,
                           .num_kv_heads = s.kv_heads,
                           .block_size = s.block,
                           .head_dim = s.head_dim};
    const PagedRows rows{.num_tokens = tokens,
                         .positions = device_positions.as<int32_t>(),
                         .slot_mapping = device_slots.as<int64_t>()};
    rope_and_cache(launch_, layer, rows,
                   {.qkv = in.data(),
                    .num_q_heads = s.q_heads,
                    .rotary_dims = s.rotary,
                    .cos_sin = cos_sin.as<float>(),
                    .q_norm = s.norm ? qn.as<float>() : nullptr,
                    .k_norm = s.norm ? kn.as<float>() : nullptr,
                    .norm_eps = 1e-6f,
                    .q_out = q.data()});
    EXPECT_LE(relative_error(q.read(), q_expected), tolerance(GetParam()));
    EXPECT_TRUE(q.guard_intact() && keys.guard_intact() && values.guard_intact());
    const std::vector<float> got[2] = {keys.read(), values.read()};
    for (int which : {0, 1}) {
      for (size_t i = 0; i < got[which].size(); ++i) {
        const float want = expected[which][i];
        if (std::isnan(want)) {
          ASSERT_TRUE(std::isnan(got[which][i])) << "wrote outside its slots";
        } else {
          ASSERT_NEAR(got[which][i], want, 1e-2 + tolerance(GetParam()) * std::fabs(want));
        }
      }
    }
  }
}

TEST_P(Elementwise, NoiseOfTheDeviceIsThatOfTheHost) {
  SKIP_WITHOUT_GPU();
  const int64_t width = 40, rows = 48;
  const uint64_t key = 0x123456789abcdef;
  std::vector<float> host;
  for (int64_t i = 0; i < rows * width; i += 2) {
    const uint64_t bits = noise_bits(key, static_cast<uint64_t>(i / 2));
    host.push_back(round_to(GetParam(), noise_of_bits(static_cast<uint32_t>(bits))));
    host.push_back(round_to(GetParam(), noise_of_bits(static_cast<uint32_t>(bits >> 32))));
  }
  DeviceArray out(GetParam(), {rows, width});
  fill_noise(launch_,
             {.dtype = GetParam(), .key = key, .rows = rows, .width = width, .out = out.data()});
  EXPECT_EQ(out.read(), host);
  // The rows of a gated weight alternate in blocks of eight.
  out.poison();
  fill_noise(launch_, {.dtype = GetParam(),
                       .key = key,
                       .rows = rows,
                       .width = width,
                       .gated_rows = rows,
                       .out = out.data()});
  const auto gated = out.read();
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t within = row % (rows / 2);
    const int64_t place = within / 8 * 16 + (row >= rows / 2 ? 8 : 0) + within % 8;
    for (int64_t i = 0; i < width; ++i)
      ASSERT_EQ(gated[static_cast<size_t>(place * width + i)],
                host[static_cast<size_t>(row * width + i)]);
  }
}

INSTANTIATE_TEST_SUITE_P(, Elementwise, ::testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(to_string(info.param)); });

}  // namespace
}  // namespace octavo::cuda
