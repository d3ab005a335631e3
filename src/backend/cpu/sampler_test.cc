// The sampler against a slow twin that follows ops/sampler.h line by line, over random logits and
// parameters, on every instruction set of this machine; and the promises that the engine builds on.
#include "backend/cpu/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "ops/philox.h"
#include "ops/testing_sampler.h"

namespace octavo::cpu {
namespace {

using testing::expected_token;
using testing::kInfinity;
using testing::Random;
using testing::random_case;
using testing::setup_of;
using Case = testing::SamplerCase;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

float fused(float a, float b, float c) {
  return std::fma(a, b, c);
}

// --- Philox and the noise.

TEST(Philox, GivesThePublishedWords) {
  // Known answers of Random123's kat_vectors, "philox4x32 10".
  using Words = std::array<uint32_t, 4>;
  constexpr uint32_t kOnes = 0xFFFFFFFF;
  static_assert(philox4x32_10({0, 0, 0, 0}, {0, 0}) ==
                Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  static_assert(philox4x32_10({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}) ==
                Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  static_assert(
      philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
      Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  EXPECT_EQ(token_word(0, 0, 2), 0xbc57ac4cu);
}

TEST(GumbelNoise, IsPreciseAtBothEnds) {
  const auto check = [](uint32_t word) {
    const long double near = 0x1p-32L * ((word >> 31 ? ~word : word) + 0.5L);
    const double expected =
        static_cast<double>(-std::log(word >> 31 ? -std::log1p(-near) : -std::log(near)));
    ASSERT_NEAR(gumbel_noise(word, fused), expected, 1.5e-6) << word;
  };
  for (uint32_t i = 0; i < 2000; ++i) {
    check(i);
    check(~i);
    check(i * 2147483u);
  }
}

// --- Driving the sampler.

std::vector<SampledToken> sample_all(Isa isa, int threads, const std::vector<Case>& cases,
                                     std::vector<float> logits, int num_logprobs = -1) {
  ThreadPool pool(threads);
  const int rows = static_cast<int>(cases.size()), size = static_cast<int>(logits.size()) / rows;
  const auto sampler = make_cpu_sampler(isa, pool, {rows, size, 1000});
  std::vector<SampleRow> sample_rows;
  for (int i = 0; i < rows; ++i) {
    sampler->set_slot(setup_of(i, cases[i]));
    sample_rows.push_back({SlotId(i), i, cases[i].mask, num_logprobs});
  }
  std::vector<SampledToken> results(cases.size());
  EXPECT_TRUE(
      sampler->sample({logits.data(), DType::kF32, {rows, size}}, sample_rows)->read(results).ok());
  return results;
}

std::vector<float> random_logits(Random& random, size_t count, float spread, bool coarse) {
  std::vector<float> x(count);
  for (float& v : x) {
    v = random.normal() * spread;
    if (coarse) v = std::round(v);  // many ties
  }
  return x;
}

TEST(Sampler, AgreesWithTheSlowTwin) {
  Random random(11);
  for (const int size : {1, 5, 31, 64, 1000, 5003}) {
    const int rows = size > 900 ? 40 : 150;
    for (const bool coarse : {false, true}) {
      std::vector<Case> cases;
      std::vector<TokenId> expected;
      const auto logits =
          random_logits(random, static_cast<size_t>(rows) * size, coarse ? 1.5f : 3.0f, coarse);
      for (int i = 0; i < rows; ++i) {
        cases.push_back(random_case(random, size));
        expected.push_back(
            expected_token(cases[i], {logits.begin() + i * size, logits.begin() + (i + 1) * size}));
      }
      for (const Isa isa : machine_isas()) {
        const auto results = sample_all(isa, 2, cases, logits);
        for (int i = 0; i < rows; ++i) {
          ASSERT_EQ(results[i].invalid_logits, expected[i] < 0) << to_string(isa) << " row " << i;
          if (expected[i] >= 0) {
            ASSERT_EQ(results[i].token, expected[i]) << to_string(isa) << " vocabulary " << size
                                                     << " row " << i << (coarse ? ", ties" : "");
          }
        }
      }
    }
  }
}

TEST(Sampler, FlatTopPOverALargeVocabularyKeepsTheRightTokens) {
  // Thousands of kept tokens, with ties at the cut: the path over the whole row.
  Random random(12);
  constexpr int kSize = 20000, kRows = 6;
  const auto logits = random_logits(random, kRows * kSize, 0.7f, true);
  std::vector<Case> cases(kRows);
  for (int i = 0; i < kRows; ++i) {
    cases[i].params.top_p = 0.3f + 0.1f * static_cast<float>(i);
    cases[i].seed = i;
  }
  for (const Isa isa : machine_isas()) {
    const auto results = sample_all(isa, 1, cases, logits);
    for (int i = 0; i < kRows; ++i) {
      EXPECT_EQ(results[i].token, expected_token(cases[i], {logits.begin() + i * kSize,
                                                            logits.begin() + (i + 1) * kSize}));
    }
  }
}

TEST(Sampler, DrawsFollowTheDistribution) {
  // Chi-square over 16 tokens at T = 0.8; 37.7 is exceeded once in a thousand with 15 degrees of
  // freedom.
  constexpr int kSize = 16, kDraws = 20000;
  Random random(13);
  const auto logits = random_logits(random, kSize, 1.0f, false);
  std::vector<double> probability(kSize);
  double total = 0;
  for (int i = 0; i < kSize; ++i) total += probability[i] = std::exp(logits[i] / 0.8);
  for (const bool by_position : {false, true}) {
    ThreadPool pool(1);
    const auto sampler = make_cpu_sampler(machine_isas().back(), pool, {1, kSize, kDraws});
    Case c;
    c.params.temperature = 0.8f;
    sampler->set_slot(setup_of(0, c));
    std::vector<float> row = logits;
    const SampleRow sample_row{SlotId(0), 0, {}, -1};
    std::vector<int> counts(kSize);
    for (int n = 0; n < kDraws; ++n) {
      if (!by_position) {
        c.seed = n;
        sampler->set_slot(setup_of(0, c));
      }
      SampledToken result;
      EXPECT_TRUE(sampler->sample({row.data(), DType::kF32, {1, kSize}}, {&sample_row, 1})
                      ->read({&result, 1})
                      .ok());
      ++counts[result.token];
    }
    double chi_square = 0;
    for (int i = 0; i < kSize; ++i) {
      const double expected = kDraws * probability[i] / total;
      chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    EXPECT_LT(chi_square, 37.7) << (by_position ? "over positions" : "over seeds");
  }
}

TEST(Sampler, RowIsTheSameAloneAndAmongOthers) {
  Random random(14);
  constexpr int kSize = 3001, kRows = 50;
  const auto logits = random_logits(random, kRows * kSize, 3.0f, false);
  std::vector<Case> cases;
  for (int i = 0; i < kRows; ++i) cases.push_back(random_case(random, kSize));
  for (const Isa isa : machine_isas()) {
    const auto together = sample_all(isa, 3, cases, logits, 5);
    for (int i = 0; i < kRows; i += 7) {
      const auto alone = sample_all(
          isa, 1, {cases[i]}, {logits.begin() + i * kSize, logits.begin() + (i + 1) * kSize}, 5);
      EXPECT_EQ(alone[0].token, together[i].token);
      EXPECT_EQ(alone[0].logprob, together[i].logprob);
      EXPECT_EQ(alone[0].top, together[i].top);
    }
  }
}

TEST(Sampler, PreemptionDoesNotChangeWhatIsDrawn) {
  Random random(15);
  constexpr int kSize = 500;
  ThreadPool pool(1);
  Case c;
  c.params.repetition_penalty = 1.3f;
  c.params.frequency_penalty = 0.5f;
  c.prompt = {3, 4, 5};
  c.bad_words = {{7}, {8, 9}};
  const auto sampler = make_cpu_sampler(machine_isas().back(), pool, {2, kSize, 100});
  sampler->set_slot(setup_of(0, c));
  const SampleRow undisturbed{SlotId(0), 0, {}, -1}, preempted{SlotId(1), 0, {}, -1};
  for (int n = 0; n < 40; ++n) {
    if (n % 5 == 0) sampler->set_slot(setup_of(1, c));
    std::vector<float> row = random_logits(random, kSize, 2.0f, false);
    const Tensor logits{row.data(), DType::kF32, {1, kSize}};
    SampledToken a, b;
    EXPECT_TRUE(sampler->sample(logits, {&undisturbed, 1})->read({&a, 1}).ok());
    EXPECT_TRUE(sampler->sample(logits, {&preempted, 1})->read({&b, 1}).ok());
    ASSERT_EQ(a.token, b.token) << "draw " << n;
    c.output.push_back(a.token);
  }
}

TEST(Sampler, ResolvesTheLastTokenOfASlot) {
  ThreadPool pool(1);
  const auto sampler = make_cpu_sampler(machine_isas().back(), pool, {3, 10, 100});
  Case c;
  c.params.temperature = 0;
  c.prompt = {6, 8};
  sampler->set_slot(setup_of(0, c));
  c.output = {1, 2};
  sampler->set_slot(setup_of(2, c));
  std::vector<int32_t> tokens{5, ~0, ~2, 9};
  const Tensor before = sampler->resolve_tokens({tokens.data(), DType::kI32, {4}});
  EXPECT_EQ(std::vector<int32_t>(before.as<int32_t>(), before.as<int32_t>() + 4),
            (std::vector<int32_t>{5, 8, 2, 9}));
  std::vector<float> logits(10, 0.0f);
  logits[4] = 1;
  const SampleRow row{SlotId(2), 0, {}, -1};
  SampledToken result;
  EXPECT_TRUE(
      sampler->sample({logits.data(), DType::kF32, {1, 10}}, {&row, 1})->read({&result, 1}).ok());
  EXPECT_EQ(sampler->resolve_tokens({tokens.data(), DType::kI32, {4}}).as<int32_t>()[2], 4);
}

TEST(Sampler, LogprobsAreOfTheRawLogits) {
  Random random(16);
  constexpr int kSize = 4500;
  auto logits = random_logits(random, kSize, 2.0f, false);
  logits[17] = logits[4003] = 12.5f;  // a tie at the top
  double total = 0;
  for (const float v : logits) total += std::exp(static_cast<double>(v));
  Case c;
  c.params.temperature = 0;
  c.params.logit_bias = {{99, 100.0f}};
  for (const Isa isa : machine_isas()) {
    const SampledToken r = sample_all(isa, 1, {c}, logits, 20)[0];
    EXPECT_EQ(r.token, 99);
    EXPECT_NEAR(r.logprob, logits[99] - std::log(total), 1e-5);
    EXPECT_EQ(r.rank, 1 + std::count_if(logits.begin(), logits.end(),
                                        [&](float v) { return v > logits[99]; }));
    ASSERT_EQ(r.top.size(), 20u);
    EXPECT_EQ(r.top[0].first, 17);
    EXPECT_EQ(r.top[1].first, 4003);
    std::vector<float> sorted = logits;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    for (int i = 0; i < 20; ++i) EXPECT_NEAR(r.top[i].second, sorted[i] - std::log(total), 1e-5);
    EXPECT_EQ(sample_all(isa, 1, {c}, logits, kSize)[0].top.size(), static_cast<size_t>(kSize));
  }
}

TEST(Sampler, PromptLogprobsAreOfTheGivenTokens) {
  ThreadPool pool(2);
  const auto sampler = make_cpu_sampler(machine_isas().back(), pool, {1, 4, 100});
  std::vector<float> logits{0, 1, 2, 3, 9, kNan, 0, 0, 0, 0, 0, 0};
  const std::vector<PromptLogprobRow> rows{{0, 2, 1}, {2, 0, 0}, {1, 0, 1}};
  std::vector<SampledToken> results(3);
  ASSERT_TRUE(
      sampler->prompt_logprobs({logits.data(), DType::kF32, {3, 4}}, rows)->read(results).ok());
  EXPECT_EQ(results[0].token, 2);
  EXPECT_EQ(results[0].rank, 2);
  EXPECT_NEAR(results[0].logprob, -1.4401897, 1e-5);
  ASSERT_EQ(results[0].top.size(), 1u);
  EXPECT_EQ(results[0].top[0].first, 3);
  EXPECT_NEAR(results[1].logprob, -std::log(4.0), 1e-6);
  EXPECT_EQ(results[1].rank, 1);
  EXPECT_TRUE(results[1].top.empty());
  EXPECT_TRUE(results[2].invalid_logits);
}

TEST(Sampler, ReportsLogitsThatAllowNoChoice) {
  constexpr int kSize = 100;
  std::vector<float> fine(kSize, 0.5f), nan = fine, infinite = fine, nothing(kSize, -kInfinity);
  nan[97] = kNan;
  infinite[3] = kInfinity;
  for (const Isa isa : machine_isas()) {
    for (const int kind : {0, 1, 2}) {
      Case c;
      if (kind == 0) c.params.temperature = 0;
      if (kind == 2) c.params.top_p = 0.5f;
      for (const auto& logits : {nan, infinite, nothing}) {
        const SampledToken r = sample_all(isa, 1, {c}, logits, 3)[0];
        EXPECT_TRUE(r.invalid_logits) << to_string(isa) << " kind " << kind;
        EXPECT_TRUE(r.token >= 0 && r.token < kSize);
      }
      c.mask.assign(4, 0);
      EXPECT_TRUE(sample_all(isa, 1, {c}, fine)[0].invalid_logits);
      c.mask[2] = 1u << 5;
      EXPECT_EQ(sample_all(isa, 1, {c}, fine)[0].token, 69);
    }
  }
}

}  // namespace
}  // namespace octavo::cpu
