// Stands in for the CUDA backend in a build without it.
#include "backend/cuda/cuda_backend.h"

namespace octavo::cuda {
namespace {

Status no_backend() {
  return unimplemented(
      "this build of octavo has no CUDA backend: configure with OCTAVO_CUDA=on (nvcc 13 is "
      "needed)");
}

}  // namespace

bool any_gpu() {
  return false;
}
StatusOr<Device> open_device() {
  return no_backend();
}
StatusOr<DeviceMemory> device_memory() {
  return no_backend();
}
StatusOr<std::unique_ptr<Backend>> make_cuda_backend(const CudaOptions&) {
  return no_backend();
}

}  // namespace octavo::cuda
