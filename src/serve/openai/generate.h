// POST /inference/v1/generate: tokens in, tokens out, in vLLM's shape, for callers that render and
// tokenise by themselves (or let /v1/chat/completions/render do it) and take answers apart
// themselves. No text goes either way.
#pragma once

#include <memory>
#include <vector>

#include "octavo/value.h"
#include "serve/answer_format.h"
#include "serve/openai/openai_request.h"
#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

struct TokensRequest : GenerationFields {
  std::vector<TokenId> token_ids;  // at least one
};

// {"token_ids", "sampling_params": {…}, "model", "stream", "stream_options", "request_id",
// "priority", "cache_salt"}. What sampling_params leaves out takes the model's default; without
// max_tokens the answer may fill the context. Pure function; I/O pool.
StatusOr<TokensRequest> parse_tokens_request(const Value& body, const SamplingParams& defaults);

// Starts the answer, or returns why there is none. I/O pool.
Status start_generate(ServerContext& context, const HttpRequest& request, const Value& body,
                      std::shared_ptr<HttpExchange> exchange);

// {"request_id","model","created","choices":[{"index","logprobs","finish_reason","token_ids"}],…}.
// REQUIRES: one prompt, tokens_as_ids.
std::unique_ptr<AnswerFormat> make_generate_format(AnswerHead head);

}  // namespace octavo::serve
