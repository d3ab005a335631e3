// Tests of ModelRunner's steps of a size that a backend records: those it makes ahead of need, and
// that a later step finds its inputs where a recorded one had them. Over a backend that counts what
// it would record and a model of two cache groups that looks at its batch.
#include "engine/model_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>

#include "nn/testing_backend.h"

namespace octavo {
namespace {

constexpr int kMaxRows = 6, kVocab = 8;

// Records the second step of a key; sizes are 1, 2, 4, 6.
class RecordingBackend : public testing::TestingBackend {
 public:
  class UnusedSampler : public Sampler {
   public:
    explicit UnusedSampler(int& uses) : uses_(uses) {}
    void set_slot(const SlotSetup&) override { ++uses_; }
    Tensor resolve_tokens(const Tensor& tokens) override { return tokens; }
    std::unique_ptr<PendingTokens> sample(const Tensor&, std::span<const SampleRow>) override {
      ++uses_;
      return nullptr;
    }
    std::unique_ptr<PendingTokens> prompt_logprobs(const Tensor&,
                                                   std::span<const PromptLogprobRow>) override {
      ++uses_;
      return nullptr;
    }

   private:
    int& uses_;
  };

  std::unique_ptr<Sampler> make_sampler(const SamplerSpec&) override {
    return std::make_unique<UnusedSampler>(sampler_uses);
  }
  int padded_rows(int rows) const override {
    int padded = 1;
    while (padded < rows) padded *= 2;
    return std::min(padded, kMaxRows);
  }
  void begin_recording(uint64_t key) override { ++times_made_[key]; }
  bool wants_recording(uint64_t key) const override {
    const auto made = times_made_.find(key);
    return records && (made == times_made_.end() || made->second < 2);
  }
  void wait() override { ++waits; }
  Status take_error() override { return std::exchange(error, ok_status()); }

  bool records = true;
  Status error;
  int sampler_uses = 0, waits = 0;

 private:
  std::map<uint64_t, int> times_made_;
};

// Keeps the sizes of its steps and how many of their rows were padding; of the last one, where its
// inputs lay and which blocks its rows had.
class LookingModel : public Model {
 public:
  struct Step {
    int rows = 0, padding = 0;
    bool operator==(const Step&) const = default;
  };

  std::vector<KvCacheSpec> kv_groups() const override {
    KvCacheSpec spec{.num_layers = 1, .num_kv_heads = 1, .head_dim = 2, .num_blocks = 4};
    return {spec, spec};
  }
  Tensor forward(ForwardContext& ctx) override {
    const Batch& batch = *ctx.batch;
    Step step{batch.num_tokens(), 0};
    addresses = {batch.tokens.data, batch.positions.data};
    tables.clear();
    for (const AttentionBatch& group : batch.groups) {
      EXPECT_EQ(group.num_rows, step.rows);
      EXPECT_EQ(group.num_decode_rows, step.rows);
      EXPECT_EQ(group.block_begin.dim(0), step.rows + 1);
      step.padding = 0;
      for (int r = 0; r < step.rows; ++r) {
        const int token = batch.tokens.as<int32_t>()[r];
        EXPECT_TRUE(token >= 0 && token < kVocab) << token;
        EXPECT_EQ(group.row_begin.as<int32_t>()[r + 1], r + 1);
        const bool empty = group.kv_len.as<int32_t>()[r] == 0;
        EXPECT_EQ(group.slot_mapping.as<int64_t>()[r] == -1, empty) << "row " << r;
        step.padding += empty;
      }
      look_at_inputs(group);
    }
    steps.push_back(step);
    return ctx.allocate({step.rows, 2});
  }
  Tensor logits(ForwardContext& ctx, const Tensor& hidden) override {
    return ctx.backend->allocate(DType::kF32, {hidden.dim(0), kVocab});
  }
  void for_each_parameter(const ParameterVisitor&) override {}

  std::vector<Step> steps;
  std::vector<const void*> addresses;
  std::vector<std::vector<std::vector<int32_t>>> tables;  // of each group, of each row

