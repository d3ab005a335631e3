// Memory of the CUDA sampler that outlives a call: results that the device writes and the host
// polls, host memory that the device reads from, and device memory for slots with special wishes.
// None of it ever waits for the device; what is in use is left alone and something else taken.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "backend/cuda/sampler_kernels.h"
#include "octavo/status.h"
#include "ops/sampler.h"

namespace octavo::cuda {

// What one call will give, in mapped host memory: a word per row (sample() only), a LogprobResult
// per row that wants one, then the lists of the most likely tokens.
class PendingResults {
 public:
  explicit PendingResults(size_t bytes);  // data() is null if there is no memory
  ~PendingResults();
  PendingResults(const PendingResults&) = delete;
  PendingResults& operator=(const PendingResults&) = delete;

  std::byte* data() const { return data_; }
  size_t capacity() const { return capacity_; }

  // A new call: where its parts are. REQUIRES: they fit.
  void begin(uint32_t call, int num_words, int num_logprobs);
  uint64_t* words() const { return reinterpret_cast<uint64_t*>(data_); }
  LogprobResult* logprobs() const;
  std::byte* lists() const;
  static size_t bytes_needed(int num_words, int num_logprobs, size_t list_bytes);

  // To be recorded behind the kernels that write the results: waiting for it costs no CPU time.
  cudaEvent_t written() const { return written_; }

  bool word_arrived(int i) const;
  bool logprob_arrived(int i) const;
  bool all_arrived() const;

 private:
  std::byte* data_ = nullptr;
  size_t capacity_ = 0;
  cudaEvent_t written_ = nullptr;
  uint32_t call_ = 0;
  int num_words_ = 0, num_logprobs_ = 0;
};

// Any thread.
class ResultPool {
 public:
  // `usual_bytes`: what is allocated at least.
  ResultPool(size_t usual_bytes, int count);
  // Memory that no call still writes to; null if there is none to be had.
  std::unique_ptr<PendingResults> take(size_t bytes);
  void give_back(std::unique_ptr<PendingResults> results);

 private:
  const size_t usual_bytes_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<PendingResults>> free_;  // guarded by mutex_
};

// Pinned host memory that kernels and copies of one stream read, in chunks. The worker thread.
class StagingPool {
 public:
  explicit StagingPool(cudaStream_t stream) : stream_(stream) {}
  ~StagingPool();
  StagingPool(const StagingPool&) = delete;
  StagingPool& operator=(const StagingPool&) = delete;

  // Memory of which no launched work reads any more; null if there is none. Valid for the work
  // launched until release().
  std::byte* take(size_t bytes);
  // What was taken may be reused after the work launched so far.
  void release();

 private:
  struct Chunk {
    std::byte* data = nullptr;
    size_t capacity = 0;
    cudaEvent_t done = nullptr;
    bool taken = false;
  };
  const cudaStream_t stream_;
  std::vector<Chunk> chunks_;
};

// Blocks of device memory of one size. A block given back may be taken at once: the stream orders
// its users. The worker thread.
class DevicePool {
 public:
  explicit DevicePool(size_t block_bytes) : block_bytes_(block_bytes) {}
  ~DevicePool();
  DevicePool(const DevicePool&) = delete;
  DevicePool& operator=(const DevicePool&) = delete;

  size_t block_bytes() const { return block_bytes_; }
  void* take();  // null if there is no memory
  void give_back(void* block);

 private:
  const size_t block_bytes_;
  std::vector<void*> all_, free_;
};

}  // namespace octavo::cuda
