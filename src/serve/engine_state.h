// GET /engine/state: what the engine is doing, for the page and for people with curl. Shapes are in
// octavo/engine_state.h.
#pragma once

#include <memory>

#include "serve/http_server.h"
#include "serve/server_context.h"

namespace octavo::serve {

// Any thread; the answer comes when the engine thread is between two steps. 503 when it gives none.
void show_engine_state(ServerContext& context, std::shared_ptr<HttpExchange> exchange);

}  // namespace octavo::serve
