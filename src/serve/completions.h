// POST /v1/completions and /v1/chat/completions: a parsed body becomes prompts, prompts become a
// Generation. Both run on an I/O pool thread: they tokenise and render.
#pragma once

#include <memory>

#include "octavo/value.h"
#include "serve/http_server.h"
#include "serve/server_context.h"

namespace octavo::serve {

// Starts the answer, or returns why there is none.
Status start_completions(ServerContext& context, const HttpRequest& request, const Value& body,
                         std::shared_ptr<HttpExchange> exchange);
Status start_chat(ServerContext& context, const HttpRequest& request, const Value& body,
                  std::shared_ptr<HttpExchange> exchange);

}  // namespace octavo::serve
