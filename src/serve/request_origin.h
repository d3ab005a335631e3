// What an engine is told of where a request came from.
#pragma once

#include <string>

#include "octavo/engine_client.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// The trace that the client's headers name, if they name exactly one. `answer_id` is the answer's,
// "chatcmpl-…". Any thread.
RequestOrigin request_origin(const HttpRequest& request, std::string answer_id);

}  // namespace octavo::serve
