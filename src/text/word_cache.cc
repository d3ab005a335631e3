#include "text/word_cache.h"

#include <algorithm>
#include <atomic>

namespace octavo::text {

static_assert(WordCache::kMaxBytes < 32 && sizeof(WordCache::Key) == 32);

WordCache& WordCache::of_thread(uint64_t owner) {
  static thread_local WordCache cache;
  if (cache.owner_ != owner) {
    cache.owner_ = owner;
    std::fill(cache.entries_.begin(), cache.entries_.end(), Entry());
  }
  return cache;
}

uint64_t WordCache::new_owner() {
  static std::atomic<uint64_t> last = 0;
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void WordCache::put(const Key& key, const TokenId* ids, size_t count) {
  if (count > kMaxIds) return;
  Entry& entry = entries_[place(key)];
  entry.key = key;
  std::copy(ids, ids + count, entry.ids.begin());
  if (count < kMaxIds) entry.ids[count] = -1;
}

}  // namespace octavo::text
