#include "backend/cuda/sampler_memory.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/rounding.h"

namespace octavo::cuda {
namespace {

constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) {
  return round_up(bytes, kAlignment);
}

// Mapped: under unified addressing the device uses the host's address. Zeroed.
std::byte* allocate_pinned(size_t bytes) {
  void* data = nullptr;
  const cudaError_t error =
      cudaHostAlloc(&data, bytes, cudaHostAllocMapped | cudaHostAllocPortable);
  if (error != cudaSuccess) {
    note_error("sampler host memory", error);
    return nullptr;
  }
  std::memset(data, 0, bytes);
  return static_cast<std::byte*>(data);
}

template <typename T>
T acquire(T& shared_with_device) {
  return std::atomic_ref<T>(shared_with_device).load(std::memory_order_acquire);
}

}  // namespace

PendingResults::PendingResults(size_t bytes)
    : data_(allocate_pinned(bytes)), capacity_(data_ ? bytes : 0) {
  const cudaError_t error =
      cudaEventCreateWithFlags(&written_, cudaEventBlockingSync | cudaEventDisableTiming);
  if (error != cudaSuccess) note_error("sampler", error);
}

PendingResults::~PendingResults() {
  if (data_) cudaFreeHost(data_);
  if (written_) cudaEventDestroy(written_);
}

void PendingResults::begin(uint32_t call, int num_words, int num_logprobs) {
  call_ = call;
  num_words_ = num_words;
  num_logprobs_ = num_logprobs;
  // Whatever an earlier call left there must not look like this call's.
  std::memset(data_, 0, static_cast<size_t>(lists() - data_));
}

LogprobResult* PendingResults::logprobs() const {
  return reinterpret_cast<LogprobResult*>(
      data_ + aligned(sizeof(uint64_t) * static_cast<size_t>(num_words_)));
}

std::byte* PendingResults::lists() const {
  return data_ + bytes_needed(num_words_, num_logprobs_, 0);
}

size_t PendingResults::bytes_needed(int num_words, int num_logprobs, size_t list_bytes) {
  return aligned(sizeof(uint64_t) * static_cast<size_t>(num_words)) +
         aligned(sizeof(LogprobResult) * static_cast<size_t>(num_logprobs)) + list_bytes;
}

bool PendingResults::word_arrived(int i) const {
  return acquire(words()[i]) >> 32 == call_;
}
bool PendingResults::logprob_arrived(int i) const {
  return acquire(logprobs()[i].call) == call_;
}
bool PendingResults::all_arrived() const {
  for (int i = 0; i < num_words_; ++i) {
    if (!word_arrived(i)) return false;
  }
  for (int i = 0; i < num_logprobs_; ++i) {
    if (!logprob_arrived(i)) return false;
  }
  return true;
}

ResultPool::ResultPool(size_t usual_bytes, int count) : usual_bytes_(usual_bytes) {
  for (int i = 0; i < count; ++i) free_.push_back(std::make_unique<PendingResults>(usual_bytes));
}

std::unique_ptr<PendingResults> ResultPool::take(size_t bytes) {
  {
    std::lock_guard lock(mutex_);
    // The last one given back first. One that was dropped unread may still be written to.
    for (size_t i = free_.size(); i-- > 0;) {
      if (free_[i]->capacity() < bytes || !free_[i]->all_arrived()) continue;
      std::unique_ptr<PendingResults> found = std::move(free_[i]);
      free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
      return found;
    }
  }
  auto added = std::make_unique<PendingResults>(std::max(usual_bytes_, std::bit_ceil(bytes)));
  if (!added->data()) return nullptr;
  return added;
}

void ResultPool::give_back(std::unique_ptr<PendingResults> results) {
  std::lock_guard lock(mutex_);
  free_.push_back(std::move(results));
}

StagingPool::~StagingPool() {
  for (const Chunk& chunk : chunks_) {
    cudaEventDestroy(chunk.done);
    cudaFreeHost(chunk.data);
  }
}

std::byte* StagingPool::take(size_t bytes) {
  for (Chunk& chunk : chunks_) {
    if (chunk.taken || chunk.capacity < bytes || cudaEventQuery(chunk.done) != cudaSuccess) {
      continue;
    }
    chunk.taken = true;
    return chunk.data;
  }
  constexpr size_t kLeast = size_t{1} << 18;
  Chunk chunk;
  chunk.capacity = std::max(kLeast, std::bit_ceil(bytes));
  chunk.data = allocate_pinned(chunk.capacity);
  if (!chunk.data) return nullptr;
  const cudaError_t error = cudaEventCreateWithFlags(&chunk.done, cudaEventDisableTiming);
  if (error != cudaSuccess) {
    note_error("sampler event", error);
    cudaFreeHost(chunk.data);
    return nullptr;
  }
  chunk.taken = true;
  chunks_.push_back(chunk);
  return chunk.data;
}

void StagingPool::release() {
  for (Chunk& chunk : chunks_) {
    if (!chunk.taken) continue;
    const cudaError_t error = cudaEventRecord(chunk.done, stream_);
    if (error != cudaSuccess) note_error("sampler event", error);
    chunk.taken = false;
  }
}

DevicePool::~DevicePool() {
  for (void* block : all_) cudaFree(block);
}

void* DevicePool::take() {
  if (free_.empty()) {
    void* block = nullptr;
    const cudaError_t error = cudaMalloc(&block, block_bytes_);
    if (error != cudaSuccess) {
      note_error("sampler device memory", error);
      return nullptr;
    }
    all_.push_back(block);
    return block;
  }
  void* block = free_.back();
  free_.pop_back();
  return block;
}

void DevicePool::give_back(void* block) {
  if (block) free_.push_back(block);
}

}  // namespace octavo::cuda
