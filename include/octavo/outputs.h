// What an engine answers: plain values, handed from the engine's output thread to a StreamSink.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "octavo/sampling_params.h"
#include "octavo/status.h"

namespace octavo {

// Why a sequence ended; the words of to_string() are those of the OpenAI API.
enum class FinishReason { kNone, kStop, kLength, kRepetition, kAbort, kError };
std::string_view to_string(FinishReason reason);

struct Logprob {
  TokenId token = 0;
  float logprob =
      0;         // natural logarithm, of the raw distribution (before penalties and temperature)
  int rank = 0;  // 1 is the most likely token
  std::string text;  // the token decoded by itself
};

// One position: the chosen token first, then the k most likely in falling order (the chosen one may
// recur).
struct TokenLogprobs {
  Logprob chosen;
  std::vector<Logprob> top;
};

// What one sequence of a request gained since the last output, or (in LLM::generate's result) all
// of it.
struct CompletionOutput {
  int index = 0;
  std::string text;
  std::vector<TokenId> token_ids;
  std::vector<TokenLogprobs> logprobs;  // one for each token, if asked for
  double cumulative_logprob = 0;        // over all tokens so far; 0 unless logprobs were asked for
  FinishReason finish_reason = FinishReason::kNone;
  // What stopped it: the stop string, the stop token's id, or vLLM's word for a repetition; none
  // for end-of-sequence and for length.
  std::variant<std::monostate, std::string, TokenId> stop_reason;
  int num_output_tokens = 0;  // all tokens so far

  bool finished() const { return finish_reason != FinishReason::kNone; }
};

// Times are seconds of the steady clock (base/clock.h); 0 where it has not happened.
struct RequestMetrics {
  double arrival = 0;
  double first_scheduled = 0;
  double first_token = 0;
  double last_token = 0;
};

struct RequestOutput {
  std::string request_id;
  std::vector<CompletionOutput> outputs;  // only sequences that changed
  int num_prompt_tokens = 0;
  int num_cached_tokens = 0;  // prompt tokens found in the prefix cache
  // With prompt_logprobs, in the first output only: one entry per prompt token, the first one
  // empty.
  std::vector<std::optional<TokenLogprobs>> prompt_logprobs;
  bool finished = false;  // every sequence has ended: the last output of the request
  Status error;           // set with finished, when the request failed
  RequestMetrics metrics;
};

}  // namespace octavo
