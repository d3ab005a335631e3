// SamplingParams: how the tokens of one request are chosen and when they end. Names, defaults and
// ranges are vLLM's. A plain value; any thread may use its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "octavo/status.h"

namespace octavo {

using TokenId = int32_t;

struct SamplingParams {
  int n = 1;                     // sequences for one prompt
  float presence_penalty = 0;    // [-2, 2], over output tokens
  float frequency_penalty = 0;   // [-2, 2], over output tokens
  float repetition_penalty = 1;  // > 0, over prompt and output tokens
  float temperature = 1;         // [0, 2]; below 1e-5 is greedy
  float top_p = 1;               // (0, 1]
  int top_k = 0;                 // 0 or -1: off
  float min_p = 0;               // [0, 1]
  std::optional<int64_t> seed;   // none: drawn from the engine's seed
  std::vector<std::string> stop;
  std::vector<TokenId> stop_token_ids;
  bool ignore_eos = false;
  std::optional<int> max_tokens = 16;  // none: as many as the context holds
  int min_tokens = 0;                  // end-of-sequence and stop ids cannot be drawn before
  std::optional<int> logprobs;         // k most likely alternatives; -1: the whole vocabulary
  std::optional<int> prompt_logprobs;
  std::vector<std::pair<TokenId, float>> logit_bias;  // values are clamped to [-100, 100]
  std::optional<std::vector<TokenId>> allowed_token_ids;
  std::vector<std::string> bad_words;
  bool include_stop_str_in_output = false;
  bool skip_special_tokens = true;
  bool detokenize = true;

  // Checks ranges, with vLLM's words, and what needs the vocabulary when vocab_size > 0. Normalises
  // on the way as vLLM does: greedy resets top_p, top_k and min_p; a temperature in (0, 0.01)
  // becomes 0.01. `max_logprobs` is the server's --max-logprobs.
  Status validate(int vocab_size, int max_logprobs = 20);

  bool greedy() const { return temperature < 1e-5f; }
};

}  // namespace octavo
