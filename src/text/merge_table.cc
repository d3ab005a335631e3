#include "text/merge_table.h"

#include <algorithm>
#include <bit>

namespace octavo::text {

PairFilter::PairFilter(size_t expected) {
  const size_t words = std::bit_ceil(std::max<size_t>(2, expected / 4));  // 16 bits a pair or more
  bits_.resize(words);
  shift_ = 64 - std::countr_zero(words);
}

MergeTable::MergeTable(size_t merges)
    : slots_(std::bit_ceil(std::max<size_t>(16, merges * 2))),
      mask_(slots_.size() - 1),
      filter_(merges) {}

void MergeTable::add(TokenId left, TokenId right, Join join) {
  const uint64_t pair = key(left, right), hash = hash_of(pair);
  size_t i = hash & mask_;
  while (slots_[i].join.rank != kNoRank && slots_[i].pair != pair) i = (i + 1) & mask_;
  slots_[i] = {pair, join};
  filter_.add(hash);
}

}  // namespace octavo::text
