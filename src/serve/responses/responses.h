// /v1/responses: OpenAI's dialect of items, with answers that are kept for a while. A conversation
// is sent whole, or goes on from `previous_response_id`.
#pragma once

#include <memory>

#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// POST /v1/responses. I/O pool.
Status start_response(ServerContext& context, const HttpRequest& request, const Value& body,
                      std::shared_ptr<HttpExchange> exchange);

// The following look at the store and are quick. io thread.
// GET and DELETE /v1/responses/{id}.
HttpResponse stored_response(ServerContext& context, const HttpRequest& request);
// GET /v1/responses/{id}/input_items?after=ID&limit=20&order=desc
HttpResponse response_input_items(ServerContext& context, const HttpRequest& request);
// POST /v1/responses/{id}/cancel. What is kept has ended, so there is nothing to cancel: the error
// says that closing the connection does it.
HttpResponse cancel_response(ServerContext& context, const HttpRequest& request);

}  // namespace octavo::serve
