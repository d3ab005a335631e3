// Tests of the modules: how a step's memory is reused, how fused weights are cut, the frequencies
// of rope.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "nn/attention.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/rope.h"
#include "nn/testing_backend.h"

namespace octavo {
namespace {

using testing::TestingBackend;

std::vector<Parameter> parameters_of(const auto& module, const std::string& prefix) {
  std::vector<Parameter> all;
  module.for_each_parameter(prefix, [&](const Parameter& p) { all.push_back(p); });
  return all;
}

Tensor tensor_of(std::vector<float>& values, Shape shape) {
  return {values.data(), DType::kF32, shape};
}

TEST(StepTensor, GivesItsMemoryBackToTheStepWhenItGoes) {
  TestingBackend backend;
  ForwardContext ctx{.backend = &backend};
  const void* first = nullptr;
  {
    const StepTensor a = ctx.allocate({4, 8});
    first = static_cast<const Tensor&>(a).data;
  }
  const StepTensor b = ctx.allocate({2, 8});
  EXPECT_EQ(static_cast<const Tensor&>(b).data, first);
  const StepTensor c = ctx.allocate({2, 8});
  EXPECT_NE(static_cast<const Tensor&>(c).data, first);
}

TEST(StepTensor, TakesTheSmallestFreeBlockThatIsLargeEnough) {
  TestingBackend backend;
  ForwardContext ctx{.backend = &backend};
  const void* small = nullptr;
  {
    const StepTensor a = ctx.allocate({64});
    const StepTensor b = ctx.allocate({16});
    small = static_cast<const Tensor&>(b).data;
  }
  const StepTensor c = ctx.allocate({10});
  EXPECT_EQ(static_cast<const Tensor&>(c).data, small);
}

TEST(StepTensor, AReleasedTensorStaysTaken) {
  TestingBackend backend;
  ForwardContext ctx{.backend = &backend};
  const Tensor kept = ctx.allocate({16}).release();
  const StepTensor next = ctx.allocate({16});
  EXPECT_NE(static_cast<const Tensor&>(next).data, kept.data);
}

TEST(Linear, PutsTheRowsOfEachPartAfterTheOther) {
  TestingBackend backend;
  const Linear qkv(backend, DType::kF32, 2, {{"q_proj", 2}, {"k_proj", 1}}, {.bias = true});
  const auto parameters = parameters_of(qkv, "attn.");
  ASSERT_EQ(parameters.size(), 4u);
  EXPECT_EQ(parameters[0].name, "attn.q_proj.weight");
  EXPECT_EQ(parameters[1].name, "attn.q_proj.bias");
  EXPECT_EQ(parameters[2].name, "attn.k_proj.weight");
  EXPECT_EQ(parameters[2].shape, (Shape{1, 2}));
  std::vector<float> q{1, 0, 0, 1}, q_bias{10, 20}, k{1, 1}, k_bias{30}, x{3, 4};
  parameters[0].load_rows(0, tensor_of(q, {2, 2}));
  parameters[1].load_rows(0, tensor_of(q_bias, {2}));
  parameters[2].load_rows(0, tensor_of(k, {1, 2}));
  parameters[3].load_rows(0, tensor_of(k_bias, {1}));
  ForwardContext ctx{.backend = &backend};
  const StepTensor y = qkv(ctx, tensor_of(x, {1, 2}));
  const float* out = static_cast<const Tensor&>(y).as<float>();
  EXPECT_EQ(out[0], 13);
  EXPECT_EQ(out[1], 24);
  EXPECT_EQ(out[2], 37);
}

TEST(Linear, ReadsAConv1dWeightTransposed) {
  TestingBackend backend;
  const Linear up(backend, DType::kF32, 2, {{"c_fc", 3}}, {.transposed = true});
  const auto parameters = parameters_of(up, "");
  EXPECT_EQ(parameters[0].shape, (Shape{2, 3}));
  std::vector<float> first{1, 2, 3}, second{4, 5, 6}, x{1, 10};
  parameters[0].load_rows(0, tensor_of(first, {1, 3}));
  parameters[0].load_rows(1, tensor_of(second, {1, 3}));
  ForwardContext ctx{.backend = &backend};
  const StepTensor y = up(ctx, tensor_of(x, {1, 2}));
  EXPECT_EQ(static_cast<const Tensor&>(y).as<float>()[2], 63);
}

TEST(Linear, HalvesItsWidthWhenGated) {
  TestingBackend backend;
  const Linear mlp(backend, DType::kF32, 1, {{"gate", 1}, {"up", 1}},
                   {.activation = Activation::kSwiGlu});
  const auto parameters = parameters_of(mlp, "");
  std::vector<float> one{1}, two{2}, x{3};
  parameters[0].load_rows(0, tensor_of(one, {1, 1}));
  parameters[1].load_rows(0, tensor_of(two, {1, 1}));
  ForwardContext ctx{.backend = &backend};
  const StepTensor y = mlp(ctx, tensor_of(x, {1, 1}));
  const Tensor& out = y;
  ASSERT_EQ(out.shape, (Shape{1, 1}));
  EXPECT_FLOAT_EQ(out.as<float>()[0], 3 / (1 + std::exp(-3.0f)) * 6);
}

TEST(NormedLinear, GivesTheSameWhereTheProductBeforeItCarriesItsNorm) {
  TestingBackend backend;
  const Linear first(backend, DType::kF32, 2, {{"a", 3}}, {.bias = true});
  const NormedLinear second(backend, DType::kF32, 1e-5, 3, {{"b", 2}}, {.bias = true});
  const auto load = [](const Parameter& p, std::vector<float> values) {
    p.load_rows(0, tensor_of(values, p.shape));
  };
  const auto of_first = parameters_of(first, ""), of_second = parameters_of(second.linear(), "");
  load(of_first[0], {1, 2, -3, 4, 0.5f, 1});
  load(of_first[1], {0.1f, 0.2f, 0.3f});
  load(of_second[0], {1, -1, 2, 3, 0.5f, 1});
  load(of_second[1], {10, 20});
  load(parameters_of(second.norm(), "")[0], {2, 0.5f, -1});
  std::vector<float> x{1, 2, 3, 4}, residual{1, 1, 1, 2, 2, 2};
  std::vector<float> plain, carried;
  for (std::vector<float>* out : {&plain, &carried}) {
    backend.carries_norms = out == &carried;
    ForwardContext ctx{.backend = &backend};
    const Hidden hidden = first(ctx, tensor_of(x, {2, 2}), tensor_of(residual, {2, 3}), &second);
    const Tensor& squares = hidden.squares;
    EXPECT_EQ(squares.defined(), backend.carries_norms);
    const StepTensor y = second(ctx, hidden);
    const Tensor& values = y;
    out->assign(values.as<float>(), values.as<float>() + values.count());
  }
  ASSERT_EQ(carried.size(), plain.size());
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_NEAR(carried[i], plain[i], 1e-5f);
}

TEST(LmHead, VisitsItsMatrixOnlyWhenItIsItsOwn) {
  TestingBackend backend;
  const Embedding embedding(backend, DType::kF32, 4, 2);
  const LmHead tied(backend, embedding, true), own(backend, embedding, false);
  EXPECT_TRUE(parameters_of(tied, "lm_head.weight").empty());
  EXPECT_EQ(parameters_of(own, "lm_head.weight").size(), 1u);
}

TEST(Attention, ListsItsNormsOnlyWithQkNorm) {
  TestingBackend backend;
  const Attention plain(backend, {.num_heads = 2, .num_kv_heads = 1, .head_dim = 8});
  const Attention normed(backend,
                         {.num_heads = 2, .num_kv_heads = 1, .head_dim = 8, .qk_norm = true});
  EXPECT_TRUE(parameters_of(plain, "a.").empty());
  const auto parameters = parameters_of(normed, "a.");
  ASSERT_EQ(parameters.size(), 2u);
  EXPECT_EQ(parameters[0].name, "a.q_norm.weight");
  EXPECT_EQ(parameters[0].fill, 1);
}

// A backend that has both ops of attention in one.
class AppendingBackend : public TestingBackend {
 public:
  bool appends_in_attention(const RopeAndCacheArgs&) const override { return true; }
  void attention(const AttentionArgs& args) override {
    ASSERT_NE(args.append, nullptr);
    RopeAndCacheArgs first = *args.append;
    first.q_out = allocate(DType::kF32, args.out.shape);
    rope_and_cache(first);
    AttentionArgs then = args;
    then.q = first.q_out;
    TestingBackend::attention(then);
  }
};

TEST(Attention, AppendsInTheSameOpWhereTheBackendAsksForIt) {
  const auto attend = [](TestingBackend&& backend) {
    const Attention attention(backend, {.num_heads = 2, .num_kv_heads = 1, .head_dim = 4});
    const auto cache =
        backend.make_kv_cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = 4, .num_blocks = 1});
    std::vector<int32_t> row_begin = {0, 2}, kv_len = {2}, positions = {0, 1}, blocks = {0};
    std::vector<int64_t> slots = {0, 1};
    const auto integers = [](auto& values, DType dtype) {
      return Tensor{values.data(), dtype, {static_cast<int64_t>(values.size())}};
    };
    Batch batch;
    batch.groups.push_back({.num_rows = 1,
                            .num_tokens = 2,
                            .row_begin = integers(row_begin, DType::kI32),
                            .kv_len = integers(kv_len, DType::kI32),
                            .positions = integers(positions, DType::kI32),
                            .block_begin = integers(row_begin, DType::kI32),
                            .blocks = integers(blocks, DType::kI32),
                            .slot_mapping = integers(slots, DType::kI64)});
    ForwardContext ctx{.backend = &backend, .batch = &batch, .caches = {cache.get()}};
    std::vector<float> qkv(32);
    for (size_t i = 0; i < qkv.size(); ++i) qkv[i] = std::sin(static_cast<float>(i));
    return backend.read_back(attention(ctx, tensor_of(qkv, {2, 16})));
  };
  EXPECT_EQ(attend(AppendingBackend()), attend(TestingBackend()));
}

