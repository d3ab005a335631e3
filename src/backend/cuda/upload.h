// Uploader: host memory to the device through pinned buffers, for loading weights from several
// threads at once. A piece is copied (and converted) into a free buffer by the caller's thread
// while the copy engine empties the others.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

#include "tensor/tensor.h"

namespace octavo::cuda {

class Uploader {
 public:
  Uploader() = default;
  ~Uploader();
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  // Elements of `src` (any float dtype, host memory), converted to `dtype`, as `blocks` blocks of
  // equal size, block i at `to + i * stride` bytes. Returns before the copy is done; `src` may go.
  // Throws std::bad_alloc. Any thread.
  void send(const Tensor& src, DType dtype, std::byte* to, int64_t blocks, size_t stride);
  // Waits for all that was sent, and frees the buffers. A failed copy is noted (launch.h).
  void finish();

 private:
  static constexpr size_t kBufferBytes = size_t{4} << 20;
  static constexpr size_t kMaxBuffers = 16;
  struct Buffer {
    std::byte* data = nullptr;
    cudaEvent_t copied = nullptr;
  };
  Buffer take();
  void give(Buffer buffer);

  cudaStream_t stream_ = nullptr;  // guarded by mutex_, as is all below
  std::mutex mutex_;
  std::condition_variable available_;
  std::vector<Buffer> free_;
  size_t num_buffers_ = 0;
};

}  // namespace octavo::cuda
