// For the tests of samplers: a slow twin that follows ops/sampler.h line by line, and random
// requests for it and for the sampler under test.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "ops/philox.h"
#include "ops/sampler.h"

namespace octavo::testing {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A request as the sampler sees it, and the mask of its next draw (empty: none).
struct SamplerCase {
  SamplingParams params;
  std::vector<std::vector<TokenId>> bad_words;
  std::vector<TokenId> stop_ids, prompt, output;
  uint64_t seed = 1;
  std::vector<uint32_t> mask;
};

inline std::vector<float> edited_logits(const SamplerCase& c, std::vector<float> x) {
  const int size = static_cast<int>(x.size());
  const SamplingParams& p = c.params;
  std::vector<bool> allowed(x.size(), !p.allowed_token_ids);
  if (p.allowed_token_ids) {
    for (const TokenId t : *p.allowed_token_ids) allowed[t] = true;
  }
  for (int i = 0; i < size; ++i) {
    const bool masked = !c.mask.empty() && !(c.mask[i / 32] >> (i % 32) & 1);
    if (masked || !allowed[i]) x[i] = -kInfinity;
  }
  for (const auto& word : c.bad_words) {
    const size_t prefix = word.size() - 1;
    if (prefix <= c.output.size() &&
        std::equal(word.begin(), word.end() - 1, c.output.end() - static_cast<long>(prefix))) {
      x[word.back()] = -kInfinity;
    }
  }
  for (const TokenId t : c.stop_ids) {
    if (static_cast<int>(c.output.size()) < p.min_tokens) x[t] = -kInfinity;
  }
  for (const auto& [t, bias] : p.logit_bias) x[t] += bias;
  std::vector<int> drawn(x.size());
  std::vector<bool> seen(x.size());
  for (const TokenId t : c.output) {
    ++drawn[t];
    seen[t] = true;
  }
  for (const TokenId t : c.prompt) seen[t] = true;
  for (int i = 0; i < size; ++i) {
    if (seen[i]) x[i] = x[i] > 0 ? x[i] / p.repetition_penalty : x[i] * p.repetition_penalty;
    const float frequency = p.frequency_penalty * static_cast<float>(drawn[i]);
    x[i] -= frequency;
    if (drawn[i] > 0) x[i] -= p.presence_penalty;
  }
  return x;
}

// What min-p, top-k and top-p leave of logits / temperature; the rest is -inf. `slack` moves the
// mass at which top-p ends, by that part of the whole.
inline std::vector<float> filtered_logits(const SamplingParams& p, std::vector<float> y,
                                          double slack = 0) {
  const float maximum = *std::max_element(y.begin(), y.end());
  if (p.min_p > 0) {
    const float threshold = maximum + std::log(p.min_p);
    for (float& v : y) v = v < threshold ? -kInfinity : v;
  }
  if (p.top_k > 0 && p.top_k < static_cast<int>(y.size())) {
    std::vector<float> sorted = y;
    std::nth_element(sorted.begin(), sorted.begin() + (p.top_k - 1), sorted.end(),
                     std::greater<>());
    const float kth = sorted[static_cast<size_t>(p.top_k - 1)];
    for (float& v : y) v = v < kth ? -kInfinity : v;
  }
  if (p.top_p < 1) {
    std::vector<int> order(y.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int a, int b) { return y[a] != y[b] ? y[a] > y[b] : a < b; });
    double total = 0, held = 0;
    for (const float v : y) total += std::exp(static_cast<double>(v) - maximum);
    for (const int i : order) {
      const bool keep = held < (p.top_p + slack) * total || held == 0;
      held += std::exp(static_cast<double>(y[i]) - maximum);
      if (!keep) y[i] = -kInfinity;
    }
  }
  return y;
}

// -1: there is nothing to choose.
inline TokenId expected_token(const SamplerCase& c, const std::vector<float>& logits,
                              double slack = 0) {
  std::vector<float> y = edited_logits(c, logits);
  if (!c.params.greedy()) {
    const float factor = 1.0f / c.params.temperature;
    for (float& v : y) v *= factor;
    if (*std::max_element(y.begin(), y.end()) == -kInfinity) return -1;
    y = filtered_logits(c.params, y, slack);
    for (size_t i = 0; i < y.size(); ++i) {
      if (y[i] == -kInfinity) continue;
      const uint32_t word =
          token_word(c.seed, static_cast<uint32_t>(c.output.size()), static_cast<uint32_t>(i));
      y[i] += gumbel_noise(word, [](float a, float b, float d) { return std::fma(a, b, d); });
    }
  }
  const auto best = std::max_element(y.begin(), y.end());
  return *best > -kInfinity ? static_cast<TokenId>(best - y.begin()) : -1;
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
    std::vector<TokenId> t(static_cast<size_t>(count));
    for (TokenId& v : t) v = below(size);
    return t;
  }

 private:
  std::mt19937 engine_;
  std::normal_distribution<float> normal_;
};

inline SamplerCase random_case(Random& random, int size) {
  SamplerCase c;
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
  if (random.once_in(4)) {
    const int t = random.below(size);
    p.logit_bias = {{t, 50.0f}, {random.below(size), -100.0f}, {t, 0.3f}};
  }
  c.stop_ids = random.tokens(2, size);
  c.prompt = random.tokens(random.below(30), size);
  c.output = random.tokens(random.below(10), size);
  if (random.once_in(4)) {
    c.bad_words = {random.tokens(1, size), random.tokens(2, size)};
    if (!c.output.empty()) c.bad_words[1][0] = c.output.back();
  }
  if (random.once_in(5)) {
    c.mask.resize(static_cast<size_t>(size + 31) / 32);
    for (uint32_t& m : c.mask) {
      m = static_cast<uint32_t>(random.below(1 << 30)) << 2 |
          static_cast<uint32_t>(random.below(4));
    }
  }
  c.seed = static_cast<uint64_t>(random.below(1 << 30)) << 34 |
           static_cast<uint64_t>(random.below(1 << 30));
  return c;
}

inline SlotSetup setup_of(int slot, const SamplerCase& c) {
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

}  // namespace octavo::testing
