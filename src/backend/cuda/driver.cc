#include "backend/cuda/driver.h"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "backend/cuda/launch.h"

namespace octavo::cuda {

void* find_driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found);
  return error == cudaSuccess && found == cudaDriverEntryPointSuccess ? function : nullptr;
}

int multiprocessors() {
  static const int count = [] {
    int device = 0, value = 0;
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess)
      error = cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device);
    if (error != cudaSuccess) note_error("the count of multiprocessors", error);
    return std::max(value, 1);
  }();
  return count;
}

}  // namespace octavo::cuda
