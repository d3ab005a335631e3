// Whole models on the GPU against float32 references: the golden models, no worse than
// transformers' own bfloat16 run, and the bundled model. Every test needs a Hopper GPU.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <random>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/testing_device.h"
#include "goldens.h"
#include "model_harness.h"
#include "teacher_forced.h"

namespace octavo::testing {
namespace {

std::unique_ptr<Backend> open_gpu(bool batch_invariant = false) {
  auto backend = cuda::make_cuda_backend(
      {.max_tokens = 2048, .max_rows = 64, .batch_invariant = batch_invariant});
  return backend.ok() ? std::move(*backend) : nullptr;
}

class GoldenLogitsOnTheGpu : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenLogitsOnTheGpu, AreNoFurtherFromFloat32ThanTransformersInBfloat16) {
  SKIP_WITHOUT_GPU();
  const std::string name = GetParam();
  const Golden golden = read_golden(name);
  ASSERT_FALSE(golden.tokens.empty());
  ASSERT_GT(golden.bfloat16_error, 0) << "golden.json lacks bfloat16_error";
  for (bool batch_invariant : {false, true}) {
    const auto backend = open_gpu(batch_invariant);
    ASSERT_TRUE(backend);
    auto harness = ModelHarness::load(golden_folder(name), *backend, DType::kBF16);
    ASSERT_TRUE(harness.ok()) << harness.status().to_string();
    const int prompt = golden.num_prompt;
    for (const std::vector<int>& chunks : golden_chunks(prompt)) {
      const std::vector<float> logits = (*harness)->logits(golden.tokens, chunks);
      ASSERT_EQ(logits.size(), golden.logits.size());
      const double error = norm_error(logits, golden.logits);
      EXPECT_LE(error, golden.bfloat16_error) << name << ", first chunk " << chunks[0];
      if (chunks[0] == prompt || chunks[0] == 1)
        std::printf("  %s, chunk %d: relative error %.1e (transformers %.1e)\n", name.c_str(),
                    chunks[0], error, golden.bfloat16_error);
    }
    const Status status = backend->take_error();
    EXPECT_TRUE(status.ok()) << status.to_string();
  }
}

INSTANTIATE_TEST_SUITE_P(, GoldenLogitsOnTheGpu, ::testing::ValuesIn(kGoldenModels),
                         [](const auto& info) { return std::string(info.param); });

// Teacher forced on the float32 ids: the argmax wherever the reference is clear, and close
// log-probabilities. Chunk sizes: prefill whole, in pieces, and token by token as decode does.
TEST(OctavoTinyOnTheGpu, FollowsTheFloat32ReferenceInBfloat16AndFloat16) {
  SKIP_WITHOUT_GPU();
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    const auto backend = open_gpu();
    ASSERT_TRUE(backend);
    auto harness = ModelHarness::load(octavo_tiny_folder(), *backend, dtype);
    ASSERT_TRUE(harness.ok()) << harness.status().to_string();
    for (const std::vector<int>& chunks : {std::vector<int>{512}, {100}, {16, 1}}) {
      const std::vector<Position> positions = teacher_forced(**harness, 2048, chunks);
      ASSERT_EQ(positions.size(), 20u * 48);
      int differ = 0, compared = 0;
      double worst = 0, sum = 0;
      for (const Position& p : positions) {
        differ += !p.argmax_equal;
        if (p.margin > 0.15) {
          EXPECT_TRUE(p.argmax_equal)
              << p.prompt << " token " << p.index << ", margin " << p.margin;
        }
        if (!p.has_logprobs) continue;
        ++compared;
        worst = std::max(worst, p.chosen_logprob_error);
        sum += p.chosen_logprob_error;
      }
      EXPECT_LE(worst, 0.1);
      EXPECT_LE(sum / compared, 0.015);
      std::printf(
          "  %s, first chunk %d: %d of %zu positions differ; log-probability error %.4f at "
          "most, %.4f on average\n",
          std::string(to_string(dtype)).c_str(), chunks[0], differ, positions.size(), worst,
          sum / compared);
    }
  }
}

// From 2,048 rows on the products of a model of this size carry its norms.
TEST(OctavoTinyOnTheGpu, IsAsExactForALongPromptInOneStepAsInMany) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(1);
  std::vector<TokenId> tokens(2048);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % 8192);
  const auto logits_of = [&](bool batch_invariant, int chunk) {
    const auto backend = open_gpu(batch_invariant);
    if (!backend) return std::vector<float>();
    auto harness = ModelHarness::load(octavo_tiny_folder(), *backend, DType::kBF16);
    return harness.ok() ? (*harness)->logits(tokens, {chunk}) : std::vector<float>();
  };
  const std::vector<float> reference = logits_of(true, 512);
  const std::vector<float> whole = logits_of(false, 2048), pieces = logits_of(false, 512);
  ASSERT_EQ(reference.size(), 2048u * 8192);
  ASSERT_EQ(whole.size(), reference.size());
  ASSERT_EQ(pieces.size(), reference.size());
  const double error = norm_error(whole, reference), of_pieces = norm_error(pieces, reference);
  EXPECT_LT(error, 1.5 * of_pieces);
  std::printf("  2,048 tokens: %.1e from --batch-invariant, in pieces %.1e\n", error, of_pieces);
}

}  // namespace
}  // namespace octavo::testing
