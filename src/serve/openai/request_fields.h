// The fields that completions and chat requests share. Pure functions, run on the I/O pool.
#pragma once

#include <string_view>

#include "serve/json_fields.h"
#include "serve/openai/openai_request.h"

namespace octavo::serve {

void read_common(JsonFields& fields, GenerationFields& out);

// `logprobs` and its kin count alternatives: -1 (all) or more.
Status check_logprobs(std::string_view field, int k);

}  // namespace octavo::serve
