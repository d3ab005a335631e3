// The evictable list is a ring through Block::prev and Block::next with a sentinel past the last
// block, so that linking and unlinking need no special case; the free stack uses Block::next alone.
#include "cache/block_pool.h"

#include "base/check.h"

namespace octavo {

BlockPool::BlockPool(int num_blocks) : blocks_(static_cast<size_t>(num_blocks) + 1) {
  CHECK(num_blocks >= 0);
  blocks_[sentinel()].prev = blocks_[sentinel()].next = sentinel();
  for (int i = num_blocks - 1; i >= 0; --i) push_free(i);
}

BlockId BlockPool::take(PrefixNode*& evicted) {
  CHECK(available() > 0);
  evicted = num_free_ == 0 ? evict_oldest() : nullptr;
  const int index = free_top_;
  free_top_ = blocks_[index].next;
  --num_free_;
  blocks_[index].refs = 1;
  return BlockId(index);
}

void BlockPool::add_ref(BlockId block) {
  Block& b = at(block);
  if (b.refs++ > 0) return;
  CHECK(b.node != nullptr);
  unlink(block.value);
}

void BlockPool::release(BlockId block) {
  Block& b = at(block);
  CHECK(b.refs > 0);
  if (--b.refs > 0) return;
  if (b.node == nullptr) {
    push_free(block.value);
    return;
  }
  Block& end = blocks_[sentinel()];
  b.prev = end.prev;
  b.next = sentinel();
  blocks_[end.prev].next = block.value;
  end.prev = block.value;
  ++num_evictable_;
}

void BlockPool::set_node(BlockId block, PrefixNode* node) {
  Block& b = at(block);
  CHECK(b.refs > 0 && b.node == nullptr && node != nullptr);
  b.node = node;
}

PrefixNode* BlockPool::evict_oldest() {
  if (num_evictable_ == 0) return nullptr;
  const int index = blocks_[sentinel()].next;
  PrefixNode* node = blocks_[index].node;
  unlink(index);
  blocks_[index].node = nullptr;
  push_free(index);
  return node;
}

void BlockPool::unlink(int index) {
  Block& b = blocks_[index];
  blocks_[b.prev].next = b.next;
  blocks_[b.next].prev = b.prev;
  --num_evictable_;
}

void BlockPool::push_free(int index) {
  blocks_[index].next = free_top_;
  free_top_ = index;
  ++num_free_;
}

std::string BlockPool::check_invariants() const {
  std::vector<char> listed(blocks_.size(), 0);
  int free = 0, evictable = 0;
  for (int i = free_top_; i >= 0; i = blocks_[i].next, ++free) {
    if (free >= size() || listed[i]++) return "the free stack repeats a block";
    if (blocks_[i].refs != 0 || blocks_[i].node) return "a free block is held or has an identity";
  }
  for (int i = blocks_[sentinel()].next; i != sentinel(); i = blocks_[i].next, ++evictable) {
    if (evictable >= size() || listed[i]++) return "the evictable list repeats a block";
    if (blocks_[i].refs != 0 || !blocks_[i].node) return "an evictable block is held or unknown";
    if (blocks_[blocks_[i].next].prev != i) return "the evictable list is torn";
  }
  if (free != num_free_ || evictable != num_evictable_)
    return "block counts do not match the lists";
  for (int i = 0; i < size(); ++i) {
    if (blocks_[i].refs < 0) return "a block has a negative reference count";
    if (blocks_[i].refs == 0 && !listed[i]) return "block " + std::to_string(i) + " is leaked";
  }
  return "";
}

}  // namespace octavo
