// What completions and chats have in common once their prompts are tokenised. I/O pool.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http_server.h"
#include "serve/openai_request.h"
#include "serve/openai_response.h"
#include "serve/server_context.h"

namespace octavo::serve {

// `prefix` and X-Request-Id, else the body's request_id, else 32 random digits.
std::string answer_id(std::string_view prefix, const HttpRequest& request,
                      const GenerationFields& fields);

// From tokenised prompts to the engine: a Generation, started. `head` brings dialect, id, and what
// a chat alone has.
Status start_generation(ServerContext& context, const HttpRequest& request,
                        const GenerationFields& fields, AnswerHead head,
                        std::vector<AnswerPrompt> prompts, std::shared_ptr<HttpExchange> exchange);

}  // namespace octavo::serve
