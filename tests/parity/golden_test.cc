// Small random models of each architecture and rope kind against the logits that transformers
// computed for them (tests/data/goldens/make_goldens.py), in float32: prefill whole and in chunks,
// then decode.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "backend/cpu/cpu_backend.h"
#include "model_harness.h"
#include "nn/testing_backend.h"
#include "octavo/value.h"

namespace octavo::testing {
namespace {

const std::filesystem::path kGoldens =
    std::filesystem::path(OCTAVO_SOURCE_DIR) / "tests/data/goldens";

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

struct Golden {
  std::vector<TokenId> tokens;
  int num_prompt = 0;
  std::vector<float> logits;  // [tokens, vocab]
};

Golden read_golden(const std::string& name) {
  Golden golden;
  const auto json = parse_json(read_file(kGoldens / name / "golden.json"));
  if (!json.ok()) return golden;
  for (const Value& v : json->find("tokens")->as_list())
    golden.tokens.push_back(static_cast<TokenId>(v.as_int()));
  golden.num_prompt = static_cast<int>(json->find("num_prompt")->as_int());
  const std::string bytes = read_file(kGoldens / name / "logits.f32");
  golden.logits.resize(bytes.size() / sizeof(float));
  std::memcpy(golden.logits.data(), bytes.data(), golden.logits.size() * sizeof(float));
  return golden;
}

// max|a - b| / max|b|
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, most = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double d = std::fabs(static_cast<double>(a[i]) - b[i]);
    error = std::isnan(d) ? INFINITY : std::max(error, d);
    most = std::max(most, std::fabs(static_cast<double>(b[i])));
  }
  return error / most;
}

void expect_golden_logits(Backend& backend, const std::string& name) {
  const Golden golden = read_golden(name);
  ASSERT_FALSE(golden.tokens.empty()) << "no golden data in " << kGoldens / name;
  auto harness = ModelHarness::load(kGoldens / name, backend, DType::kF32);
  ASSERT_TRUE(harness.ok()) << harness.status().to_string();
  const int prompt = golden.num_prompt;
  for (const std::vector<int>& chunks :
       {std::vector<int>{prompt, 1}, {7, 7, 7, 7, 7, 5, 1}, {16}, {1}, {13, 27, 1}}) {
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

INSTANTIATE_TEST_SUITE_P(, GoldenLogits,
                         ::testing::Values("llama", "llama3", "mistral", "qwen2", "qwen3", "gpt2"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace octavo::testing
