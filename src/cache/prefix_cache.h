// PrefixCache: which token prefixes are in the cache, and in which blocks. A trie: a node stands
// for exactly block_size tokens after its parent's, so that a node *is* a whole prefix; one root
// for each salt. Children are found through one hash map, but a hash only proposes: parent and
// tokens are compared. Owned by KvManager. Engine thread.
//
// Invariants:
//  1. At most one node for each (parent, tokens), one root for each salt.
//  2. A node lives while it has a block in some group, a child, or a holder (a sequence whose
//  last_node it is).
//  3. A node names, for each cache group, the one block that holds its tokens, or none.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/strong_id.h"
#include "octavo/sampling_params.h"

namespace octavo {

class PrefixNode {
 public:
  PrefixNode* parent() const { return parent_; }  // null for a root
  BlockId block(int group) const { return blocks_[group]; }

 private:
  friend class PrefixCache;
  PrefixNode* parent_ = nullptr;
  uint64_t hash_ = 0;            // of the whole prefix, salt included
  std::vector<TokenId> tokens_;  // block_size of them; none in a root
  std::vector<BlockId> blocks_;  // [group]
  std::string salt_;             // of a root
  int num_blocks_ = 0;
  int num_children_ = 0;
  int num_holders_ = 0;
};

class PrefixCache {
 public:
  PrefixCache(int num_groups, int block_size);
  ~PrefixCache();

  // Null if nothing is cached under the salt.
  PrefixNode* find_root(const std::string& salt) const;
  PrefixNode* find_or_add_root(const std::string& salt);
  // The node for `tokens` after `parent`. REQUIRES: tokens.size() == block_size.
  PrefixNode* find(const PrefixNode* parent, std::span<const TokenId> tokens) const;
  // A new node lives only once it is given a block or a holder: do that before anything else.
  PrefixNode* find_or_add(PrefixNode* parent, std::span<const TokenId> tokens);

  // A holder keeps a node, and thereby its ancestors, findable as the parent of blocks yet to come.
  void hold(PrefixNode* node) { ++node->num_holders_; }
  void unhold(PrefixNode* node);  // may delete it, and ancestors that lived for it alone

  // REQUIRES: the node has no block in this group.
  void set_block(PrefixNode* node, int group, BlockId block);
  void clear_block(PrefixNode* node, int group);  // may delete it, as unhold()

  int64_t num_blocks() const { return num_blocks_; }
  int64_t num_nodes() const { return static_cast<int64_t>(nodes_.size()); }
  // Empty, or which invariant fails.
  std::string check_invariants() const;

 private:
  struct Key {
    const PrefixNode* parent;
    std::span<const TokenId> tokens;
    uint64_t hash;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(const Key& key) const { return key.hash; }
    size_t operator()(const PrefixNode* node) const { return node->hash_; }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const PrefixNode* a, const PrefixNode* b) const { return a == b; }
    bool operator()(const Key& key, const PrefixNode* node) const;
    bool operator()(const PrefixNode* node, const Key& key) const { return (*this)(key, node); }
  };

  static Key make_key(const PrefixNode* parent, std::span<const TokenId> tokens);
  void prune(PrefixNode* node);

  const int num_groups_;
  const int block_size_;
  int64_t num_blocks_ = 0;
  std::unordered_set<PrefixNode*, Hash, Equal> nodes_;  // owned; without the roots
  std::unordered_map<std::string, std::unique_ptr<PrefixNode>> roots_;
};

}  // namespace octavo
