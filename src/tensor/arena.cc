#include "tensor/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/out_of_memory.h"
#include "base/rounding.h"

namespace octavo {
namespace {
constexpr size_t kHugePage = 2u << 20;
constexpr size_t kAlign = 64;
constexpr size_t kFirstChunk = 1u << 20;
}  // namespace

StatusOr<std::unique_ptr<Arena>> Arena::reserve(MemoryTag tag, size_t bytes) {
  const size_t size = round_up(std::max<size_t>(bytes, 1), kHugePage);
  // One huge page more, so that the start can be aligned: transparent huge pages need that.
  void* raw = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) {
    return resource_exhausted("cannot reserve " + std::to_string(size >> 20) + " MiB of memory");
  }
  auto* base = static_cast<std::byte*>(raw);
  auto* data = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<size_t>(base), kHugePage));
  if (data > base) munmap(base, static_cast<size_t>(data - base));
  std::byte* end = base + size + kHugePage;
  if (data + size < end) munmap(data + size, static_cast<size_t>(end - (data + size)));
  madvise(data, size, MADV_HUGEPAGE);
  return std::unique_ptr<Arena>(new Arena(tag, data, size));
}

Arena::~Arena() {
  munmap(data_, size_);
}

void Arena::release_pages() {
  madvise(data_, size_, MADV_DONTNEED);
}

struct Workspace::Chunk {
  std::unique_ptr<Chunk, ChunkDeleter> older;
  size_t size;
  std::byte* data;

  static std::byte* allocate(size_t size) {
    void* const memory = std::aligned_alloc(kAlign, round_up(size, kAlign));
    if (memory == nullptr) throw OutOfMemory(size, "memory for activations");
    return static_cast<std::byte*>(memory);
  }
};

void Workspace::ChunkDeleter::operator()(Chunk* chunk) const {
  std::free(chunk->data);
  delete chunk;
}

Tensor Workspace::allocate(DType dtype, Shape shape) {
  const size_t bytes = round_up(std::max<size_t>(shape.count() * size_of(dtype), 1), kAlign);
  if (!chunk_ || used_ + bytes > chunk_->size) {
    const size_t size = std::max({bytes, kFirstChunk, chunk_ ? 2 * chunk_->size : 0});
    std::byte* const data = Chunk::allocate(size);
    chunk_.reset(new Chunk{std::move(chunk_), size, data});
    used_ = 0;
  }
  Tensor t{chunk_->data + used_, dtype, shape};
  used_ += bytes;
  size_t total = used_;
  for (Chunk* c = chunk_->older.get(); c != nullptr; c = c->older.get()) total += c->size;
  high_water_ = std::max(high_water_, total);
  return t;
}

void Workspace::reset() {
  if (chunk_ && chunk_->older) {
    // The next step gets one chunk that holds what this one needed in several.
    const size_t size = round_up(high_water_, kAlign);
    chunk_.reset();
    chunk_.reset(new Chunk{nullptr, size, Chunk::allocate(size)});
  }
  used_ = 0;
}

}  // namespace octavo
