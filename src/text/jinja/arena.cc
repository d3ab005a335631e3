#include "text/jinja/arena.h"

#include <algorithm>

#include "text/jinja/error.h"

namespace octavo::text::jinja {

void* Arena::allocate(size_t bytes) {
  bytes = round_up(bytes);
  if (bytes > static_cast<size_t>(end_ - next_)) {
    const size_t size = std::max(bytes, chunk_size_);
    if (size > max_bytes_ - used_bytes_) throw_limit("the template uses too much memory");
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    used_bytes_ += size;
    next_ = chunks_.back().get();
    end_ = next_ + size;
    chunk_size_ = std::min(chunk_size_ * 2, kLargestChunk);
  }
  char* result = next_;
  next_ += bytes;
  return result;
}

std::string_view Arena::concat(std::string_view left, std::string_view right) {
  const size_t size = left.size() + right.size();
  if (!left.empty() && left.data() + left.size() == last_text_end_ && next_ - last_text_end_ < 8) {
    char* tail = next_ - (next_ - last_text_end_);
    if (round_up(right.size()) <= static_cast<size_t>(end_ - next_)) {
      if (!right.empty()) std::memcpy(tail, right.data(), right.size());
      // The padding after `left` may have taken some of `right`.
      next_ += round_up(right.size());
      last_text_end_ = tail + right.size();
      return {left.data(), size};
    }
  }
  char* to = static_cast<char*>(allocate(size));
  if (!left.empty()) std::memcpy(to, left.data(), left.size());
  if (!right.empty()) std::memcpy(to + left.size(), right.data(), right.size());
  last_text_end_ = to + size;
  return {to, size};
}

}  // namespace octavo::text::jinja
