// Decode steps that are recorded ahead of need change no answer: neither what is generated from
// them, nor what is generated around them. octavo-tiny through a ModelRunner, without an engine.
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "backend/cuda/cuda_backend.h"
#include "base/testing_files.h"
#include "engine/model_runner.h"
#include "testing_gpu.h"
#include "weights/loader.h"

namespace octavo {
namespace {

constexpr int kBlock = 32, kMaxLength = 64, kMaxRows = 12;

std::filesystem::path octavo_tiny() {
  return testing::source_dir() / "models/octavo-tiny";
}

// Greedy answers to prompts of which every one has its slot, its row and its blocks throughout.
class Generator {
 public:
  explicit Generator(bool batch_invariant) {
    auto backend = cuda::make_cuda_backend(
        {.max_tokens = 256, .max_rows = kMaxRows, .batch_invariant = batch_invariant});
    auto config = read_model_config(octavo_tiny());
    CHECK(backend.ok() && config.ok());
    backend_ = std::move(*backend);
    auto model = make_model(*config, DType::kBF16, *backend_);
    CHECK(model.ok() && load_safetensors(octavo_tiny(), **model, 2).ok());
    CHECK(backend_->weights_loaded().ok());
    model_ = std::move(*model);
    std::vector<KvCacheSpec> groups = model_->kv_groups();
    CHECK(groups.size() == 1);
    groups[0].block_size = kBlock;
    groups[0].num_blocks = kMaxRows * kMaxLength / kBlock;
    groups[0].dtype = DType::kBF16;
    runner_ = std::make_unique<ModelRunner>(*backend_, *model_, groups, DType::kBF16,
                                            SamplerSpec{kMaxRows, config->vocab_size, kMaxLength});
  }

  // How many steps that took.
  int prepare_all() {
    int steps = 0;
    while (runner_->prepare()) ++steps;
    return steps;
  }

  void start(const std::vector<std::vector<TokenId>>& prompts) {
    lengths_.clear();
    BatchPlan plan;
    for (const auto& prompt : prompts) {
      const int row = static_cast<int>(lengths_.size());
      auto params = std::make_shared<SamplingParams>();
      params->temperature = 0;
      plan.setups.push_back({.slot = SlotId(row),
                             .params = params,
                             .prompt = std::make_shared<const std::vector<TokenId>>(prompt)});
      add_row(plan, 0, prompt);
      lengths_.push_back(static_cast<int>(prompt.size()));
    }
    answers_.assign(prompts.size(), {});
    run(std::move(plan));
  }

  void decode(int steps) {
    for (int i = 0; i < steps; ++i) {
      BatchPlan plan;
      for (size_t row = 0; row < lengths_.size(); ++row)
        add_row(plan, lengths_[row]++, {-1 - static_cast<TokenId>(row)});
      run(std::move(plan));
    }
  }

  struct Drawn {
    TokenId token = 0;
    float logprob = 0;
  };
  const std::vector<std::vector<Drawn>>& answers() const { return answers_; }

 private:
  void add_row(BatchPlan& plan, int start, const std::vector<TokenId>& tokens) {
    const auto row = static_cast<int>(plan.rows.size());
    const auto count = static_cast<int>(tokens.size());
    plan.rows.push_back({.sequence = SequenceId(row),
                         .slot = SlotId(row),
                         .token_begin = static_cast<int>(plan.tokens.size()),
                         .num_tokens = count,
                         .start = start});
    plan.tokens.insert(plan.tokens.end(), tokens.begin(), tokens.end());
    plan.samples.push_back({.row = row, .num_logprobs = 0});
    plan.tables.resize(1);
    PlanBlockTable& table = plan.tables[0];
    if (row == 0) table.begin = {0};
    for (int b = 0; b * kBlock < start + count; ++b)
      table.blocks.push_back(row * (kMaxLength / kBlock) + b);
    table.begin.push_back(static_cast<int32_t>(table.blocks.size()));
  }

  void run(BatchPlan plan) {
    plan.step = StepId(next_step_++);
    runner_->forward(plan);
    runner_->finish(plan, {});
    const StepResult result = runner_->collect();
    ASSERT_TRUE(result.status.ok()) << result.status.to_string();
    for (size_t i = 0; i < answers_.size(); ++i)
      answers_[i].push_back({result.samples[i].token, result.samples[i].logprob});
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<ModelRunner> runner_;
  std::vector<int> lengths_;
  std::vector<std::vector<Drawn>> answers_;
  int64_t next_step_ = 0;
};

void expect_same(const Generator& got, const Generator& expected) {
  ASSERT_EQ(got.answers().size(), expected.answers().size());
  for (size_t i = 0; i < got.answers().size(); ++i) {
    ASSERT_EQ(got.answers()[i].size(), expected.answers()[i].size());
    for (size_t t = 0; t < got.answers()[i].size(); ++t) {
      const Generator::Drawn &mine = got.answers()[i][t], &theirs = expected.answers()[i][t];
      ASSERT_EQ(mine.token, theirs.token) << "row " << i << ", token " << t;
      ASSERT_EQ(mine.logprob, theirs.logprob) << "row " << i << ", token " << t;
    }
  }
}

std::vector<std::vector<TokenId>> prompts(int count) {
  std::vector<std::vector<TokenId>> all;
  for (int i = 0; i < count; ++i) {
    all.emplace_back(static_cast<size_t>(5 + 4 * i));
    std::iota(all.back().begin(), all.back().end(), 100 * (i + 1));
  }
  return all;
}

class PreparedSteps : public ::testing::TestWithParam<bool> {};

TEST_P(PreparedSteps, ChangeNoAnswerOnAGpu) {
  if (!testing::has_hopper()) GTEST_SKIP() << "needs a Hopper GPU";
  constexpr int kSteps = 12;
  Generator before(GetParam()), amid(GetParam());
  // Rows of sizes 1, 2, 4, 8, 12, each made twice.
  EXPECT_EQ(before.prepare_all(), 10);
  for (int rows : {1, 3, 7, 10}) {
    SCOPED_TRACE(rows);
    Generator without(GetParam());
    without.start(prompts(rows));
    without.decode(kSteps);

    before.start(prompts(rows));
    before.decode(kSteps);
    expect_same(before, without);

    amid.start(prompts(rows));
    amid.decode(kSteps / 2);
    amid.prepare_all();
    amid.decode(kSteps - kSteps / 2);
    expect_same(amid, without);
  }
  EXPECT_EQ(before.prepare_all(), 0) << "all were recorded";
}

INSTANTIATE_TEST_SUITE_P(, PreparedSteps, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "BatchInvariant" : "Usual"; });

}  // namespace
}  // namespace octavo