TEST(Rope, DefaultFrequenciesFallGeometrically) {
  const auto f = rope_frequencies({.theta = 10000}, 64);
  ASSERT_EQ(f.size(), 32u);
  EXPECT_EQ(f[0], 1);
  EXPECT_NEAR(f[16], 0.01, 1e-8);
  EXPECT_NEAR(f[31], std::pow(10000.0, -62.0 / 64), 1e-10);
}

TEST(Rope, Llama3KeepsShortWavelengthsAndStretchesLongOnes) {
  RopeConfig config{.type = "llama3",
                    .theta = 500000,
                    .factor = 32,
                    .low_freq_factor = 1,
                    .high_freq_factor = 4,
                    .original_max_position = 8192};
  const auto scaled = rope_frequencies(config, 64);
  config.type = "default";
  const auto plain = rope_frequencies(config, 64);
  EXPECT_EQ(scaled[0], plain[0]);
  EXPECT_FLOAT_EQ(scaled[31], plain[31] / 32);
  bool between = false;
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_LE(scaled[i], plain[i]);
    EXPECT_GE(scaled[i], plain[i] / 32 * 0.9999f);
    between |= scaled[i] < plain[i] * 0.99f && scaled[i] > plain[i] / 32 * 1.01f;
  }
  EXPECT_TRUE(between);
}

TEST(Rope, TableHoldsCosinesThenSinesOfEveryPosition) {
  TestingBackend backend;
  const Rope rope(backend, {}, 8, 1000);  // more rows than are computed at a time
  const Tensor& t = rope.cos_sin();
  ASSERT_EQ(t.shape, (Shape{1000, 8}));
  for (int p : {0, 1, 255, 256, 999}) {
    EXPECT_FLOAT_EQ(t.as<float>()[p * 8], std::cos(static_cast<float>(p)));
    EXPECT_FLOAT_EQ(t.as<float>()[p * 8 + 4], std::sin(static_cast<float>(p)));
  }
}

}  // namespace
}  // namespace octavo
