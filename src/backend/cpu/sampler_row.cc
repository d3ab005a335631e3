// Choosing a token from one row. min-p, top-k and top-p all come down to a threshold on the logit,
// plus, for top-p, a last token among equals; the threshold is found by passes over the row that
// narrow it down, so that no more than about a thousand elements are ever sorted.
#include "backend/cpu/sampler_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/philox.h"

namespace octavo::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Up to this many candidates are drawn from one by one, which gives the same token as the vector
// pass.
constexpr int kFewCandidates = 256;

// Replaces scratch.candidates by the elements in [low, high), ascending by token.
void collect(const SamplerKernels& kernels, const float* x, int size, float low, float high,
             RowScratch& scratch) {
  scratch.found.resize(size);
  const int count = kernels.find_between(x, size, low, high, scratch.found.data());
  scratch.candidates.clear();
  for (int i = 0; i < count; ++i)
    scratch.candidates.push_back({x[scratch.found[i]], scratch.found[i]});
}

// Values between which the smallest set of `wanted` mass ends: all above `high` is in it, all below
// `low` not.
struct Band {
  float low, high = kInfinity;
  Mass above_low, above_high;
};

// Halves the band, at the price of a pass over the row, until few elements are in it.
void narrow(const SamplerKernels& kernels, const float* x, int size, float maximum, double wanted,
            Band& band) {
  constexpr int kFewEnough = 1024, kMostPasses = 16;
  float depth = 4;  // tried first; doubled as long as it is too little
  for (int pass = 0; pass < kMostPasses; ++pass) {
    if (band.above_low.count - band.above_high.count <= kFewEnough) return;
    float middle = maximum - depth;
    if (middle <= band.low) middle = band.low + 0.5f * (std::min(band.high, maximum) - band.low);
    if (middle <= band.low || middle >= band.high) return;
    const Mass mass = kernels.mass_at_least(x, size, maximum, middle);
    if (mass.sum >= wanted) {
      band.low = middle;
      band.above_low = mass;
      depth = kInfinity;
    } else {
      band.high = middle;
      band.above_high = mass;
      depth *= 2;
    }
  }
}

// Where top-p ends: elements above `value` stay, and those equal to it up to token `last`.
struct Cut {
  float value = 0;
  TokenId last = 0;
};

// Of the elements >= threshold, finds the smallest set, likeliest first, that holds top_p of their
// mass.
Cut find_top_p(const SamplerKernels& kernels, const float* x, int size, float threshold,
               float maximum, float top_p, RowScratch& scratch) {
  Band band{std::max(threshold, std::numeric_limits<float>::lowest())};
  band.above_low = kernels.mass_at_least(x, size, maximum, band.low);
  const double wanted = static_cast<double>(top_p) * band.above_low.sum;
  narrow(kernels, x, size, maximum, wanted, band);
  collect(kernels, x, size, band.low, band.high, scratch);
  std::sort(scratch.candidates.begin(), scratch.candidates.end());
  double held = band.above_high.sum;
  for (const Candidate& c : scratch.candidates) {
    held += std::exp(c.value - maximum);
    if (held >= wanted) return {c.value, c.token};
  }
  return {scratch.candidates.back().value, scratch.candidates.back().token};
}

Choice draw_among(const std::vector<Candidate>& candidates, uint64_t seed, uint32_t position) {
  float best = -kInfinity;
  Choice choice;
  for (const auto& [value, token] : candidates) {
    const float noisy =
        value + token_noise(token_word(seed, position, static_cast<uint32_t>(token)));
    if (noisy > best) {
      best = noisy;
      choice = {token, true};
    }
  }
  return choice;
}

// A draw from what min-p, top-k and top-p keep of x, which holds the logits divided by the
// temperature.
Choice draw_filtered(const SamplerKernels& kernels, const SamplingParams& params, uint64_t seed,
                     uint32_t position, float* x, int size, float maximum, RowScratch& scratch) {
  float threshold = -kInfinity;
  if (params.min_p > 0) threshold = maximum + std::log(params.min_p);
  if (params.top_k > 0 && params.top_k < size) {
    find_top(kernels, x, size, params.top_k, scratch);
    threshold = std::max(threshold, scratch.candidates.back().value);
  }
  TokenId last = size;
  if (params.top_p < 1) {
    const Cut cut = find_top_p(kernels, x, size, threshold, maximum, params.top_p, scratch);
    threshold = cut.value;
    last = cut.last;
  }
  if (kernels.mass_at_least(x, size, maximum, threshold).count <= kFewCandidates) {
    collect(kernels, x, size, threshold, kInfinity, scratch);
    std::erase_if(scratch.candidates,
                  [&](const Candidate& c) { return c.value == threshold && c.token > last; });
    return draw_among(scratch.candidates, seed, position);
  }
  for (int i = last + 1; i < size; ++i) {
    if (x[i] == threshold) x[i] = -kInfinity;
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

Choice choose_token(const SamplerKernels& kernels, const SamplingParams& params, uint64_t seed,
                    int position, const float* x, int size, RowScratch& scratch) {
  if (params.greedy()) {
    const RowMaximum best = kernels.maximum(x, size);
    return {best.index, !best.invalid && best.index >= 0};
  }
  const auto at = static_cast<uint32_t>(position);
  const float inverse_temperature = 1.0f / params.temperature;
  const bool filtered =
      params.min_p > 0 || (params.top_k > 0 && params.top_k < size) || params.top_p < 1;
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
  const Mass all = kernels.mass_at_least(x, size, top.value, -kInfinity);
  const auto log_sum = static_cast<float>(std::log(static_cast<double>(all.sum)));
  const auto logprob = [&](float value) { return (value - top.value) - log_sum; };
  result.logprob = logprob(x[token]);
  result.rank = 1 + kernels.count_greater(x, size, x[token]);
  if (num_logprobs > 0) {
    find_top(kernels, x, size, std::min(num_logprobs, size), scratch);
    result.top.reserve(scratch.candidates.size());
    for (const Candidate& c : scratch.candidates)
      result.top.emplace_back(c.token, logprob(c.value));
  }
  return result;
}

}  // namespace octavo::cpu
