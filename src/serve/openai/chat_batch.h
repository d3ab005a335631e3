// POST /v1/chat/completions/batch: several conversations in one request, one choice each. I/O pool.
#pragma once

#include <memory>

#include "octavo/status.h"
#include "octavo/value.h"
#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// The body is that of a chat, but `messages` is a list of conversations. Each becomes a chat of its
// own; the choices, in the conversations' order, and the sum of their usage become one answer, or
// the first failure does. Errors: what a batch cannot have (a stream, tools, n above 1).
Status start_chat_batch(ServerContext& context, const HttpRequest& request, const Value& body,
                        std::shared_ptr<HttpExchange> exchange);

}  // namespace octavo::serve
