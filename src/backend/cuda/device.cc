#include "backend/cuda/device.h"

#include <cuda_runtime_api.h>
#include <unistd.h>

namespace octavo::cuda {
namespace {

constexpr int kHopper = 9;

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

std::string describe_error(int error) {
  const auto code = static_cast<cudaError_t>(error);
  return std::string(cudaGetErrorName(code)) + ": " + cudaGetErrorString(code);
}

bool any_gpu() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess) return count > 0;
  if (error == cudaErrorNoDevice) return false;
  return access("/dev/nvidiactl", F_OK) == 0;  // a GPU, and a driver that does not answer
}

StatusOr<Device> open_device() {
  Device device;
  cudaRuntimeGetVersion(&device.runtime_version);
  cudaDriverGetVersion(&device.driver_version);
  int count = 0;
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted == cudaErrorInsufficientDriver) {
    if (device.driver_version == 0)
      return unavailable("CUDA: no NVIDIA driver on this machine (libcuda.so.1 is missing)");
    return unavailable("CUDA: the NVIDIA driver is too old: it supports CUDA " +
                       version_text(device.driver_version) + ", this program needs " +
                       version_text(device.runtime_version));
  }
  if (counted == cudaErrorNoDevice || (counted == cudaSuccess && count == 0)) {
    return unavailable("CUDA: no GPU that this process may see (CUDA_VISIBLE_DEVICES)");
  }
  if (counted != cudaSuccess) return unavailable("CUDA: " + describe_error(counted));
  cudaDeviceProp properties;
  cudaError_t error = cudaGetDeviceProperties(&properties, 0);
  if (error == cudaSuccess) error = cudaSetDevice(0);
  if (error != cudaSuccess) return unavailable("CUDA: " + describe_error(error));
  device.name = properties.name;
  if (properties.major != kHopper) {
    return unimplemented("CUDA: " + device.name + " has compute capability " +
                         std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                         "; only Hopper GPUs (9.0: H100, H200, GH200) are supported");
  }
  device.multiprocessors = properties.multiProcessorCount;
  device.total_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  return device;
}

StatusOr<DeviceMemory> device_memory() {
  size_t free = 0, total = 0;
  const cudaError_t error = cudaMemGetInfo(&free, &total);
  if (error != cudaSuccess) return unavailable("CUDA: " + describe_error(error));
  return DeviceMemory{static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

}  // namespace octavo::cuda
