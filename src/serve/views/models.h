// GET /v1/models and /v1/models/{id}. io thread.
#pragma once

#include <string_view>

#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

HttpResponse list_models(const ServerContext& context);
// `id` as it stands in the path: percent-encoded, slashes and all.
HttpResponse show_model(const ServerContext& context, std::string_view id);

}  // namespace octavo::serve
