// POST /v1/completions/render and /v1/chat/completions/render: what a request would be generated
// from, as bodies for /inference/v1/generate: one for a chat, a list with one for each prompt of
// completions. And POST /apply-template, llama-server's: a conversation as text. I/O pool.
#pragma once

#include <memory>
#include <string>

#include "octavo/value.h"
#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// Answers, or returns why not: whatever the route without /render would refuse before it asks the
// engine.
Status render_completions(ServerContext& context, const HttpRequest& request, const Value& body,
                          std::shared_ptr<HttpExchange> exchange);
Status render_chat(ServerContext& context, const HttpRequest& request, const Value& body,
                   std::shared_ptr<HttpExchange> exchange);

// {"prompt": …}
StatusOr<std::string> apply_template(const ServerContext& context, const Value& body);

}  // namespace octavo::serve
