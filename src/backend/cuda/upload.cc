#include "backend/cuda/upload.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "backend/cuda/launch.h"

namespace octavo::cuda {
namespace {

void convert(const Tensor& src, int64_t first, int64_t count, DType dtype, std::byte* to) {
  if (src.dtype == dtype) {
    const size_t size = size_of(dtype);
    std::memcpy(to, static_cast<const std::byte*>(src.data) + static_cast<size_t>(first) * size,
                static_cast<size_t>(count) * size);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const float value = read_float(src, first + i);
    if (dtype == DType::kF32) {
      std::memcpy(to + 4 * i, &value, 4);
    } else {
      const uint16_t bits = dtype == DType::kBF16 ? float_to_bf16(value) : float_to_f16(value);
      std::memcpy(to + 2 * i, &bits, 2);
    }
  }
}

}  // namespace

Uploader::~Uploader() {
  finish();
}

Uploader::Buffer Uploader::take() {
  std::unique_lock lock(mutex_);
  if (stream_ == nullptr) {
    const cudaError_t error = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
    if (error != cudaSuccess) note_error("upload", error);
  }
  if (free_.empty() && num_buffers_ < kMaxBuffers) {
    Buffer buffer;
    if (cudaMallocHost(reinterpret_cast<void**>(&buffer.data), kBufferBytes) != cudaSuccess ||
        cudaEventCreateWithFlags(&buffer.copied, cudaEventDisableTiming) != cudaSuccess) {
      throw std::bad_alloc();
    }
    ++num_buffers_;
    return buffer;
  }
  available_.wait(lock, [this] { return !free_.empty(); });
  const Buffer buffer = free_.front();  // the one whose copy began first
  free_.erase(free_.begin());
  return buffer;
}

void Uploader::give(Buffer buffer) {
  {
    std::lock_guard lock(mutex_);
    free_.push_back(buffer);
  }
  available_.notify_one();
}

void Uploader::send(const Tensor& src, DType dtype, std::byte* to, int64_t blocks, size_t stride) {
  if (src.count() == 0) return;
  const int64_t block = src.count() / blocks;  // elements
  const size_t block_bytes = static_cast<size_t>(block) * size_of(dtype);
  // Whole blocks to a buffer, or parts of one.
  const int64_t step_blocks =
      std::max<int64_t>(1, static_cast<int64_t>(kBufferBytes / std::max<size_t>(block_bytes, 1)));
  const int64_t part =
      std::min(block, static_cast<int64_t>(kBufferBytes / size_of(dtype)));  // elements of a block
  for (int64_t b = 0; b < blocks; b += step_blocks) {
    const int64_t count = std::min(step_blocks, blocks - b);
    for (int64_t first = 0; first < block; first += part) {
      const int64_t elements = part == block ? block * count : std::min(part, block - first);
      const size_t width =
          part == block ? block_bytes : static_cast<size_t>(elements) * size_of(dtype);
      const Buffer buffer = take();
      cudaEventSynchronize(buffer.copied);
      convert(src, b * block + first, elements, dtype, buffer.data);
      std::byte* target =
          to + static_cast<size_t>(b) * stride + static_cast<size_t>(first) * size_of(dtype);
      const bool dense = count == 1 || part != block || stride == block_bytes;
      const cudaError_t error =
          dense
              ? cudaMemcpyAsync(target, buffer.data, static_cast<size_t>(elements) * size_of(dtype),
                                cudaMemcpyHostToDevice, stream_)
              : cudaMemcpy2DAsync(target, stride, buffer.data, width, width,
                                  static_cast<size_t>(count), cudaMemcpyHostToDevice, stream_);
      if (error != cudaSuccess) note_error("upload", error);
      cudaEventRecord(buffer.copied, stream_);
      give(buffer);
    }
  }
}

void Uploader::finish() {
  std::lock_guard lock(mutex_);
  if (stream_ == nullptr) return;
  const cudaError_t error = cudaStreamSynchronize(stream_);
  if (error != cudaSuccess) note_error("upload", error);
  for (const Buffer& buffer : free_) {
    cudaEventDestroy(buffer.copied);
    cudaFreeHost(buffer.data);
  }
  free_.clear();
  num_buffers_ = 0;
  cudaStreamDestroy(stream_);
  stream_ = nullptr;
}

}  // namespace octavo::cuda
