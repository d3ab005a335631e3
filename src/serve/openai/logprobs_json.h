// Log-probabilities in the three shapes of the API: completions, chat, and prompt_logprobs. Any
// thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "octavo/outputs.h"
#include "octavo/text.h"
#include "serve/openai/openai_request.h"

namespace octavo::serve {

// {"text_offset","token_logprobs","tokens","top_logprobs"}: of the prompt's tokens first (pass none
// without echo), then of the output's. `text_offset` counts code points and is moved on. null
// unless the options ask for log-probabilities.
void append_completion_logprobs(std::string& out, std::span<const TokenId> prompt_ids,
                                std::span<const std::optional<TokenLogprobs>> prompt,
                                std::span<const TokenLogprobs> output, const AnswerOptions& options,
                                const Text& text, int& text_offset);

// [{"token","logprob","bytes","top_logprobs"}]
void append_logprob_list(std::string& out, std::span<const TokenLogprobs> output,
                         const AnswerOptions& options);

// {"content":[…]}, of such a list; null unless the options ask for log-probabilities.
void append_chat_logprobs(std::string& out, std::span<const TokenLogprobs> output,
                          const AnswerOptions& options);

// [null,{"42":{"logprob","rank","decoded_token"}}]; null unless `wanted`.
void append_prompt_logprobs(std::string& out, std::span<const std::optional<TokenLogprobs>> prompt,
                            bool wanted);

}  // namespace octavo::serve