 private:
  void look_at_inputs(const AttentionBatch& group) {
    for (const Tensor& input : {group.row_begin, group.kv_len, group.positions, group.block_begin,
                                group.blocks, group.slot_mapping})
      addresses.push_back(input.data);
    std::vector<std::vector<int32_t>>& rows = tables.emplace_back();
    const auto *begin = group.block_begin.as<int32_t>(), *blocks = group.blocks.as<int32_t>();
    for (int r = 0; r < group.num_rows; ++r)
      rows.emplace_back(blocks + begin[r], blocks + begin[r + 1]);
  }
};

class RecordedSteps : public ::testing::Test {
 protected:
  static int32_t block_id(int group, int row, int i) { return 10000 * group + 1000 * row + i; }

  // One decode step; each row has so many blocks in the first cache group and in the second.
  void make_step(int rows, std::array<int, 2> blocks = {1, 1}) {
    BatchPlan plan;
    plan.tables.resize(2);
    for (PlanBlockTable& table : plan.tables) table.begin = {0};
    for (int r = 0; r < rows; ++r) {
      plan.tokens.push_back(1);
      plan.rows.push_back({SequenceId(r), SlotId(r), r, 1, 0});
      for (int g = 0; g < 2; ++g) {
        PlanBlockTable& table = plan.tables[g];
        for (int i = 0; i < blocks[g]; ++i) table.blocks.push_back(block_id(g, r, i));
        table.begin.push_back(static_cast<int32_t>(table.blocks.size()));
      }
      plan.samples.push_back({.row = r});
    }
    runner_.forward(plan);
    runner_.finish(plan, {});
  }
  std::vector<LookingModel::Step> prepare_all() {
    model_.steps.clear();
    while (runner_.prepare() && model_.steps.size() < 100) {
    }
    return model_.steps;
  }

  RecordingBackend backend_;
  LookingModel model_;
  ModelRunner runner_{backend_, model_, model_.kv_groups(), DType::kF32, {kMaxRows, kVocab, 64}};
};

using PreparedSteps = RecordedSteps;

TEST_F(RecordedSteps, HaveTheirInputsWhereTheyWereWhateverTheSizeOfTheBlockTables) {
  make_step(3, {1, 1});
  const std::vector<const void*> recorded = model_.addresses;
  make_step(3, {200, 1});
  EXPECT_EQ(model_.addresses, recorded);
  make_step(3, {1, 200});
  EXPECT_EQ(model_.addresses, recorded);
}

TEST_F(RecordedSteps, FindTheBlocksOfEachCacheGroup) {
  make_step(3, {2, 40});
  ASSERT_EQ(model_.tables.size(), 2u);
  for (int g = 0; g < 2; ++g) {
    ASSERT_EQ(model_.tables[g].size(), 4u) << "one row is padding";
    EXPECT_TRUE(model_.tables[g][3].empty());
    for (int r = 0; r < 3; ++r) {
      std::vector<int32_t> expected(g == 0 ? 2 : 40);
      for (size_t i = 0; i < expected.size(); ++i)
        expected[i] = block_id(g, r, static_cast<int>(i));
      EXPECT_EQ(model_.tables[g][r], expected) << "group " << g << ", row " << r;
    }
  }
}

TEST_F(PreparedSteps, AreOfPaddingAloneAndOfEachSizeUntilItIsRecorded) {
  const std::vector<LookingModel::Step> expected = {{1, 1}, {1, 1}, {2, 2}, {2, 2},
                                                    {4, 4}, {4, 4}, {6, 6}, {6, 6}};
  EXPECT_EQ(prepare_all(), expected);
  EXPECT_EQ(backend_.sampler_uses, 0);
  EXPECT_EQ(backend_.waits, 8) << "each is waited for";
  EXPECT_TRUE(prepare_all().empty());
}

TEST_F(PreparedSteps, LeaveOutWhatOtherStepsHaveBroughtAlong) {
  make_step(3);
  make_step(4);
  make_step(2);
  const std::vector<LookingModel::Step> made = {{4, 1}, {4, 0}, {2, 0}};
  EXPECT_EQ(model_.steps, made);
  const std::vector<LookingModel::Step> expected = {{1, 1}, {1, 1}, {2, 2}, {6, 6}, {6, 6}};
  EXPECT_EQ(prepare_all(), expected);
}

TEST_F(PreparedSteps, AreNotMadeWhereNothingIsRecorded) {
  backend_.records = false;
  EXPECT_TRUE(prepare_all().empty());
}

TEST_F(PreparedSteps, EndWithTheFirstThatFails) {
  backend_.error = internal_error("linear: the fake device failed");
  EXPECT_EQ(prepare_all().size(), 1u);
}

}  // namespace
}  // namespace octavo
