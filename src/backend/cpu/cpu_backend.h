// The CPU backend: octavo::Backend (ops/backend.h) over the kernels in this folder. Activations are
// float32 whatever the weights are. Ops run at once, on the calling worker thread and the backend's
// own pool.
#pragma once

#include <memory>
#include <optional>

#include "backend/cpu/isa.h"
#include "octavo/status.h"
#include "ops/backend.h"

namespace octavo::cpu {

struct CpuOptions {
  int threads = 0;         // 0: one for each processor that this process may run on
  std::optional<Isa> isa;  // none: OCTAVO_CPU_ISA, or the best that the machine has
};

StatusOr<std::unique_ptr<Backend>> make_cpu_backend(const CpuOptions& options);

}  // namespace octavo::cpu
