// The bodies of Anthropic's /v1/messages and /v1/messages/count_tokens as a ChatRequest: what
// follows does not know the dialect. Pure functions, run on the I/O pool; fuzzed by
// tests/fuzz/http_json_fuzz.cc. The rules are those of openai_request.h.
#pragma once

#include "serve/openai/chat_request.h"

namespace octavo::serve {

// `thinking.budget_tokens` becomes thinking_token_budget, which a server without a parser for
// thinking refuses.
StatusOr<ChatRequest> parse_messages(const Value& body, const SamplingParams& defaults);

// The same without what concerns the answer: max_tokens is not asked for.
StatusOr<ChatRequest> parse_count_tokens(const Value& body);

}  // namespace octavo::serve
