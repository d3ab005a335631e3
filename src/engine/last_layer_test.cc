// The last layer goes on with the tokens alone whose logits are wanted. Whole models over the
// reference backend, with and without that: the same logits for less work.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/model_runner.h"
#include "models/model.h"
#include "nn/testing_backend.h"

namespace octavo {
namespace {

constexpr int kVocab = 11;

// Keeps the logits it is asked to draw from.
class KeepingSampler : public Sampler {
 public:
  explicit KeepingSampler(std::vector<std::vector<float>>& kept) : kept_(kept) {}
  void set_slot(const SlotSetup&) override {}
  Tensor resolve_tokens(const Tensor& tokens) override { return tokens; }
  std::unique_ptr<PendingTokens> sample(const Tensor& logits,
                                        std::span<const SampleRow> rows) override {
    for (const SampleRow& row : rows) keep(logits, row.logits_row);
    return nullptr;
  }
  std::unique_ptr<PendingTokens> prompt_logprobs(const Tensor& logits,
                                                 std::span<const PromptLogprobRow> rows) override {
    for (const PromptLogprobRow& row : rows) keep(logits, row.logits_row);
    return nullptr;
  }

 private:
  void keep(const Tensor& logits, int row) {
    const float* begin = logits.as<float>() + int64_t{row} * kVocab;
    kept_.emplace_back(begin, begin + kVocab);
  }
  std::vector<std::vector<float>>& kept_;
};

class CountingBackend : public testing::TestingBackend {
 public:
  explicit CountingBackend(bool narrows) : narrows_(narrows) {}
  bool narrows_last_layer(int tokens, int wanted) const override {
    return narrows_ && wanted < tokens;
  }
  std::unique_ptr<Sampler> make_sampler(const SamplerSpec&) override {
    return std::make_unique<KeepingSampler>(logits);
  }
  void linear(const LinearArgs& args) override {
    product_rows += args.x.dim(0);
    TestingBackend::linear(args);
  }

  std::vector<std::vector<float>> logits;
  int64_t product_rows = 0;

 private:
  const bool narrows_;
};

constexpr const char* kLlama = R"({"architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
    "vocab_size": 11, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": null})";
constexpr const char* kMistralWithWindow = R"({"architectures": ["MistralForCausalLM"],
    "hidden_act": "silu", "vocab_size": 11, "hidden_size": 8, "intermediate_size": 12,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 2,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "sliding_window": 3})";
constexpr const char* kGpt2 = R"({"architectures": ["GPT2LMHeadModel"],
    "activation_function": "gelu_new", "vocab_size": 11, "n_embd": 8, "n_inner": 12, "n_layer": 2,
    "n_head": 4, "n_positions": 64, "layer_norm_epsilon": 1e-5})";

class LastLayer : public ::testing::TestWithParam<const char*> {
 protected:
  // A model with its own backend and cache; the weights are the same in each.
  struct Rig {
    explicit Rig(bool narrows) : backend(narrows) {
      auto config = parse_model_config(GetParam(), "");
      EXPECT_TRUE(config.ok()) << config.status().to_string();
      auto made = make_model(*config, DType::kF32, backend);
      EXPECT_TRUE(made.ok()) << made.status().to_string();
      model = std::move(*made);
      int next = 0;
      model->for_each_parameter([&](const Parameter& p) {
        std::vector<float> values(static_cast<size_t>(p.shape.count()));
        for (float& v : values) v = 0.6f * std::sin(static_cast<float>(++next));
        p.load_rows(0, {values.data(), DType::kF32, p.shape});
      });
      std::vector<KvCacheSpec> caches = model->kv_groups();
      for (KvCacheSpec& spec : caches) {
        spec.num_blocks = 4;
        spec.dtype = DType::kF32;
      }
      runner.emplace(backend, *model, caches, DType::kF32, SamplerSpec{4, kVocab, 64});
    }
    CountingBackend backend;
    std::unique_ptr<Model> model;
    std::optional<ModelRunner> runner;
  };

  struct Chunk {
    int sequence, start, tokens;
    bool drawn;
  };
  // Each sequence has a block of its own.
  static BatchPlan plan_of(const std::vector<Chunk>& chunks) {
    BatchPlan plan;
    plan.tables.push_back({.begin = {0}, .blocks = {}});
    for (const Chunk& c : chunks) {
      const int row = static_cast<int>(plan.rows.size());
      plan.rows.push_back({SequenceId(c.sequence), SlotId(c.sequence),
                           static_cast<int>(plan.tokens.size()), c.tokens, c.start});
      for (int i = 0; i < c.tokens; ++i)
        plan.tokens.push_back((3 * c.sequence + 5 * (c.start + i)) % kVocab);
      plan.tables[0].blocks.push_back(3 - c.sequence);
      plan.tables[0].begin.push_back(row + 1);
      if (c.drawn) plan.samples.push_back({.row = row});
    }
    return plan;
  }

  void run(const BatchPlan& plan) {
    for (Rig* rig : {&narrow_, &wide_}) {
      rig->runner->forward(plan);
      rig->runner->finish(plan, {});
    }
  }
  int64_t rows_saved() const { return wide_.backend.product_rows - narrow_.backend.product_rows; }

  Rig narrow_{true}, wide_{false};
};

TEST_P(LastLayer, GivesTheSameLogitsForWhatIsWantedAlone) {
  run(plan_of({{0, 0, 4, false}}));  // nothing is
  run(plan_of({{1, 0, 1, false}, {0, 4, 3, true}, {2, 0, 5, false}}));
  run(plan_of({{0, 7, 1, true}, {1, 1, 6, true}, {2, 5, 2, true}}));
  run(plan_of({{0, 8, 1, true}, {1, 7, 1, true}, {2, 7, 1, true}}));  // all are
  ASSERT_EQ(narrow_.backend.logits.size(), 7u);
  EXPECT_EQ(narrow_.backend.logits, wide_.backend.logits);
}

TEST_P(LastLayer, LeavesOutThreeProductsOfEachOtherToken) {
  run(plan_of({{0, 0, 6, true}, {1, 0, 4, false}}));
  EXPECT_EQ(rows_saved(), 3 * 9);
  run(plan_of({{1, 4, 5, false}}));
  EXPECT_EQ(rows_saved(), 3 * 9 + 3 * 5);
  run(plan_of({{0, 6, 1, true}}));
  EXPECT_EQ(rows_saved(), 3 * 9 + 3 * 5);
}

TEST_P(LastLayer, ComputesAllForPromptLogprobs) {
  BatchPlan plan = plan_of({{0, 0, 6, true}});
  for (int i = 0; i < 4; ++i) plan.prompt_logprobs.push_back({0, i, 1, 0});
  run(plan);
  EXPECT_EQ(rows_saved(), 0);
  ASSERT_EQ(narrow_.backend.logits.size(), 5u);
  EXPECT_EQ(narrow_.backend.logits, wide_.backend.logits);
}

INSTANTIATE_TEST_SUITE_P(Of, LastLayer, ::testing::Values(kLlama, kMistralWithWindow, kGpt2));

}  // namespace
}  // namespace octavo
