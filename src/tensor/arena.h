// Arena: a tagged range of host memory, reserved once and backed by pages only where touched, so
// that a large plan costs nothing until it is used and addresses never change. Workspace: bump
// allocation inside one, for the activations of a step. One thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "octavo/status.h"
#include "tensor/tensor.h"

namespace octavo {

enum class MemoryTag { kWeights, kKvCache, kWorkspace, kTraining };

class Arena {
 public:
  // Reserves `bytes`, page aligned, zero where never written. Huge pages are asked for where that
  // helps.
  static StatusOr<std::unique_ptr<Arena>> reserve(MemoryTag tag, size_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  MemoryTag tag() const { return tag_; }
  // Gives the physical pages back; contents become zero.
  void release_pages();

 private:
  Arena(MemoryTag tag, std::byte* data, size_t size) : tag_(tag), data_(data), size_(size) {}
  MemoryTag tag_;
  std::byte* data_;
  size_t size_;
};

// Allocates by moving a pointer; reset() frees all at once. Grows by chunks when a step needs more
// than any before it, so it never fails for lack of a plan.
class Workspace {
 public:
  Workspace() = default;
  // 64-byte aligned, not initialised.
  Tensor allocate(DType dtype, Shape shape);
  void reset();
  size_t high_water_bytes() const { return high_water_; }

 private:
  struct Chunk;
  struct ChunkDeleter {
    void operator()(Chunk* chunk) const;
  };
  std::unique_ptr<Chunk, ChunkDeleter> chunk_;  // newest; links to older ones
  size_t used_ = 0;
  size_t high_water_ = 0;
};

}  // namespace octavo
