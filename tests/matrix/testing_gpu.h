// For tests that are built without CUDA, too.
#pragma once

#include "backend/cuda/device.h"

namespace octavo::testing {

// A GPU that serves; false in a build without CUDA.
inline bool has_hopper() {
  return cuda::any_gpu() && cuda::open_device().ok();
}

}  // namespace octavo::testing
