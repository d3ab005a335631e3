// WordCache: what became of the words that a thread encoded lately. Words repeat, so most of a text
// is answered here, from one cache line a word, before any vocabulary is asked.
//
// One for each thread, of 256 KiB, and of the model that used it last; a place is taken over by
// whichever word came last.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "octavo/sampling_params.h"
#include "text/token_index.h"

namespace octavo::text {

class WordCache {
 public:
  static constexpr size_t kMaxBytes = 31;  // of a word
  static constexpr size_t kMaxIds = 8;

  // This thread's, for `owner`: empty if it was another's. Owners are numbered by new_owner().
  static WordCache& of_thread(uint64_t owner);
  static uint64_t new_owner();

  // A word of 1 to kMaxBytes bytes, filled up with zeros; the last byte is its size.
  struct Key {
    explicit Key(std::string_view word);
    bool operator==(const Key&) const = default;
    uint64_t hash() const {
      return mix_bits(words[0] ^ 0x9E3779B97F4A7C15ull, words[1] ^ 0xD6E8FEB86659FD93ull) ^
             mix_bits(words[2] ^ 0xA0761D6478BD642Full, words[3] ^ 0xE7037ED1A0B428DBull);
    }
    std::array<uint64_t, 4> words = {};

   private:
    friend class WordCache;
    Key() = default;  // no word's
  };

  // Appends the word's ids and returns true, if it is here.
  bool append(const Key& key, std::vector<TokenId>& out) const {
    const Entry& entry = entries_[place(key)];
    if (entry.key != key) return false;
    for (size_t i = 0; i < kMaxIds && entry.ids[i] >= 0; ++i) out.push_back(entry.ids[i]);
    return true;
  }
  // More than kMaxIds ids are not kept.
  void put(const Key& key, const TokenId* ids, size_t count);

 private:
  struct alignas(64) Entry {
    Key key;
    std::array<TokenId, kMaxIds> ids = {};  // up to the first -1
  };
  static constexpr size_t kEntries = 4096;
  static size_t place(const Key& key) { return key.hash() >> 52; }

  uint64_t owner_ = 0;
  std::vector<Entry> entries_ = std::vector<Entry>(kEntries);
};

inline WordCache::Key::Key(std::string_view word) {
  const char* p = word.data();
  const size_t size = word.size(), whole = size / 8, rest = size % 8;
  for (size_t i = 0; i < whole; ++i) std::memcpy(&words[i], p + 8 * i, 8);
  if (rest != 0 && whole != 0) {  // eight bytes that end with the word, less those seen before
    uint64_t tail;
    std::memcpy(&tail, p + size - 8, 8);
    words[whole] = tail >> (8 * (8 - rest));
  } else if (rest >= 4) {
    uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + rest - 4, 4);
    words[0] = low | (uint64_t{high} << (8 * (rest - 4)));
  } else {
    for (size_t i = 0; i < rest; ++i)
      words[whole] |= uint64_t{static_cast<unsigned char>(p[i])} << (8 * i);
  }
  words[3] |= uint64_t{size} << 56;
}

}  // namespace octavo::text
