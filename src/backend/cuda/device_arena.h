// DeviceArena: a tagged range of device addresses, reserved once and backed by memory as it is
// needed, so that addresses never change while an arena grows and its pages can be given back and
// returned. One thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "octavo/status.h"
#include "tensor/arena.h"

namespace octavo::cuda {

class DeviceArena {
 public:
  // Reserves addresses for at least `bytes`; no memory yet.
  static StatusOr<std::unique_ptr<DeviceArena>> reserve(MemoryTag tag, size_t bytes);
  ~DeviceArena();
  DeviceArena(const DeviceArena&) = delete;
  DeviceArena& operator=(const DeviceArena&) = delete;

  // Makes the first `bytes` usable. New memory comes in pieces of at least `piece` bytes.
  Status back(size_t bytes, size_t piece = kDefaultPiece);
  // Gives all memory back; the addresses stay reserved. REQUIRES: no work that uses it is pending.
  void release_memory();

  std::byte* data() const { return reinterpret_cast<std::byte*>(base_); }
  size_t backed_bytes() const { return backed_; }
  MemoryTag tag() const { return tag_; }

  static constexpr size_t kDefaultPiece = size_t{64} << 20;

 private:
  struct Piece {
    unsigned long long handle = 0;
    size_t offset = 0, bytes = 0;
  };
  DeviceArena(MemoryTag tag, unsigned long long base, size_t reserved, size_t granularity)
      : tag_(tag), base_(base), reserved_(reserved), granularity_(granularity) {}

  MemoryTag tag_;
  unsigned long long base_;
  size_t reserved_;
  size_t granularity_;
  size_t backed_ = 0;
  std::vector<Piece> pieces_;
};

// Allocates from an arena by moving a pointer; reset() frees all at once. 256-byte aligned.
class DeviceBump {
 public:
  explicit DeviceBump(DeviceArena& arena) : arena_(arena) {}
  // Throws std::bad_alloc when the device has no memory left.
  void* allocate(size_t bytes);
  void reset() { used_ = 0; }

 private:
  DeviceArena& arena_;
  size_t used_ = 0;
};

}  // namespace octavo::cuda
