// MergeTable: the merges of a byte-pair vocabulary, by the pair of tokens that each joins. Built
// while a tokenizer is loaded, then read from any thread.
//
// Most questions are about pairs that no merge joins. They end at a filter, a sixteenth of the
// table's size, which stays in the nearest caches where the table does not.
#pragma once

#include <cstdint>
#include <vector>

#include "octavo/sampling_params.h"
#include "text/token_index.h"

namespace octavo::text {

// A set of pairs that may hold some that were never added.
class PairFilter {
 public:
  explicit PairFilter(size_t expected = 0);
  void add(uint64_t hash) { bits_[word(hash)] |= bit(hash); }
  bool may_hold(uint64_t hash) const { return (bits_[word(hash)] & bit(hash)) != 0; }

 private:
  size_t word(uint64_t hash) const { return hash >> shift_; }
  static uint64_t bit(uint64_t hash) { return uint64_t{1} << (hash & 63); }
  std::vector<uint64_t> bits_;
  int shift_;
};

class MergeTable {
 public:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  struct Join {
    uint32_t rank = kNoRank;  // lower joins earlier; kNoRank: never
    TokenId merged = -1;
  };

  explicit MergeTable(size_t merges = 0);
  // A pair that is there already takes the new join.
  void add(TokenId left, TokenId right, Join join);
  Join find(TokenId left, TokenId right) const {
    const uint64_t pair = key(left, right), hash = hash_of(pair);
    if (!filter_.may_hold(hash)) return {};
    for (size_t i = hash & mask_;; i = (i + 1) & mask_) {
      if (slots_[i].pair == pair || slots_[i].join.rank == kNoRank) return slots_[i].join;
    }
  }
  uint64_t hash(TokenId left, TokenId right) const { return hash_of(key(left, right)); }

 private:
  struct Slot {
    uint64_t pair = UINT64_MAX;
    Join join;
  };
  static uint64_t key(TokenId left, TokenId right) {
    return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
  }
  uint64_t hash_of(uint64_t pair) const { return mix_bits(pair ^ seed_, 0x9E3779B97F4A7C15ull); }

  uint64_t seed_ = process_seed() | 1;
  std::vector<Slot> slots_;
  size_t mask_;
  PairFilter filter_;
};

}  // namespace octavo::text
