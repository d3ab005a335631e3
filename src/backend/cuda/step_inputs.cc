#include "backend/cuda/step_inputs.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "backend/cuda/elementwise.h"
#include "base/out_of_memory.h"
#include "base/rounding.h"
#include "base/status_macros.h"

namespace octavo::cuda {

StatusOr<std::unique_ptr<StepInputs>> StepInputs::create(const Launch& on) {
  ASSIGN_OR_RETURN(auto device, DeviceArena::reserve(MemoryTag::kWorkspace, kMaxBytes));
  std::unique_ptr<StepInputs> inputs(new StepInputs(on, std::move(device)));
  for (Slot& slot : inputs->slots_) {
    if (cudaEventCreateWithFlags(&slot.sent, cudaEventDisableTiming) != cudaSuccess)
      return internal_error("CUDA: cannot create an event");
    try {
      inputs->grow(slot, kFirstSlotBytes);
    } catch (const std::bad_alloc&) {
      return resource_exhausted("CUDA: no pinned host memory for the inputs of a step");
    }
  }
  return inputs;
}

StepInputs::~StepInputs() {
  for (Slot& slot : slots_) {
    if (slot.sent) cudaEventDestroy(slot.sent);
    cudaFreeHost(slot.data);
  }
}

void StepInputs::grow(Slot& slot, size_t bytes) {
  bytes = std::max(bytes, 2 * slot.bytes);
  const Status backed = device_->back(bytes, DeviceArena::kDefaultPiece / 16);
  if (!backed.ok()) throw OutOfMemory(backed.message());
  std::byte* larger = nullptr;
  if (cudaMallocHost(reinterpret_cast<void**>(&larger), bytes) != cudaSuccess)
    throw OutOfMemory(bytes, "pinned host memory");
  if (slot.data) std::memcpy(larger, slot.data, used_);
  cudaFreeHost(slot.data);
  slot.data = larger;
  slot.bytes = bytes;
}

void StepInputs::begin_step() {
  current_ = (current_ + 1) % kSlots;
  used_ = 0;
  cudaEventSynchronize(slots_[current_].sent);
}

Backend::Staged StepInputs::stage(DType dtype, Shape shape) {
  constexpr size_t kAlignment = 64;
  Slot& slot = slots_[current_];
  const size_t bytes = static_cast<size_t>(shape.count()) * size_of(dtype);
  const size_t end = used_ + round_up(bytes, kAlignment);
  if (end > slot.bytes) grow(slot, end);
  const Backend::Staged staged{{slot.data + used_, dtype, shape},
                               {device_->data() + used_, dtype, shape, DeviceKind::kCuda}};
  used_ = end;
  return staged;
}

void StepInputs::send() {
  Slot& slot = slots_[current_];
  copy_from_host(on_, slot.data, device_->data(), used_);
  cudaEventRecord(slot.sent, on_.stream);
}

}  // namespace octavo::cuda
