// The sampler of ops/sampler.h on the GPU: the same tokens, bit for bit, as the CPU's, except where
// the last token of a top-p set hangs on the rounding of a sum.
//
// Nothing here waits for the device. A step's rows travel in the parameters of a kernel; what a
// request changed in its state row (set_slot) travels the same way; results come back through
// mapped host memory that PendingTokens::read() polls. resolve_tokens() may be captured in a graph:
// one kernel on fixed addresses. The other calls are made outside of captures.
//
// Device memory: 128 bytes a slot. A slot whose request edits logits (masks, allowed ids, bad
// words, bias, min_tokens, penalties) takes one more row of vocab_size floats while it does, two
// with penalties, and max_model_len token ids with bad words of several tokens. These come from
// pools that grow and do not shrink.
#pragma once

#include <memory>

#include "backend/cuda/launch.h"
#include "ops/sampler.h"

namespace octavo::cuda {

// `max_tokens`: the most that resolve_tokens() is given. Logits are float32, [rows, >= vocab_size].
// PendingTokens may outlive the sampler, not the stream.
std::unique_ptr<Sampler> make_cuda_sampler(const SamplerSpec& spec, const Launch& on,
                                           int max_tokens);

}  // namespace octavo::cuda
