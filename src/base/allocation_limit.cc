#include "base/allocation_limit.h"

#include <malloc.h>

#include <cstdlib>
#include <new>

#include "base/clock.h"

namespace octavo {
namespace {

thread_local AllocationLimit* innermost = nullptr;

void* allocate(size_t bytes) noexcept {
  AllocationLimit* const limit = innermost;
  if (limit == nullptr) [[likely]]
    return std::malloc(bytes == 0 ? 1 : bytes);
  if (!limit->take(bytes)) return nullptr;
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  limit->give_back(bytes);
  if (memory != nullptr) limit->charge(malloc_usable_size(memory));  // as release() will give back
  return memory;
}

void* allocate_or_throw(size_t bytes) {
  while (true) {
    if (void* const memory = allocate(bytes)) return memory;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

void release(void* memory) noexcept {
  if (AllocationLimit* const limit = innermost; limit != nullptr && memory != nullptr) [[unlikely]]
    limit->give_back(malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

AllocationLimit::AllocationLimit(int64_t bytes, double cpu_seconds)
    : bytes_left_(bytes), cpu_seconds_(cpu_seconds), outer_(innermost) {
  innermost = this;
}

AllocationLimit::~AllocationLimit() {
  innermost = outer_;
}

AllocationLimit* AllocationLimit::current() {
  return innermost;
}

void AllocationLimit::read_clock() {
  until_clock_ = kAllocationsPerClock;
  const double now = thread_cpu_seconds();
  if (cpu_end_ == 0) cpu_end_ = now + cpu_seconds_;
  if (now > cpu_end_) exhausted_ = true;
}

bool AllocationLimit::take(size_t bytes) {
  if (--until_clock_ < 0) read_clock();
  if (bytes > static_cast<size_t>(PTRDIFF_MAX) || bytes_left_ < static_cast<int64_t>(bytes))
    exhausted_ = true;
  if (exhausted_) return false;
  bytes_left_ -= static_cast<int64_t>(bytes);
  return true;
}

}  // namespace octavo

void* operator new(size_t bytes) {
  return octavo::allocate_or_throw(bytes);
}
void* operator new[](size_t bytes) {
  return octavo::allocate_or_throw(bytes);
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return octavo::allocate(bytes);
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  return octavo::allocate(bytes);
}
void operator delete(void* memory) noexcept {
  octavo::release(memory);
}
void operator delete[](void* memory) noexcept {
  octavo::release(memory);
}
void operator delete(void* memory, size_t) noexcept {
  octavo::release(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  octavo::release(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  octavo::release(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  octavo::release(memory);
}
