// TokenIndex: a vocabulary's byte strings to their ids. Built while a tokenizer is loaded, then
// read from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/sampling_params.h"

namespace octavo::text {

// Random, and the same for the life of this process: so that no file can choose keys that collide.
uint64_t process_seed();
// 64 × 64 bits to the halves of their product, folded.
inline uint64_t mix_bits(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Byte strings to ids: open addressing over one arena of key bytes. The hash is keyed by
// process_seed().
class TokenIndex {
 public:
  void reserve(size_t count, size_t bytes);
  // False, changing nothing, if `key` is there already.
  bool insert(std::string_view key, TokenId id);
  TokenId find(std::string_view key) const;  // -1: none
  size_t size() const { return count_; }

 private:
  struct Slot {
    uint32_t tag = 0;
    TokenId id = -1;
    uint32_t offset = 0;
    uint32_t length = 0;
  };
  void grow(size_t slots);
  std::vector<Slot> slots_;
  std::string arena_;
  size_t count_ = 0;
};

}  // namespace octavo::text
