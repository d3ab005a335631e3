// The paged KV cache on the device: paged.h's layout, layer after layer, keys before values.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/device_arena.h"
#include "backend/cuda/paged.h"
#include "ops/attention.h"

namespace octavo::cuda {

size_t kv_block_bytes(const KvCacheSpec& spec);

class CudaKvCache final : public KvCache {
 public:
  // Zeros, for the work that `stream` gets from now on. Throws std::bad_alloc.
  CudaKvCache(const KvCacheSpec& spec, cudaStream_t stream);
  const KvCacheSpec& spec() const override { return spec_; }
  size_t bytes() const override;
  void read(int layer, int64_t slot, int kv_head, float* k, float* v) const override;
  PagedLayer layer(int index) const;

 private:
  KvCacheSpec spec_;
  std::unique_ptr<DeviceArena> arena_;
};

}  // namespace octavo::cuda
