// Arena: memory that is handed out by moving a pointer and given back all at once. A template's
// syntax tree lives in one, and every value that a rendering makes lives in another: so values are
// cheap to copy, cycles through namespaces cannot leak, and no destructor recurses through data
// that an attacker nested. The bound on its size is the bound on a rendering's memory. One thread
// at a time.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace octavo::text::jinja {

class Arena {
 public:
  explicit Arena(size_t max_bytes) : max_bytes_(max_bytes) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // `bytes` aligned to 8. Throws TemplateError kLimit beyond the arena's bound.
  void* allocate(size_t bytes);

  // A T that is never destroyed, hence one without a destructor.
  template <typename T, typename... Args>
  T* make(Args&&... args) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= kAlign);
    return new (allocate(sizeof(T))) T{std::forward<Args>(args)...};
  }

  template <typename T>
  T* make_array(size_t n) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= kAlign);
    T* items = static_cast<T*>(allocate(n * sizeof(T)));
    for (size_t i = 0; i < n; ++i) new (items + i) T();
    return items;
  }

  template <typename T>
  std::span<const T> copy(const std::vector<T>& from) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlign);
    if (from.empty()) return {};
    T* to = static_cast<T*>(allocate(from.size() * sizeof(T)));
    std::memcpy(static_cast<void*>(to), from.data(), from.size() * sizeof(T));
    return {to, from.size()};
  }

  std::string_view copy(std::string_view text) { return concat(text, {}); }
  // `left` + `right`. Where `left` is the text made last it grows in place: a template that appends
  // to one string again and again costs no more than the bytes it appends.
  std::string_view concat(std::string_view left, std::string_view right);

  // f(memory) for each stretch of memory that was taken so far.
  template <typename F>
  void each_chunk(F f) const {
    for (const Chunk& chunk : chunks_) f(std::string_view(chunk.bytes.get(), chunk.size));
  }

 private:
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    size_t size;
  };
  static constexpr size_t kAlign = 8;
  static constexpr size_t kFirstChunk = 16 << 10;
  static constexpr size_t kLargestChunk = 1 << 20;
  static constexpr size_t round_up(size_t n) { return (n + kAlign - 1) & ~(kAlign - 1); }

  std::vector<Chunk> chunks_;
  char* next_ = nullptr;
  char* end_ = nullptr;
  const char* last_text_end_ = nullptr;  // where the text made last ends; next_ is this, rounded up
  size_t chunk_size_ = kFirstChunk;
  size_t used_bytes_ = 0;  // of all chunks
  const size_t max_bytes_;
};

}  // namespace octavo::text::jinja
