// SamplingParams as JSON, by vLLM's names: what /inference/v1/generate reads as `sampling_params`.
// Any thread.
#pragma once

#include "base/json_writer.h"
#include "octavo/sampling_params.h"

namespace octavo::serve {

void write_sampling_params(JsonWriter& w, const SamplingParams& sampling);

}  // namespace octavo::serve
