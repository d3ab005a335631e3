// What all dialects have in common once their prompts are tokenised. I/O pool.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/answer_format.h"
#include "serve/openai/openai_request.h"
#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// What every dialect's head holds: the id, from `id_prefix` and X-Request-Id, else the body's
// request_id, else 32 random digits; the model, the time, the answer's options.
AnswerHead make_head(const ServerContext& context, const HttpRequest& request,
                     const GenerationFields& fields, std::string_view id_prefix);

// What the engine is asked for after `prompt`, which has been truncated: the request's sampling,
// with what depends on the prompt: its answer's length and, of one that is no chat's, how it leaves
// the thinking that the request budgets.
SamplingParams sampling_after(const std::vector<TokenId>& prompt, const ServerContext& context,
                              const AnswerHead& head, const GenerationFields& fields);

// From tokenised prompts to the engine: a Generation, started. Nothing has been answered where it
// fails.
Status start_generation(ServerContext& context, const HttpRequest& request,
                        const GenerationFields& fields, std::unique_ptr<AnswerFormat> format,
                        std::vector<AnswerPrompt> prompts, std::shared_ptr<HttpExchange> exchange);

}  // namespace octavo::serve
