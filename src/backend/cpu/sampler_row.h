// What happens to one row of logits once it has been edited: the choice of a token, and
// log-probabilities. Each function depends on its row only. Called by the sampler, on any thread of
// the pool, each with its own RowScratch.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "backend/cpu/sampler_kernels.h"
#include "octavo/sampling_params.h"

namespace octavo::cpu {

struct Candidate {
  float value = 0;
  TokenId token = 0;
  // Most likely first, the lower id first among equals.
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.value != b.value ? a.value > b.value : a.token < b.token;
  }
};

// A thread's memory; grows once to the vocabulary.
struct RowScratch {
  std::vector<float> edited;
  std::vector<int32_t> found;
  std::vector<Candidate> candidates;
};

// The noise that sampler.h defines.
float token_noise(uint32_t word);

// Leaves the n greatest elements above -inf in scratch.candidates, in order; fewer if there are
// fewer.
void find_top(const SamplerKernels& kernels, const float* x, int size, int n, RowScratch& scratch);

struct Choice {
  TokenId token = 0;
  bool valid = false;  // false: a NaN or +inf among the logits, or none above -inf
};

// `x` may be changed only if it is scratch.edited.
Choice choose_token(const SamplerKernels& kernels, const SamplingParams& params, uint64_t seed,
                    int position, const float* x, int size, RowScratch& scratch);

struct TokenLogprobs {
  bool valid = false;
  float logprob = 0;
  int rank = 0;
  std::vector<std::pair<TokenId, float>> top;
};

TokenLogprobs token_logprobs(const SamplerKernels& kernels, const float* x, int size, TokenId token,
                             int num_logprobs, RowScratch& scratch);

}  // namespace octavo::cpu
