// The bundled model against its reference: the greedy tokens of 20 prompts, made with transformers.
// Teacher forced: each step is judged given the reference's own tokens before it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include "backend/cpu/cpu_backend.h"
#include "model_harness.h"
#include "nn/testing_backend.h"
#include "octavo/value.h"

namespace octavo::testing {
namespace {

const std::filesystem::path kRoot = OCTAVO_SOURCE_DIR;

Value read_reference() {
  std::ifstream in(kRoot / "tests/data/octavo-tiny-reference.json", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  auto parsed = parse_json(text);
  return parsed.ok() ? *parsed : Value();
}

std::vector<TokenId> ids_of(const Value& v) {
  std::vector<TokenId> ids;
  for (const Value& id : v.as_list()) ids.push_back(static_cast<TokenId>(id.as_int()));
  return ids;
}

// What a run said at one generated position.
struct Position {
  std::string prompt;
  int index = 0;
  bool argmax_equal = false;
  double margin = 0;         // the reference's, between its first and second logit
  double logprob_error = 0;  // over the tokens that the reference lists; it does so for 8 positions
};

double log_sum_exp(const float* logits, size_t count) {
  const double top = *std::max_element(logits, logits + count);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += std::exp(logits[i] - top);
  return top + std::log(sum);
}

std::vector<Position> teacher_forced(ModelHarness& harness, size_t max_prompt,
                                     const std::vector<int>& chunks) {
  const auto vocab = static_cast<size_t>(harness.config().vocab_size);
  std::vector<Position> positions;
  const Value reference = read_reference();
  for (const Value& prompt : reference.find("prompts")->as_list()) {
    std::vector<TokenId> tokens = ids_of(*prompt.find("ids"));
    if (tokens.size() > max_prompt) continue;
    const Value& expected = *prompt.find("float32");
    const std::vector<TokenId> greedy = ids_of(*expected.find("ids"));
    const size_t first = tokens.size() - 1;  // its logits choose greedy[0]
    tokens.insert(tokens.end(), greedy.begin(), greedy.end() - 1);
    const std::vector<float> logits = harness.logits(tokens, chunks);
    for (size_t i = 0; i < greedy.size(); ++i) {
      const float* row = logits.data() + (first + i) * vocab;
      Position p{prompt.find("name")->as_string(), static_cast<int>(i)};
      p.argmax_equal = std::max_element(row, row + vocab) - row == greedy[i];
      p.margin = expected.find("margin")->as_list()[i].as_double();
      positions.push_back(p);
      const Value::List& tops = expected.find("top")->as_list();
      if (i >= tops.size()) continue;
      const Value& top = tops[i];
      const double normaliser = log_sum_exp(row, vocab);
      const std::vector<TokenId> ids = ids_of(*top.find("ids"));
      for (size_t k = 0; k < ids.size(); ++k) {
        const double error =
            row[ids[k]] - normaliser - top.find("logprobs")->as_list()[k].as_double();
        double& worst = positions.back().logprob_error;
        worst = std::max(worst, std::isnan(error) ? INFINITY : std::fabs(error));
      }
    }
  }
  return positions;
}

void expect_float32_parity(Backend& backend, size_t max_prompt, size_t prompts) {
  auto harness = ModelHarness::load(kRoot / "models/octavo-tiny", backend, DType::kF32);
  ASSERT_TRUE(harness.ok()) << harness.status().to_string();
  const std::vector<Position> positions = teacher_forced(**harness, max_prompt, {512});
  ASSERT_EQ(positions.size(), prompts * 48);
  double worst = 0;
  for (const Position& p : positions) {
    EXPECT_TRUE(p.argmax_equal) << p.prompt << " token " << p.index << ", margin " << p.margin;
    EXPECT_LE(p.logprob_error, 1e-3) << p.prompt << " token " << p.index;
    worst = std::max(worst, p.logprob_error);
  }
  std::printf("  worst log-probability error %.2e\n", worst);
}

TEST(OctavoTiny, FollowsTheReferenceInPlainLoops) {
  TestingBackend backend;
  expect_float32_parity(backend, 4, 3);  // slow loops: the shortest prompts
}

class OctavoTinyOnTheCpu : public ::testing::TestWithParam<cpu::Isa> {
 protected:
  void SetUp() override {
    auto made = cpu::make_cpu_backend({.threads = 2, .isa = GetParam()});
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    backend_ = std::move(*made);
  }
  std::unique_ptr<Backend> backend_;
};

TEST_P(OctavoTinyOnTheCpu, FollowsTheReferenceInFloat32) {
  expect_float32_parity(*backend_, 2048, 20);
}

TEST_P(OctavoTinyOnTheCpu, FollowsTheReferenceInBfloat16WhereItsMarginIsClear) {
  auto harness = ModelHarness::load(kRoot / "models/octavo-tiny", *backend_, DType::kBF16);
  ASSERT_TRUE(harness.ok()) << harness.status().to_string();
  const std::vector<Position> positions = teacher_forced(**harness, 2048, {512});
  ASSERT_EQ(positions.size(), 20u * 48);
  int differ = 0;
  for (const Position& p : positions) {
    differ += !p.argmax_equal;
    if (p.margin > 0.05) {
      EXPECT_TRUE(p.argmax_equal) << p.prompt << " token " << p.index << ", margin " << p.margin;
    }
  }
  std::printf("  %d of %zu positions differ\n", differ, positions.size());
}

INSTANTIATE_TEST_SUITE_P(, OctavoTinyOnTheCpu, ::testing::ValuesIn(cpu::machine_isas()),
                         [](const auto& info) { return std::string(cpu::to_string(info.param)); });

}  // namespace
}  // namespace octavo::testing
