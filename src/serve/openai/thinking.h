// What a request may ask of the thinking before an answer, and what the engine is told of it. Pure
// functions, run on the I/O pool.
#pragma once

#include <optional>
#include <vector>

#include "serve/openai/openai_request.h"
#include "serve/server_context.h"
#include "text/parsers/output_parser.h"

namespace octavo::serve {

// Errors: a budget, and no parser that would know the thinking.
Status check_thinking_budget(const AnswerParsers& parsers, const GenerationFields& fields);

// How a prompt that came as tokens, or as text of the client's own making, leaves the thinking.
text::PromptThinking thinking_of(const ServerContext& context,
                                 const std::vector<TokenId>& token_ids);

// Tells the engine of the thinking that may come before an answer, as the prompt left it. What
// constrains the answer is in `sampling` already.
void expect_thinking(const AnswerParsers& parsers, text::PromptThinking in_prompt,
                     std::optional<int> max_tokens, SamplingParams& sampling);

}  // namespace octavo::serve
