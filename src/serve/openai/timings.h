// How long an answer took, in two dialects: llama-server's `timings` and vLLM's `metrics`. Pure
// text building; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "octavo/outputs.h"

namespace octavo::serve {

struct AnswerTimes {
  RequestMetrics at;          // of several prompts: the earliest beginnings, the latest end
  int64_t prompt_tokens = 0;  // cached ones among them
  int64_t cached_tokens = 0;
  int64_t output_tokens = 0;
};

// {"cache_n","prompt_n","prompt_ms","prompt_per_token_ms","prompt_per_second","predicted_n",
// "predicted_ms","predicted_per_token_ms","predicted_per_second"}. As in llama-server, `prompt_n`
// leaves the cached tokens out, the prompt's time lasts from its first step to the first token, and
// a rate whose time is zero is zero.
void append_timings(std::string& out, const AnswerTimes& times);

// {"time_to_first_token_ms","generation_time_ms","queue_time_ms","mean_itl_ms",
// "tokens_per_second"}; null where there were too few tokens to tell.
void append_request_metrics(std::string& out, const AnswerTimes& times);

}  // namespace octavo::serve
