// The CUDA backend: octavo::Backend (ops/backend.h) on one Hopper GPU. Activations have the model's
// dtype, bfloat16 or float16; sums and logits are float32. Ops only launch work on one stream, so
// all of them run in order; the host learns of a step when its tokens arrive (sampler.h).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "backend/cuda/device.h"
#include "octavo/status.h"
#include "ops/backend.h"

namespace octavo::cuda {

struct CudaOptions {
  int max_tokens = 0;  // of one step
  int max_rows = 0;
  bool graphs = true;
  // Every op in a form whose result for a row does not depend on the others, bit for bit.
  bool batch_invariant = false;
  // Times cuBLASLt's proposals the first time that a shape is seen, which takes many times a step,
  // and keeps the best on disk for later starts.
  bool tune = false;
  // Times every kernel; `profile_report` gets the tables when the backend goes.
  std::function<void(const std::string&)> profile_report;
};

// Opens the GPU and keeps it for the calling thread and those that use the backend.
StatusOr<std::unique_ptr<Backend>> make_cuda_backend(const CudaOptions& options);

}  // namespace octavo::cuda
