// Chunks grow from 16 KiB to 1 MiB, so that a usual prompt takes one or two and a long one few. A
// text that is larger than a chunk gets one of its own.
#include "text/jinja/arena.h"

#include <algorithm>
#include <cstdint>

#include "text/jinja/error.h"

namespace octavo::text::jinja {

void* Arena::allocate(size_t bytes) {
  bytes = round_up(bytes);
  if (bytes > static_cast<size_t>(end_ - next_)) {
    const size_t size = std::max(bytes, chunk_size_);
    if (size > max_bytes_ - used_bytes_) throw_limit("the template uses too much memory");
    chunks_.push_back({std::make_unique_for_overwrite<char[]>(size), size});
    used_bytes_ += size;
    next_ = chunks_.back().bytes.get();
    end_ = next_ + size;
    chunk_size_ = std::min(chunk_size_ * 2, kLargestChunk);
  }
  char* result = next_;
  next_ += bytes;
  return result;
}

std::string_view Arena::concat(std::string_view left, std::string_view right) {
  const size_t size = left.size() + right.size();
  const bool is_last_text = !left.empty() && left.data() + left.size() == last_text_end_;
  char* tail = nullptr;
  if (is_last_text) {
    const size_t padding = round_up(reinterpret_cast<uintptr_t>(last_text_end_)) -
                           reinterpret_cast<uintptr_t>(last_text_end_);
    // Nothing was handed out since, so the bytes after `left` are free.
    if (last_text_end_ + padding == next_) tail = next_ - padding;
  }
  if (tail != nullptr && right.size() + kAlign <= static_cast<size_t>(end_ - tail)) {
    if (!right.empty()) std::memcpy(tail, right.data(), right.size());
    last_text_end_ = tail + right.size();
    next_ = tail + right.size() +
            (round_up(reinterpret_cast<uintptr_t>(last_text_end_)) -
             reinterpret_cast<uintptr_t>(last_text_end_));
    return {left.data(), size};
  }
  // Room to grow in place, for who joins long texts piece by piece.
  const size_t slack = !left.empty() && size > kFirstChunk ? size : 0;
  char* to = static_cast<char*>(allocate(size + slack));
  if (!left.empty()) std::memcpy(to, left.data(), left.size());
  if (!right.empty()) std::memcpy(to + left.size(), right.data(), right.size());
  next_ = to + round_up(size);
  last_text_end_ = to + size;
  return {to, size};
}

}  // namespace octavo::text::jinja
