// GET /openapi.json: every route, what it takes and what it answers, as OpenAPI 3.1. The document
// is openapi/openapi.json, which the build puts into the program; openapi_test.cc compares it with
// the router's table, tests/e2e/test_schemathesis.py with what the server does. Any thread.
#pragma once

#include <string_view>

#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

std::string_view openapi_document();

// The document, with this server's root path.
HttpResponse show_openapi(ServerContext& context, const HttpRequest& request);

}  // namespace octavo::serve
