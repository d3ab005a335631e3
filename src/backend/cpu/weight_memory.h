// WeightMemory: where packed weights lie. It reserves address space in large arenas and hands out
// pieces, so that neighbours share huge pages and a model costs what its weights do, rounded up
// once. Nothing is given back before the last weight that uses an arena has gone. One thread at a
// time.
#pragma once

#include <memory>

#include "octavo/status.h"
#include "tensor/arena.h"

namespace octavo::cpu {

class WeightMemory {
 public:
  // Zeroed, aligned to 4 KiB; keeps its arena alive.
  StatusOr<std::shared_ptr<std::byte>> allocate(size_t bytes);

 private:
  std::shared_ptr<Arena> arena_;
  size_t used_ = 0;
};

}  // namespace octavo::cpu
