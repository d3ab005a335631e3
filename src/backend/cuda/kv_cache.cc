#include "backend/cuda/kv_cache.h"

#include <new>
#include <vector>

#include "backend/cuda/launch.h"

namespace octavo::cuda {
namespace {

constexpr size_t kPiece = size_t{1} << 30;

// Bytes of the keys, or the values, of one layer.
size_t plane_bytes(const KvCacheSpec& s) {
  return static_cast<size_t>(s.num_blocks) * s.num_kv_heads * s.block_size * s.head_dim *
         size_of(s.dtype);
}

}  // namespace

size_t kv_block_bytes(const KvCacheSpec& s) {
  return size_t{2} * s.num_layers * s.num_kv_heads * s.block_size * s.head_dim * size_of(s.dtype);
}

CudaKvCache::CudaKvCache(const KvCacheSpec& spec, cudaStream_t stream) : spec_(spec) {
  auto arena = DeviceArena::reserve(MemoryTag::kKvCache, bytes());
  if (!arena.ok()) throw std::bad_alloc();
  arena_ = std::move(*arena);
  while (arena_->backed_bytes() < bytes()) {
    const size_t next = std::min(bytes(), arena_->backed_bytes() + kPiece);
    if (!arena_->back(next, next - arena_->backed_bytes()).ok()) throw std::bad_alloc();
  }
  // Attention reads tokens in pieces, of which the last few may not be written yet, and masks them:
  // a tool that looks for reads of what nobody wrote (initcheck) is to find faults only.
  const cudaError_t error = cudaMemsetAsync(arena_->data(), 0, bytes(), stream);
  if (error != cudaSuccess) note_error("zeros in the KV cache", error);
}

size_t CudaKvCache::bytes() const {
  return 2 * static_cast<size_t>(spec_.num_layers) * plane_bytes(spec_);
}

PagedLayer CudaKvCache::layer(int index) const {
  std::byte* keys = arena_->data() + 2 * static_cast<size_t>(index) * plane_bytes(spec_);
  return {.keys = keys,
          .values = keys + plane_bytes(spec_),
          .dtype = spec_.dtype,
          .num_blocks = spec_.num_blocks,
          .num_kv_heads = spec_.num_kv_heads,
          .block_size = spec_.block_size,
          .head_dim = spec_.head_dim,
          .window = spec_.window};
}

void CudaKvCache::read(int layer_index, int64_t slot, int kv_head, float* k, float* v) const {
  const PagedLayer plane = layer(layer_index);
  const size_t row = static_cast<size_t>((slot / spec_.block_size * spec_.num_kv_heads + kv_head) *
                                             spec_.block_size +
                                         slot % spec_.block_size);
  const size_t row_bytes = static_cast<size_t>(spec_.head_dim) * size_of(spec_.dtype);
  std::vector<std::byte> raw(row_bytes);
  const Tensor host{raw.data(), spec_.dtype, {spec_.head_dim}};
  const auto copy = [&](const void* from, float* to) {
    cudaDeviceSynchronize();
    cudaMemcpy(raw.data(), static_cast<const std::byte*>(from) + row * row_bytes, row_bytes,
               cudaMemcpyDeviceToHost);
    for (int i = 0; i < spec_.head_dim; ++i) to[i] = read_float(host, i);
  };
  copy(plane.keys, k);
  copy(plane.values, v);
}

}  // namespace octavo::cuda
