#include "backend/cpu/sampler_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/philox.h"

namespace octavo::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Up to this many candidates are drawn from one by one, which gives the same token as the vector pass.
constexpr size_t kFewCandidates = 256;

// Replaces scratch.candidates by the elements >= threshold, ascending by token.
void collect_at_least(const SamplerKernels& kernels, const float* x, int size, float threshold,
                      RowScratch& scratch) {
  scratch.found.resize(size);
  const int count = kernels.find_at_least(x, size, threshold, scratch.found.data());
  scratch.candidates.clear();
  for (int i = 0; i < count; ++i) scratch.candidates.push_back({x[scratch.found[i]], scratch.found[i]});
}

double mass(const std::vector<Candidate>& candidates, float maximum) {
  double total = 0;
  for (const Candidate& c : candidates) total += std::exp(c.value - maximum);
  return total;
}

// How many of the candidates make up the smallest set that holds `wanted` of the mass; sorts that far, in
// segments, because mostly a few suffice. At least one.
size_t sort_until(std::vector<Candidate>& candidates, float maximum, double wanted) {
  double held = 0;
  const auto begin = candidates.begin();
  size_t sorted = 0;
  for (size_t segment = 64; sorted < candidates.size(); segment *= 4) {
    const size_t end = std::min(candidates.size(), sorted + segment);
    if (end < candidates.size()) std::nth_element(begin + sorted, begin + end, candidates.end());
    std::sort(begin + sorted, begin + end);
    for (; sorted < end; ++sorted) {
      held += std::exp(candidates[sorted].value - maximum);
      if (held >= wanted) return sorted + 1;
    }
  }
  return candidates.size();
}

// Leaves in scratch.candidates what top-p keeps of the elements >= threshold, and then those it drops.
size_t keep_top_p(const SamplerKernels& kernels, const float* x, int size, float threshold, float maximum,
                  float top_p, RowScratch& scratch) {
  if (threshold > -kInfinity) {
    collect_at_least(kernels, x, size, threshold, scratch);
    return sort_until(scratch.candidates, maximum, top_p * mass(scratch.candidates, maximum));
  }
  // The tail of a whole vocabulary is rarely needed: look at the likeliest tokens first.
  const double wanted = top_p * static_cast<double>(kernels.sum_exp(x, size, maximum));
  for (const float depth : {5.0f, 10.0f, 20.0f}) {
    collect_at_least(kernels, x, size, maximum - depth, scratch);
    if (mass(scratch.candidates, maximum) >= wanted) {
      return sort_until(scratch.candidates, maximum, wanted);
    }
  }
  collect_at_least(kernels, x, size, std::numeric_limits<float>::lowest(), scratch);
  return sort_until(scratch.candidates, maximum, wanted);
}

Choice draw_among(const std::vector<Candidate>& candidates, size_t count, uint64_t seed, uint32_t position) {
  float best = -kInfinity;
  Choice choice;
  for (size_t i = 0; i < count; ++i) {
    const auto [value, token] = candidates[i];
    const float noisy = value + token_noise(token_word(seed, position, static_cast<uint32_t>(token)));
    if (noisy > best || (noisy == best && choice.valid && token < choice.token)) {
      best = noisy;
      choice = {token, true};
    }
  }
  return choice;
}

// A draw from what min-p, top-k and top-p keep of x, which holds the logits divided by the temperature.
Choice draw_filtered(const SamplerKernels& kernels, const SamplingParams& params, uint64_t seed,
                     uint32_t position, float* x, int size, float maximum, RowScratch& scratch) {
  float threshold = -kInfinity;
  if (params.min_p > 0) threshold = maximum + std::log(params.min_p);
  if (params.top_k > 0 && params.top_k < size) {
    find_top(kernels, x, size, params.top_k, scratch);
    threshold = std::max(threshold, scratch.candidates.back().value);
  }
  size_t kept;
  if (params.top_p < 1) {
    kept = keep_top_p(kernels, x, size, threshold, maximum, params.top_p, scratch);
  } else {
    collect_at_least(kernels, x, size, threshold, scratch);
    kept = scratch.candidates.size();
  }
  if (kept <= kFewCandidates) return draw_among(scratch.candidates, kept, seed, position);

  if (params.top_p < 1) {
    // Of elements equal to the last one kept, those with higher ids are out.
    threshold = scratch.candidates[kept - 1].value;
    for (size_t i = kept; i < scratch.candidates.size(); ++i) {
      if (scratch.candidates[i].value == threshold) x[scratch.candidates[i].token] = -kInfinity;
    }
  }
  const RowMaximum drawn = kernels.draw({x, size, 1.0f, threshold, seed, position, token_noise});
  return {drawn.index, drawn.index >= 0};
}

}  // namespace

