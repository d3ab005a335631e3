// StepInputs: the integers that the host gives to a step, gathered in pinned memory and copied to
// one fixed place on the device by one kernel. The pinned memory is a ring, so that a step can be
// filled while the copies of those before it wait their turn. Worker thread.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <memory>

#include "backend/cuda/device_arena.h"
#include "backend/cuda/launch.h"
#include "ops/backend.h"

namespace octavo::cuda {

class StepInputs {
 public:
  static StatusOr<std::unique_ptr<StepInputs>> create(const Launch& on);
  ~StepInputs();

  void begin_step();
  // `host` is to be filled before the next call. The n-th tensor of a step lies behind those before
  // it, so its address follows from their sizes. Throws std::bad_alloc.
  Backend::Staged stage(DType dtype, Shape shape);
  void send();

 private:
  static constexpr int kSlots = 4;  // one being filled, two in flight, one to spare
  static constexpr size_t kFirstSlotBytes = size_t{1} << 20;
  static constexpr size_t kMaxBytes = size_t{1} << 30;
  struct Slot {
    std::byte* data = nullptr;
    size_t bytes = 0;
    cudaEvent_t sent = nullptr;
  };
  StepInputs(const Launch& on, std::unique_ptr<DeviceArena> device)
      : on_(on), device_(std::move(device)) {}
  void grow(Slot& slot, size_t bytes);

  const Launch on_;
  std::unique_ptr<DeviceArena> device_;
  std::array<Slot, kSlots> slots_;
  int current_ = 0;
  size_t used_ = 0;
};

}  // namespace octavo::cuda
