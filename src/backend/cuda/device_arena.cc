#include "backend/cuda/device_arena.h"

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <new>

#include "backend/cuda/driver.h"
#include "base/out_of_memory.h"
#include "base/rounding.h"

namespace octavo::cuda {
namespace {

// The driver's functions for virtual memory.
struct Driver {
  decltype(&cuMemGetAllocationGranularity) granularity = nullptr;
  decltype(&cuMemAddressReserve) reserve = nullptr;
  decltype(&cuMemAddressFree) free = nullptr;
  decltype(&cuMemCreate) create = nullptr;
  decltype(&cuMemRelease) release = nullptr;
  decltype(&cuMemMap) map = nullptr;
  decltype(&cuMemUnmap) unmap = nullptr;
  decltype(&cuMemSetAccess) set_access = nullptr;
  bool complete = true;

  Driver() {
    find("cuMemGetAllocationGranularity", granularity);
    find("cuMemAddressReserve", reserve);
    find("cuMemAddressFree", free);
    find("cuMemCreate", create);
    find("cuMemRelease", release);
    find("cuMemMap", map);
    find("cuMemUnmap", unmap);
    find("cuMemSetAccess", set_access);
  }

 private:
  template <typename F>
  void find(const char* name, F& function) {
    function = driver_function<F>(name);
    complete = complete && function != nullptr;
  }
};

const Driver& driver() {
  static const Driver instance;
  return instance;
}

CUmemAllocationProp properties() {
  CUmemAllocationProp p = {};
  p.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  p.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  cudaGetDevice(&p.location.id);
  return p;
}

Status failure(const char* what, size_t bytes, CUresult result) {
  const std::string size = std::to_string(bytes >> 20) + " MiB";
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    return resource_exhausted("CUDA: no " + size + " of device memory left");
  }
  return internal_error(std::string("CUDA: ") + what + " of " + size + " failed with error " +
                        std::to_string(static_cast<int>(result)));
}

}  // namespace

StatusOr<std::unique_ptr<DeviceArena>> DeviceArena::reserve(MemoryTag tag, size_t bytes) {
  if (!driver().complete) return unavailable("CUDA: the driver has no virtual memory functions");
  const CUmemAllocationProp p = properties();
  size_t granularity = 0;
  CUresult result = driver().granularity(&granularity, &p, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
  if (result != CUDA_SUCCESS) return failure("granularity", bytes, result);
  const size_t reserved = round_up(std::max(bytes, granularity), granularity);
  CUdeviceptr base = 0;
  result = driver().reserve(&base, reserved, 0, 0, 0);
  if (result != CUDA_SUCCESS) return failure("reservation", reserved, result);
  return std::unique_ptr<DeviceArena>(new DeviceArena(tag, base, reserved, granularity));
}

DeviceArena::~DeviceArena() {
  release_memory();
  driver().free(base_, reserved_);
}

Status DeviceArena::back(size_t bytes, size_t piece) {
  if (bytes <= backed_) return ok_status();
  if (bytes > reserved_)
    return resource_exhausted("CUDA: an arena of " + std::to_string(reserved_ >> 20) +
                              " MiB is full");
  size_t more = round_up(std::max(bytes - backed_, piece), granularity_);
  more = std::min(more, reserved_ - backed_);
  const CUmemAllocationProp p = properties();
  CUmemGenericAllocationHandle handle = 0;
  CUresult result = driver().create(&handle, more, &p, 0);
  if (result == CUDA_ERROR_OUT_OF_MEMORY && more > bytes - backed_) {
    more = round_up(bytes - backed_, granularity_);
    result = driver().create(&handle, more, &p, 0);
  }
  if (result != CUDA_SUCCESS) return failure("allocation", more, result);
  result = driver().map(base_ + backed_, more, 0, handle, 0);
  if (result != CUDA_SUCCESS) {
    driver().release(handle);
    return failure("mapping", more, result);
  }
  CUmemAccessDesc access = {};
  access.location = p.location;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  result = driver().set_access(base_ + backed_, more, &access, 1);
  if (result != CUDA_SUCCESS) {
    driver().unmap(base_ + backed_, more);
    driver().release(handle);
    return failure("access", more, result);
  }
  pieces_.push_back({handle, backed_, more});
  backed_ += more;
  return ok_status();
}

void DeviceArena::release_memory() {
  for (const Piece& piece : pieces_) {
    driver().unmap(base_ + piece.offset, piece.bytes);
    driver().release(piece.handle);
  }
  pieces_.clear();
  backed_ = 0;
}

void* DeviceBump::allocate(size_t bytes) {
  constexpr size_t kAlignment = 256;
  const size_t end = used_ + round_up(std::max<size_t>(bytes, 1), kAlignment);
  if (end > arena_.backed_bytes()) {
    const Status backed = arena_.back(end);
    if (!backed.ok()) throw OutOfMemory(backed.message());
  }
  void* memory = arena_.data() + used_;
  used_ = end;
  return memory;
}

}  // namespace octavo::cuda
