// Sampler: draws tokens from logits, and keeps the state rows: per sequence slot the last token,
// the tokens seen (for penalties and bad words), the random key. A token drawn in step n is read by
// step n+1 through resolve_tokens() without passing through the host.
//
// Order of operations (vLLM's): raw log-probabilities; allowed ids and host mask; bad words;
// min_tokens and logit bias; repetition, frequency, presence penalties; then greedy, or
// temperature, min-p, top-k, top-p and a draw. Greedy takes the lowest id among equal logits.
//
// The draw: Gumbel-max over the tokens kept, argmax_i( logit_i / T + g(u_i) ), where u_i comes from
// Philox4x32-10 (Salmon et al., SC'11) with key = the sequence's seed and counter = (token id / 4,
// output position, 0, 0), word token id % 4; u = (word + 0.5) * 2^-32; g = -log(-log(u)). So a
// token depends on its own seed and position only, whatever else is in the batch, on every backend.
//
// Thread: the worker thread.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/strong_id.h"
#include "octavo/sampling_params.h"
#include "octavo/status.h"
#include "tensor/tensor.h"

namespace octavo {

struct SamplerSpec {
  int num_slots = 0;
  int vocab_size = 0;  // columns of the logits
  int max_model_len = 0;
};

// (Re)initialises a state row: a sequence enters the batch, or returns after preemption.
struct SlotSetup {
  SlotId slot;
  std::shared_ptr<const SamplingParams> params;
  std::vector<std::vector<TokenId>> bad_words;  // tokenised
  std::vector<TokenId> stop_ids;                // not to be drawn before min_tokens
  uint64_t seed = 0;
  std::shared_ptr<const std::vector<TokenId>> prompt;
  std::vector<TokenId> output;  // tokens drawn before, in order
};

// One row of logits to draw from.
struct SampleRow {
  SlotId slot;
  int logits_row = 0;
  // Bit i of mask[i / 32] allows token i; empty: all allowed. Valid during the call.
  std::span<const uint32_t> mask;
  int num_logprobs = -1;  // -1: none; 0: only the chosen token
};

struct SampledToken {
  TokenId token = 0;
  bool invalid_logits = false;  // NaN, or nothing left to choose: the request has failed
  float logprob = 0;            // with num_logprobs >= 0
  int rank = 0;
  std::vector<std::pair<TokenId, float>> top;  // num_logprobs entries, most likely first
};

// Log-probabilities of given tokens, for prompt_logprobs: row i of the logits predicts targets[i].
struct PromptLogprobRow {
  int logits_row = 0;
  TokenId target = 0;
  int num_logprobs = 0;
};

// What sample() will have drawn once the device has done it.
class PendingTokens {
 public:
  virtual ~PendingTokens() = default;
  // Waits, and writes one result per row. Once; any one thread, also while the worker thread runs
  // the next step. An error means that the device failed: nothing of the step can be trusted;
  // kUnavailable: nor can later ones.
  virtual Status read(std::span<SampledToken> results) = 0;
};

class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual void set_slot(const SlotSetup& setup) = 0;
  // tokens[i] == ~slot (a negative number: -1 - slot) becomes that slot's last token; others stay.
  // In: int32 [T] where ops read it (Backend::stage); out: the tensor that the embedding reads.
  virtual Tensor resolve_tokens(const Tensor& tokens) = 0;
  // Draws one token a row and stores it into the slot's state, for the steps after this one; the
  // host reads it later.
  virtual std::unique_ptr<PendingTokens> sample(const Tensor& logits,
                                                std::span<const SampleRow> rows) = 0;
  virtual std::unique_ptr<PendingTokens> prompt_logprobs(
      const Tensor& logits, std::span<const PromptLogprobRow> rows) = 0;
};

}  // namespace octavo
