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

namespace octavo::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

float fused(float a, float b, float c) {
  return std::fma(a, b, c);
}

// --- Philox and the noise
// --------------------------------------------------------------------------------

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

// --- the slow twin
// ---------------------------------------------------------------------------------------

struct Case {
  SamplingParams params;
  std::vector<std::vector<TokenId>> bad_words;
  std::vector<TokenId> stop_ids, prompt, output;
  uint64_t seed = 1;
  std::vector<uint32_t> mask;
};

std::vector<float> edited_logits(const Case& c, std::vector<float> x) {
  const int size = static_cast<int>(x.size());
  const SamplingParams& p = c.params;
  for (int i = 0; i < size; ++i) {
    if (!c.mask.empty() && !(c.mask[i / 32] >> (i % 32) & 1)) x[i] = -kInfinity;
    if (p.allowed_token_ids &&
        std::count(p.allowed_token_ids->begin(), p.allowed_token_ids->end(), i) == 0) {
      x[i] = -kInfinity;
    }
  }
  for (const auto& word : c.bad_words) {
    const size_t prefix = word.size() - 1;
    if (prefix <= c.output.size() &&
        std::equal(word.begin(), word.end() - 1, c.output.end() - prefix)) {
      x[word.back()] = -kInfinity;
    }
  }
  for (const TokenId t : c.stop_ids) {
    if (static_cast<int>(c.output.size()) < p.min_tokens) x[t] = -kInfinity;
  }
  for (const auto& [t, bias] : p.logit_bias) x[t] += bias;
  for (int i = 0; i < size; ++i) {
    const auto drawn = std::count(c.output.begin(), c.output.end(), i);
    const bool seen = drawn > 0 || std::count(c.prompt.begin(), c.prompt.end(), i) > 0;
    if (seen) x[i] = x[i] > 0 ? x[i] / p.repetition_penalty : x[i] * p.repetition_penalty;
    x[i] -= p.frequency_penalty * static_cast<float>(drawn);
    if (drawn > 0) x[i] -= p.presence_penalty;
  }
  return x;
}

// What min-p, top-k and top-p leave of logits / temperature; the rest is -inf.
std::vector<float> filtered_logits(const SamplingParams& p, std::vector<float> y) {
  const float maximum = *std::max_element(y.begin(), y.end());
  if (p.min_p > 0) {
    const float threshold = maximum + std::log(p.min_p);
    for (float& v : y) v = v < threshold ? -kInfinity : v;
  }
  if (p.top_k > 0 && p.top_k < static_cast<int>(y.size())) {
    std::vector<float> sorted = y;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    for (float& v : y) v = v < sorted[p.top_k - 1] ? -kInfinity : v;
  }
  if (p.top_p < 1) {
    std::vector<int> order(y.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return y[a] > y[b]; });
    double total = 0, held = 0;
    for (const float v : y) total += std::exp(static_cast<double>(v) - maximum);
    for (const int i : order) {
      const bool keep = held < p.top_p * total;
      held += std::exp(static_cast<double>(y[i]) - maximum);
      if (!keep) y[i] = -kInfinity;
    }
  }
  return y;
}

TokenId expected_token(const Case& c, const std::vector<float>& logits) {
  std::vector<float> y = edited_logits(c, logits);
  if (!c.params.greedy()) {
    for (float& v : y) v *= 1.0f / c.params.temperature;
    y = filtered_logits(c.params, y);
    for (size_t i = 0; i < y.size(); ++i) {
      const uint32_t word =
          token_word(c.seed, static_cast<uint32_t>(c.output.size()), static_cast<uint32_t>(i));
      y[i] += gumbel_noise(word, fused);
    }
  }
  const auto best = std::max_element(y.begin(), y.end());
  return *best > -kInfinity ? static_cast<TokenId>(best - y.begin()) : -1;
}

// --- driving the sampler
// ---------------------------------------------------------------------------------

SlotSetup setup_of(int slot, const Case& c) {
  SlotSetup setup;
  setup.slot = SlotId(slot);
  setup.params = std::make_shared<SamplingParams>(c.params);
  setup.bad_words = c.bad_words;
  setup.stop_ids = c.stop_ids;
  setup.seed = c.seed;
  setup.prompt = std::make_shared<std::vector<TokenId>>(c.prompt);
  setup.output = c.output;
  return setup;
}

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

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  int below(int n) { return static_cast<int>(engine_() % static_cast<uint32_t>(n)); }
  bool once_in(int n) { return below(n) == 0; }
  float normal() { return normal_(engine_); }
  float uniform(float low, float high) {
    return low + (high - low) * (static_cast<float>(below(1 << 20)) / (1 << 20));
  }
  std::vector<TokenId> tokens(int count, int size) {
    std::vector<TokenId> t(count);
    for (TokenId& v : t) v = below(size);
    return t;
  }

 private:
  std::mt19937 engine_;
  std::normal_distribution<float> normal_;
};

Case random_case(Random& random, int size) {
  Case c;
  SamplingParams& p = c.params;
  p.temperature = random.once_in(4) ? 0 : random.uniform(0.1f, 2);
  if (random.once_in(2)) p.top_p = random.uniform(0.05f, 1);
  if (random.once_in(2)) p.top_k = 1 + random.below(random.once_in(2) ? 20 : size);
  if (random.once_in(3)) p.min_p = random.uniform(0, 0.5f);
  if (random.once_in(3)) p.repetition_penalty = random.uniform(0.5f, 2);
  if (random.once_in(3)) p.frequency_penalty = random.uniform(-2, 2);
  if (random.once_in(3)) p.presence_penalty = random.uniform(-2, 2);
  if (random.once_in(4)) p.min_tokens = 5;
  if (random.once_in(6)) p.allowed_token_ids = random.tokens(1 + random.below(10), size);
  if (random.once_in(4))
    p.logit_bias = {{random.below(size), 50.0f}, {random.below(size), -100.0f}};
  c.stop_ids = random.tokens(2, size);
  c.prompt = random.tokens(random.below(30), size);
  c.output = random.tokens(random.below(10), size);
  if (random.once_in(4)) {
    c.bad_words = {random.tokens(1, size), random.tokens(2, size)};
    if (!c.output.empty()) c.bad_words[1][0] = c.output.back();
  }
  if (random.once_in(5)) {
    c.mask.resize((size + 31) / 32);
    for (uint32_t& m : c.mask)
      m = static_cast<uint32_t>(random.below(1 << 30)) << 2 | random.below(4);
  }
  c.seed = static_cast<uint64_t>(random.below(1 << 30)) << 34 | random.below(1 << 30);
  return c;
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
