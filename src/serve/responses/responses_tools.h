// The tools of a /v1/responses body in the shape of a chat's: there a function's members stand in
// an object of their own. A pure function, run on the I/O pool.
#pragma once

#include "octavo/value.h"
#include "serve/json_fields.h"

namespace octavo::serve {

// Reads `tools` and `tool_choice` and sets them in `chat`, a chat's body; with `allowed_tools` only
// those that may be called. What is wrong fails `fields`: a tool that is no function, by name.
void translate_tools(JsonFields& fields, Value& chat);

}  // namespace octavo::serve
