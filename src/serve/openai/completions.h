// POST /v1/completions and /v1/chat/completions: a parsed body becomes prompts, prompts become a
// Generation. Both run on an I/O pool thread: they tokenise and render.
#pragma once

#include <memory>
#include <vector>

#include "octavo/text.h"
#include "octavo/value.h"
#include "serve/answer_format.h"
#include "serve/openai/openai_request.h"
#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// The prompts of `fields`, tokenised; texts are kept for echo.
StatusOr<std::vector<AnswerPrompt>> make_prompts(const Text& text, std::vector<PromptInput> inputs,
                                                 const CompletionsRequest& fields);

// Starts the answer, or returns why there is none.
Status start_completions(ServerContext& context, const HttpRequest& request, const Value& body,
                         std::shared_ptr<HttpExchange> exchange);
Status start_chat(ServerContext& context, const HttpRequest& request, const Value& body,
                  std::shared_ptr<HttpExchange> exchange);

}  // namespace octavo::serve
