#include "backend/cpu/weight_memory.h"

#include <algorithm>

#include "base/rounding.h"

namespace octavo::cpu {
namespace {
constexpr size_t kAlign = 4096;
constexpr size_t kArenaBytes = size_t{4} << 30;  // of addresses; pages come when they are written
}  // namespace

StatusOr<std::shared_ptr<std::byte>> WeightMemory::allocate(size_t bytes) {
  bytes = round_up(bytes, kAlign);
  if (!arena_ || used_ + bytes > arena_->size()) {
    // A process whose addresses are limited gets what it needs and no more.
    auto arena = Arena::reserve(MemoryTag::kWeights, std::max(bytes, kArenaBytes));
    if (!arena.ok()) arena = Arena::reserve(MemoryTag::kWeights, bytes);
    if (!arena.ok()) return arena.status();
    arena_ = std::move(*arena);
    used_ = 0;
  }
  std::byte* at = arena_->data() + used_;
  used_ += bytes;
  return std::shared_ptr<std::byte>(arena_, at);
}

}  // namespace octavo::cpu