float token_noise(uint32_t word) {
  return gumbel_noise(word, [](float a, float b, float c) { return std::fma(a, b, c); });
}

void find_top(const SamplerKernels& kernels, const float* x, int size, int n, RowScratch& scratch) {
  constexpr int kChunk = 4096;
  auto& candidates = scratch.candidates;
  candidates.clear();
  if (n <= 0) return;
  scratch.found.resize(std::max(size, kChunk));
  const size_t wanted = static_cast<size_t>(n), most = 2 * wanted + kChunk;
  const auto trim = [&] {
    if (candidates.size() <= wanted) return;
    std::nth_element(candidates.begin(), candidates.begin() + (n - 1), candidates.end());
    candidates.resize(wanted);
  };
  float threshold = -kInfinity;
  for (int begin = 0; begin < size; begin += kChunk) {
    const int count = kernels.find_greater(x + begin, std::min(kChunk, size - begin), threshold,
                                           scratch.found.data());
    for (int i = 0; i < count; ++i) {
      const int token = begin + scratch.found[i];
      candidates.push_back({x[token], token});
    }
    // A later token that only equals the n-th greatest would come after it.
    if (candidates.size() > most || (begin == 0 && candidates.size() > wanted)) {
      trim();
      threshold = candidates.back().value;
    }
  }
  trim();
  std::sort(candidates.begin(), candidates.end());
}

Choice choose_token(const SamplerKernels& kernels, const SamplingParams& params, uint64_t seed, int position,
                    const float* x, int size, RowScratch& scratch) {
  if (params.greedy()) {
    const RowMaximum best = kernels.maximum(x, size);
    return {best.index, !best.invalid && best.index >= 0};
  }
  const auto at = static_cast<uint32_t>(position);
  const float inverse_temperature = 1.0f / params.temperature;
  const bool filtered = params.min_p > 0 || (params.top_k > 0 && params.top_k < size) || params.top_p < 1;
  if (!filtered) {
    const RowMaximum best =
        kernels.draw({x, size, inverse_temperature, -kInfinity, seed, at, token_noise});
    return {best.index, !best.invalid && best.index >= 0};
  }
  if (x != scratch.edited.data()) scratch.edited.assign(x, x + size);
  kernels.scale(scratch.edited.data(), size, inverse_temperature);
  const RowMaximum top = kernels.maximum(scratch.edited.data(), size);
  if (top.invalid || top.index < 0) return {};
  return draw_filtered(kernels, params, seed, at, scratch.edited.data(), size, top.value, scratch);
}

TokenLogprobs token_logprobs(const SamplerKernels& kernels, const float* x, int size, TokenId token,
                             int num_logprobs, RowScratch& scratch) {
  TokenLogprobs result;
  if (token < 0 || token >= size) return result;
  const RowMaximum top = kernels.maximum(x, size);
  if (top.invalid || top.index < 0) return result;
  result.valid = true;
  const auto log_sum = static_cast<float>(std::log(static_cast<double>(kernels.sum_exp(x, size, top.value))));
  const auto logprob = [&](float value) { return (value - top.value) - log_sum; };
  result.logprob = logprob(x[token]);
  result.rank = 1 + kernels.count_greater(x, size, x[token]);
  if (num_logprobs > 0) {
    find_top(kernels, x, size, std::min(num_logprobs, size), scratch);
    result.top.reserve(scratch.candidates.size());
    for (const Candidate& c : scratch.candidates) result.top.emplace_back(c.token, logprob(c.value));
  }
  return result;
}

}  // namespace octavo::cpu
