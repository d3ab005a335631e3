// The bundled model against its reference, teacher forced (teacher_forced.h).
#include <gtest/gtest.h>

#include <cstdio>

#include "backend/cpu/cpu_backend.h"
#include "nn/testing_backend.h"
#include "teacher_forced.h"

namespace octavo::testing {
namespace {

void expect_float32_parity(Backend& backend, size_t max_prompt, size_t prompts) {
  auto harness = ModelHarness::load(octavo_tiny_folder(), backend, DType::kF32);
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
  auto harness = ModelHarness::load(octavo_tiny_folder(), *backend_, DType::kBF16);
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
