// What only trusted people should reach: routes under VLLM_SERVER_DEV_MODE=1, and /tokenizer_info
// with its flag.
#pragma once

#include <memory>
#include <string>

#include "octavo/value.h"
#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// POST /reset_prefix_cache: forgets cached prefixes that no request holds. io thread.
HttpResponse reset_prefix_cache(ServerContext& context, const HttpRequest& request);
// GET /server_info: how model and server are set up, keys left out. io thread.
HttpResponse show_server_info(ServerContext& context, const HttpRequest& request);
// POST /abort_requests {"request_ids": […]}: ends these requests, or all if the list is empty or
// left out; their answers end with finish_reason "abort". I/O pool.
StatusOr<std::string> abort_requests(const ServerContext& context, const Value& body);

// GET /tokenizer_info: tokenizer_config.json, with the chat template in use. Any thread.
void show_tokenizer_info(ServerContext& context, const HttpRequest& request,
                         std::shared_ptr<HttpExchange> exchange);

}  // namespace octavo::serve
