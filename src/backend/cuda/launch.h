// Launching kernels: a stream, programmatic dependent launch, and where a failed launch is
// remembered. Every kernel of this folder goes through launch().
//
// Programmatic dependent launch: a kernel may start while the one before it on the stream still
// runs. The rule that makes this safe: every kernel calls sm90::wait_for_previous() before it reads
// anything but weights and before it writes anything at all, and sm90::let_next_start() as early
// as it can. The wait means that the previous kernel is complete and its writes are visible; since
// every kernel waits, all kernels before it are complete as well. (Decode attention and its plan
// read more before the wait: decode_attention.cu says what, and why they may.)
//
// Kernels that overlap must also divide an SM's memory between L1 cache and shared memory alike: a
// kernel that wants another division waits until the SM is idle. Left to itself the driver takes
// for each kernel the least shared memory that will do, so all of them ask for the most.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace octavo::cuda {

struct Launch {
  cudaStream_t stream = nullptr;
  bool overlap = true;  // programmatic dependent launch
};

// The first failed launch or call since the last take_error() of this process, with the op's name.
// Any thread.
struct DeviceError {
  cudaError_t code = cudaSuccess;
  const char* op = "";  // a literal
};
void note_error(const char* op, cudaError_t code);
DeviceError take_error();

// Sees every launch, one at a time without overlap, while it is set (profiler.h). Worker thread.
class LaunchObserver {
 public:
  virtual ~LaunchObserver() = default;
  virtual void before_launch(const char* op, cudaStream_t stream) = 0;
  virtual void after_launch(cudaStream_t stream) = 0;
};
extern LaunchObserver* launch_observer;

struct Grid {
  dim3 blocks;
  dim3 threads;
  size_t shared_bytes = 0;  // dynamic; more than 48 KiB needs allow_shared_bytes first
  int cluster = 1;          // CTAs along x
};

// `name` is a literal: the op, as errors and profiles show it.
template <typename... Params, typename... Args>
void launch(const char* name, const Launch& on, const Grid& grid, void (*kernel)(Params...),
            Args... args) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = on.stream;
  cudaLaunchAttribute attributes[3];
  unsigned count = 0;
  if (launch_observer) launch_observer->before_launch(name, on.stream);
  if (on.overlap && !launch_observer) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  attributes[count].id = cudaLaunchAttributePreferredSharedMemoryCarveout;
  attributes[count++].val.sharedMemCarveout = cudaSharedmemCarveoutMaxShared;
  if (grid.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = static_cast<unsigned>(grid.cluster);
    attributes[count].val.clusterDim.y = 1;
    attributes[count++].val.clusterDim.z = 1;
  }
  config.attrs = attributes;
  config.numAttrs = count;
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&args))...};
  static_assert(sizeof...(Params) == sizeof...(Args));
  const cudaError_t error =
      cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), pointers);
  if (error != cudaSuccess) note_error(name, error);
  if (launch_observer) launch_observer->after_launch(on.stream);
}

// Lets `kernel` use up to `bytes` of dynamic shared memory. Once per kernel, before its first
// launch: keep the call in a function-local static. Where it fails so does every launch, by name.
template <typename... Params>
bool allow_shared_bytes(const char* name, void (*kernel)(Params...), size_t bytes) {
  const cudaError_t error =
      cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                           cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (error != cudaSuccess) note_error(name, error);
  return error == cudaSuccess;
}

}  // namespace octavo::cuda
