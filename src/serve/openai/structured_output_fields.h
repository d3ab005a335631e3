// What a request asks of its answer's form: OpenAI's response_format and vLLM's structured_outputs.
// Pure; a schema is compiled, and refused, behind EngineClient::submit().
#pragma once

#include "octavo/sampling_params.h"
#include "serve/json_fields.h"

namespace octavo::serve {

void read_structured_output(JsonFields& fields, SamplingParams& sampling);

}  // namespace octavo::serve
