// GET /engine/state: what the engine is doing, for the page and for people with curl. Shapes are in
// octavo/engine_state.h.
#pragma once

#include <memory>

#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// Any thread; the answer comes when the engine thread is between two steps. 503 when it gives none.
void show_engine_state(ServerContext& context, const HttpRequest& request,
                       std::shared_ptr<HttpExchange> exchange);

}  // namespace octavo::serve
