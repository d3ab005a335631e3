// Which GPU this process may use, or why none. Nothing here needs a driver to be installed: the
// runtime is linked statically and finds the driver itself.
#pragma once

#include <cstdint>
#include <string>

#include "octavo/status.h"

namespace octavo::cuda {

struct Device {
  std::string name;  // "NVIDIA H200"
  int multiprocessors = 0;
  int64_t total_bytes = 0;
  int driver_version = 0, runtime_version = 0;  // 13000
};

// True if this machine has an NVIDIA GPU that this process may see, usable or not.
bool any_gpu();
// The first GPU of CUDA_VISIBLE_DEVICES, made current for the calling thread and opened. Errors say
// in one line what is missing: no driver, a driver too old, no GPU, a GPU that is not Hopper.
StatusOr<Device> open_device();
struct DeviceMemory {
  int64_t free = 0, total = 0;  // bytes, at present
};
StatusOr<DeviceMemory> device_memory();

// "cudaErrorMemoryAllocation: out of memory", for messages.
std::string describe_error(int error);

}  // namespace octavo::cuda
