#include "backend/cuda/launch.h"

#include <mutex>

namespace octavo::cuda {
namespace {

std::mutex error_mutex;
DeviceError first_error;  // guarded by error_mutex

}  // namespace

LaunchObserver* launch_observer = nullptr;

void note_error(const char* op, cudaError_t code) {
  std::lock_guard lock(error_mutex);
  if (first_error.code == cudaSuccess) first_error = {code, op};
}

DeviceError take_error() {
  std::lock_guard lock(error_mutex);
  const DeviceError error = first_error;
  first_error = {};
  return error;
}

}  // namespace octavo::cuda
