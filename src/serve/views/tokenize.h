// POST /tokenize and /detokenize. I/O pool.
#pragma once

#include <string>

#include "octavo/value.h"
#include "serve/server_context.h"

namespace octavo::serve {

// JSON of the answer.
StatusOr<std::string> tokenize(const ServerContext& context, const Value& body);
StatusOr<std::string> detokenize(const ServerContext& context, const Value& body);

}  // namespace octavo::serve
