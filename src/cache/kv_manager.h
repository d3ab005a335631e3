// KvManager: who owns which KV blocks. It brings together, per cache group, a BlockPool (which
// blocks are free, shared, evictable) and one PrefixCache over all groups (which blocks hold which
// tokens). It never touches bytes. Engine thread.
//
// A block is held by any number of sequences (reference count), or by none and then either free or,
// if the prefix cache knows its contents, evictable in least-recently-used order. A sequence holds,
// per group, the block of every block_size positions; blocks wholly outside a sliding window are
// given back and stand as invalid ids. A prefix hit must hold in every group. Blocks given back may
// be taken at once by another sequence although steps in flight still use them: device work is in
// order, and the taker's runs later.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/strong_id.h"
#include "octavo/engine_state.h"
#include "octavo/sampling_params.h"

namespace octavo {

struct CacheGroupSpec {
  int num_blocks = 0;
  int window = 0;  // 0: full attention
};

class PrefixNode;  // a block's identity: parent + tokens + extra key, compared, not only hashed

// Blocks of one sequence. Filled and emptied by KvManager only.
struct SequenceBlocks {
  std::vector<std::vector<BlockId>>
      groups;                       // [group][position / block_size]; invalid where given back
  PrefixNode* last_node = nullptr;  // identity of the last full block registered or matched
  int num_registered = 0;           // full blocks whose identity is known to the prefix cache
};

struct KvStats {
  int64_t total_blocks = 0;
  int64_t free_blocks = 0;    // free or evictable
  int64_t cached_blocks = 0;  // known to the prefix cache
};

class KvManager {
 public:
  KvManager(std::vector<CacheGroupSpec> groups, int block_size, bool enable_prefix_caching);
  ~KvManager();

  int block_size() const;
  int num_groups() const;
  bool prefix_caching() const;

  // Takes references to the longest cached prefix of `tokens` that is a whole number of blocks,
  // shorter than tokens.size() (one token at least is computed), and present in every group.
  // Returns its length in tokens. REQUIRES: blocks is empty. `salt` separates users. Returns 0 with
  // prefix caching off.
  int match_prefix(std::span<const TokenId> tokens, const std::string& salt,
                   SequenceBlocks& blocks);
  // Makes room for positions [0, num_tokens); false, and nothing changed, if any group lacks
  // blocks.
  bool grow(SequenceBlocks& blocks, int num_tokens);
  // True if grow() would succeed, also leaving `spare` blocks in each group.
  bool can_grow(const SequenceBlocks& blocks, int num_tokens, int spare = 0) const;
  // Gives back blocks that no token at position >= next_position can see (sliding windows).
  void drop_outside_window(SequenceBlocks& blocks, int next_position);
  // Makes the full blocks among the first tokens.size() positions findable. `tokens` are the
  // sequence's tokens, known and computed, from position 0. Cheap when nothing new is full.
  void register_prefix(std::span<const TokenId> tokens, const std::string& salt,
                       SequenceBlocks& blocks);
  // `to` takes references to the blocks of `from` that are full within the first num_tokens
  // positions and that its later positions can see. Returns the tokens shared: 0 if `from` has
  // already given back one of them. REQUIRES: to is empty. Works with prefix caching off.
  int share(const SequenceBlocks& from, int num_tokens, SequenceBlocks& to);
  // Gives everything back, last block first, so that prefixes outlive their tails.
  void release(SequenceBlocks& blocks);

  // Adds to demand[group] the blocks that a sequence may yet take until num_tokens tokens are
  // computed in chunks of at most `chunk`: all of them in a full group, one window and one chunk at
  // most in a window group. Summed over several sequences, it reserves room for prompts that are
  // only partly computed.
  void add_demand(const SequenceBlocks& blocks, int num_tokens, int chunk,
                  std::vector<int>& demand) const;
  // True if every group has as many blocks free or evictable. REQUIRES: demand.size() ==
  // num_groups().
  bool covers(const std::vector<int>& demand) const;
  // Most blocks one sequence of `num_tokens` tokens, computed in chunks of at most `chunk`, needs
  // in its fullest group, against that group's size: false if it can never fit.
  bool fits_alone(int num_tokens, int chunk) const;
  void reset_prefix_cache();
  KvStats stats() const;
  // What each group's blocks are doing, one map per group. Walks over all blocks.
  std::vector<CacheMap> maps() const;
  // Empty, or what is wrong: counts, lists and identities against a walk over everything; with
  // `holders` (all sequences that hold blocks), also that they explain every reference.
  std::string check_invariants(const std::vector<const SequenceBlocks*>* holders = nullptr) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octavo
