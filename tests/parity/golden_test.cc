// Small random models of each architecture and rope kind against the logits that transformers
// computed for them (tests/data/goldens/make_goldens.py), in float32: prefill whole and in chunks,
// then decode.
#include <gtest/gtest.h>

#include <cstdio>

#include "backend/cpu/cpu_backend.h"
#include "goldens.h"
#include "model_harness.h"
#include "nn/testing_backend.h"

namespace octavo::testing {
namespace {

void expect_golden_logits(Backend& backend, const std::string& name) {
  const Golden golden = read_golden(name);
  ASSERT_FALSE(golden.tokens.empty()) << "no golden data in " << golden_folder(name);
  auto harness = ModelHarness::load(golden_folder(name), backend, DType::kF32);
  ASSERT_TRUE(harness.ok()) << harness.status().to_string();
  const int prompt = golden.num_prompt;
  for (const std::vector<int>& chunks : golden_chunks(prompt)) {
    const std::vector<float> logits = (*harness)->logits(golden.tokens, chunks);
    ASSERT_EQ(logits.size(), golden.logits.size());
    const double error = relative_error(logits, golden.logits);
    EXPECT_LE(error, 1e-4) << name << ", first chunk " << chunks[0];
    if (chunks[0] == prompt) std::printf("  %s: relative error %.1e\n", name.c_str(), error);
  }
}

class GoldenLogits : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenLogits, AgreeInPlainLoops) {
  TestingBackend backend;
  expect_golden_logits(backend, GetParam());
}

TEST_P(GoldenLogits, AgreeOnTheCpuBackendWithEveryInstructionSet) {
  for (cpu::Isa isa : cpu::machine_isas()) {
    SCOPED_TRACE(cpu::to_string(isa));
    auto backend = cpu::make_cpu_backend({.threads = 2, .isa = isa});
    ASSERT_TRUE(backend.ok()) << backend.status().to_string();
    expect_golden_logits(**backend, GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(, GoldenLogits, ::testing::ValuesIn(kGoldenModels),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace octavo::testing
