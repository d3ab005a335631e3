// POST /v1/messages and /v1/messages/count_tokens: from the parsed body to a generation under way,
// and to a number. I/O pool.
#pragma once

#include <memory>
#include <string>

#include "octavo/value.h"
#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

Status start_messages(ServerContext& context, const HttpRequest& request, const Value& body,
                      std::shared_ptr<HttpExchange> exchange);

// {"input_tokens":…}: as long as the prompt of such a message would be.
StatusOr<std::string> count_message_tokens(const ServerContext& context, const Value& body);

}  // namespace octavo::serve
