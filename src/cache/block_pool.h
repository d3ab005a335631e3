// BlockPool: which blocks of one cache group are free, held or evictable. Owned by KvManager.
// Engine thread.
//
// Invariants:
//  1. A block is in exactly one of three states: held (ref_count > 0), evictable (ref_count == 0,
//  node set) or
//     free (ref_count == 0, no node).
//  2. Evictable blocks form a list in the order of their last release, oldest first; free blocks
//  form a stack.
//  3. node(b) is the identity under which the prefix cache knows b's contents; it changes only
//  while b is held,
//     and goes when b is taken again.
// Every operation is O(1).
#pragma once

#include <string>
#include <vector>

#include "base/strong_id.h"

namespace octavo {

class PrefixNode;

// Cached is evictable; used and shared are held, by one and by several.
enum class BlockState { kFree, kCached, kUsed, kShared };

class BlockPool {
 public:
  explicit BlockPool(int num_blocks);

  int size() const { return static_cast<int>(blocks_.size()) - 1; }
  int num_free() const { return num_free_; }
  int num_evictable() const { return num_evictable_; }
  int available() const { return num_free_ + num_evictable_; }

  // A block for one holder: a free one, else the evictable one released longest ago, whose former
  // identity is then written to `evicted` (null otherwise) and no longer known here. REQUIRES:
  // available() > 0.
  BlockId take(PrefixNode*& evicted);
  // One more holder of a held or evictable block.
  void add_ref(BlockId block);
  // One holder less; the last one leaves the block evictable if it has an identity, else free.
  void release(BlockId block);

  int ref_count(BlockId block) const { return at(block).refs; }
  BlockState state(BlockId block) const {
    const Block& b = at(block);
    if (b.refs > 0) return b.refs > 1 ? BlockState::kShared : BlockState::kUsed;
    return b.node ? BlockState::kCached : BlockState::kFree;
  }
  PrefixNode* node(BlockId block) const { return at(block).node; }
  // REQUIRES: the block is held and has no identity.
  void set_node(BlockId block, PrefixNode* node);
  // Frees the evictable block released longest ago and returns its former identity; null when there
  // is none.
  PrefixNode* evict_oldest();

  // Empty, or which invariant fails.
  std::string check_invariants() const;

 private:
  struct Block {
    PrefixNode* node = nullptr;
    int refs = 0;
    int prev = 0;  // evictable list only
    int next = 0;  // evictable list, or the block under this one in the free stack
  };

  Block& at(BlockId block) { return blocks_[block.value]; }
  const Block& at(BlockId block) const { return blocks_[block.value]; }
  int sentinel() const { return size(); }
  void unlink(int index);
  void push_free(int index);

  std::vector<Block> blocks_;  // the last one is the sentinel of the evictable ring
  int free_top_ = -1;
  int num_free_ = 0;
  int num_evictable_ = 0;
};

}  // namespace octavo
