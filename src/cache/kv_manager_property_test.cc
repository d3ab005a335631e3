// Random sequences drive a KvManager beside a slow, obvious twin. The twin knows, for every block,
// who holds it, what was written into it (salt and whole prefix, token by token), whether it may be
// found, and when it was released; it finds by comparing whole prefixes and evicts by looking for
// the oldest. After every operation the two must agree: hit lengths, the blocks handed out, the
// counts. OCTAVO_LONG_TESTS=1 runs 20 times as many steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "cache/kv_manager.h"

namespace octavo {
namespace {

struct TwinBlock {
  bool written = false;
  std::string salt;
  std::vector<TokenId> prefix;  // up to the block's last token
  bool known = false;           // may be found
  int64_t released = 0;
};

struct TwinSequence {
  std::string salt;
  std::vector<TokenId> tokens;
  int computed = 0;
  SequenceBlocks blocks;
};

class Twin {
 public:
  Twin(std::vector<CacheGroupSpec> specs, int block_size, bool caching)
      : specs_(std::move(specs)), block_size_(block_size), caching_(caching) {
    for (const CacheGroupSpec& spec : specs_) blocks_.emplace_back(spec.num_blocks);
  }

  int first_visible(int group, int next) const {
    const int window = specs_[group].window;
    return window == 0 ? 0 : std::max(0, next - window + 1) / block_size_;
  }

  int refs(int group, BlockId block, const std::vector<TwinSequence>& sequences) const {
    int count = 0;
    for (const TwinSequence& s : sequences) {
      if (s.blocks.groups.empty()) continue;
      count += std::count(s.blocks.groups[group].begin(), s.blocks.groups[group].end(), block);
    }
    return count;
  }

  int available(int group, const std::vector<TwinSequence>& sequences) const {
    int count = 0;
    for (int b = 0; b < specs_[group].num_blocks; ++b)
      count += refs(group, BlockId(b), sequences) == 0;
    return count;
  }

  // The known block that holds exactly this prefix, or none.
  BlockId find(int group, const std::string& salt, const std::vector<TokenId>& prefix) const {
    for (size_t b = 0; b < blocks_[group].size(); ++b) {
      const TwinBlock& block = blocks_[group][b];
      if (block.known && block.salt == salt && block.prefix == prefix)
        return BlockId(static_cast<int>(b));
    }
    return {};
  }

  int longest_hit(const TwinSequence& s) const {
    if (!caching_) return 0;
    for (int length = (static_cast<int>(s.tokens.size()) - 1) / block_size_; length > 0; --length) {
      bool whole = true;
      for (int g = 0; g < static_cast<int>(specs_.size()); ++g) {
        for (int i = first_visible(g, length * block_size_); i < length; ++i) {
          whole &= find(g, s.salt, prefix(s, i)).valid();
        }
      }
      if (whole) return length;
    }
    return 0;
  }

  std::vector<TokenId> prefix(const TwinSequence& s, int block) const {
    return {s.tokens.begin(), s.tokens.begin() + (block + 1) * block_size_};
  }

  // `block` was handed out as new while `before` were all the sequences.
  void expect_may_take(int group, BlockId block, const std::vector<TwinSequence>& before) {
    TwinBlock& taken = blocks_[group][block.value];
    ASSERT_EQ(refs(group, block, before), 0) << "a held block was handed out";
    if (taken.known) {
      for (size_t b = 0; b < blocks_[group].size(); ++b) {
        const TwinBlock& other = blocks_[group][b];
        if (refs(group, BlockId(static_cast<int>(b)), before) > 0) continue;
        ASSERT_TRUE(other.known) << "evicted although a block was free";
        ASSERT_LE(taken.released, other.released) << "evicted a block used later than another";
      }
    }
    taken = TwinBlock();
  }

  void write(int group, BlockId block, const TwinSequence& s, int index) {
    TwinBlock& b = blocks_[group][block.value];
    b = {true, s.salt, prefix(s, index)};
  }
  void expect_holds(int group, BlockId block, const TwinSequence& s, int index) const {
    const TwinBlock& b = blocks_[group][block.value];
    ASSERT_TRUE(b.written && b.salt == s.salt && b.prefix == prefix(s, index))
        << "a block holds something else";
  }
  void make_known(const TwinSequence& s, int index) {
    for (int g = 0; g < static_cast<int>(specs_.size()); ++g) {
      const BlockId block = s.blocks.groups[g][index];
      if (block.valid() && !find(g, s.salt, prefix(s, index)).valid())
        blocks_[g][block.value].known = true;
    }
  }
  // `block` of `group` lost a holder; `after` are the sequences then.
  void released(int group, BlockId block, const std::vector<TwinSequence>& after) {
    if (refs(group, block, after) == 0) blocks_[group][block.value].released = ++clock_;
  }
  void forget_unheld(const std::vector<TwinSequence>& sequences) {
    for (int g = 0; g < static_cast<int>(specs_.size()); ++g) {
      for (size_t b = 0; b < blocks_[g].size(); ++b) {
        if (refs(g, BlockId(static_cast<int>(b)), sequences) == 0) blocks_[g][b].known = false;
      }
    }
  }
  int64_t num_known() const {
    int64_t count = 0;
    for (const auto& group : blocks_) {
      count +=
          std::count_if(group.begin(), group.end(), [](const TwinBlock& b) { return b.known; });
    }
    return count;
  }

 private:
  std::vector<CacheGroupSpec> specs_;
  int block_size_;
  bool caching_;
  std::vector<std::vector<TwinBlock>> blocks_;
  int64_t clock_ = 0;
};

class RandomDrive {
 public:
  explicit RandomDrive(uint64_t seed)
      : rng_(seed),
        block_size_(pick(1, 4)),
        caching_(pick(0, 7) > 0),
        specs_(random_groups()),
        cache_(specs_, block_size_, caching_),
        twin_(specs_, block_size_, caching_) {}

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) {
      const int what = pick(0, 99);
      if (what < 25) {
        begin();
      } else if (what < 70) {
        advance();
      } else if (what < 80) {
        share();
      } else if (what < 99) {
        end();
      } else {
        cache_.reset_prefix_cache();
        twin_.forget_unheld(sequences_);
      }
      check();
    }
    while (!sequences_.empty()) end();
    check();
    EXPECT_EQ(cache_.stats().free_blocks, cache_.stats().total_blocks) << "leaked";
  }

 private:
  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng_); }
  int num_groups() const { return static_cast<int>(specs_.size()); }

  // No window of one: it sees nothing that came before, so that any prefix would be a hit.
  std::vector<CacheGroupSpec> random_groups() {
    std::vector<CacheGroupSpec> specs(pick(1, 3));
    for (CacheGroupSpec& spec : specs) spec = {pick(4, 24), pick(0, 1) ? pick(2, 12) : 0};
    return specs;
  }

  void begin() {
    if (sequences_.size() > 6) return;
    TwinSequence s;
    s.salt = pick(0, 3) == 0 ? "salt" : "";
    s.tokens.resize(pick(1, 40));
    for (TokenId& token : s.tokens) token = pick(0, 8) == 0;  // few kinds: many equal prefixes
    const int expected = twin_.longest_hit(s);
    const int length = cache_.match_prefix(s.tokens, s.salt, s.blocks);
    ASSERT_EQ(length, expected * block_size_);
    for (int g = 0; g < num_groups() && expected > 0; ++g) {
      ASSERT_EQ(static_cast<int>(s.blocks.groups[g].size()), expected);
      for (int i = 0; i < expected; ++i) {
        const BlockId block = s.blocks.groups[g][i];
        ASSERT_EQ(block.valid(), i >= twin_.first_visible(g, length));
        if (block.valid()) twin_.expect_holds(g, block, s, i);
      }
    }
    s.computed = length;
    sequences_.push_back(std::move(s));
  }

  // Computes the next chunk of a sequence as the scheduler does: drop, grow, write, perhaps
  // register.
  void advance() {
    if (sequences_.empty()) return;
    TwinSequence& s = sequences_[pick(0, static_cast<int>(sequences_.size()) - 1)];
    drop(s);
    if (s.computed == static_cast<int>(s.tokens.size())) s.tokens.push_back(pick(0, 8) == 0);
    const int target = std::min(static_cast<int>(s.tokens.size()), s.computed + pick(1, 12));
    std::vector<TwinSequence> before = sequences_;
    bool room = true;
    const size_t need = (target + block_size_ - 1) / block_size_;
    for (int g = 0; g < num_groups(); ++g) {
      const size_t held = s.blocks.groups.empty() ? 0 : s.blocks.groups[g].size();
      room &= static_cast<int>(need - std::min(held, need)) <= twin_.available(g, sequences_);
    }
    ASSERT_EQ(cache_.can_grow(s.blocks, target), room);
    ASSERT_EQ(cache_.grow(s.blocks, target), room);
    if (!room) return;
    SequenceBlocks& old = before[&s - sequences_.data()].blocks;
    old.groups.resize(num_groups());
    for (int g = 0; g < num_groups(); ++g) {
      while (old.groups[g].size() < s.blocks.groups[g].size()) {
        const BlockId taken = s.blocks.groups[g][old.groups[g].size()];
        twin_.expect_may_take(g, taken, before);
        old.groups[g].push_back(taken);
      }
      for (int i = s.computed / block_size_; i < target / block_size_; ++i) {
        ASSERT_EQ(twin_.refs(g, s.blocks.groups[g][i], sequences_), 1)
            << "writes into a shared block";
        twin_.write(g, s.blocks.groups[g][i], s, i);
      }
    }
    s.computed = target;
    if (pick(0, 3) > 0) register_computed(s);
  }

  void register_computed(TwinSequence& s) {
    const int first = s.blocks.num_registered;
    cache_.register_prefix(std::span(s.tokens).first(s.computed), s.salt, s.blocks);
    if (!caching_) return;
    ASSERT_EQ(s.blocks.num_registered, std::max(first, s.computed / block_size_));
    for (int i = first; i < s.computed / block_size_; ++i) twin_.make_known(s, i);
  }

  void drop(TwinSequence& s) {
    const std::vector<std::vector<BlockId>> before = s.blocks.groups;
    cache_.drop_outside_window(s.blocks, s.computed);
    for (int g = 0; g < static_cast<int>(before.size()); ++g) {
      for (int i = static_cast<int>(before[g].size()) - 1; i >= 0; --i) {
        const bool visible = i >= twin_.first_visible(g, s.computed);
        ASSERT_EQ(s.blocks.groups[g][i].valid(), before[g][i].valid() && visible);
        if (before[g][i].valid() && !visible) twin_.released(g, before[g][i], sequences_);
      }
    }
  }

  void share() {
    if (sequences_.empty() || sequences_.size() > 6) return;
    const TwinSequence& from = sequences_[pick(0, static_cast<int>(sequences_.size()) - 1)];
    TwinSequence to;
    to.salt = from.salt;
    to.tokens = from.tokens;
    to.tokens.push_back(1);
    const int length = pick(0, from.computed) / block_size_;
    bool there = length > 0;
    for (int g = 0; g < num_groups() && there; ++g) {
      for (int i = twin_.first_visible(g, length * block_size_); i < length; ++i) {
        there &= from.blocks.groups[g][i].valid();
      }
    }
    to.computed = cache_.share(from.blocks, length * block_size_, to.blocks);
    ASSERT_EQ(to.computed, there ? length * block_size_ : 0);
    for (int g = 0; g < num_groups() && there; ++g) {
      for (int i = 0; i < length; ++i) {
        if (to.blocks.groups[g][i].valid()) twin_.expect_holds(g, to.blocks.groups[g][i], to, i);
      }
    }
    sequences_.push_back(std::move(to));
  }

  void end() {
    if (sequences_.empty()) return;
    const size_t index = pick(0, static_cast<int>(sequences_.size()) - 1);
    const std::vector<std::vector<BlockId>> before = sequences_[index].blocks.groups;
    cache_.release(sequences_[index].blocks);
    sequences_.erase(sequences_.begin() + static_cast<std::ptrdiff_t>(index));
    for (int g = 0; g < static_cast<int>(before.size()); ++g) {
      for (auto block = before[g].rbegin(); block != before[g].rend(); ++block) {
        if (block->valid()) twin_.released(g, *block, sequences_);
      }
    }
  }

  void check() {
    std::vector<const SequenceBlocks*> holders;
    for (const TwinSequence& s : sequences_) holders.push_back(&s.blocks);
    ASSERT_EQ(cache_.check_invariants(&holders), "");
    int64_t available = 0;
    for (int g = 0; g < num_groups(); ++g) available += twin_.available(g, sequences_);
    ASSERT_EQ(cache_.stats().free_blocks, available);
    ASSERT_EQ(cache_.stats().cached_blocks, twin_.num_known());
  }

  std::mt19937_64 rng_;
  int block_size_;
  bool caching_;
  std::vector<CacheGroupSpec> specs_;
  KvManager cache_;
  Twin twin_;
  std::vector<TwinSequence> sequences_;
};

TEST(KvManagerProperty, AgreesWithASlowTwinOnRandomWork) {
  const int runs = std::getenv("OCTAVO_LONG_TESTS") ? 2000 : 100;
  for (int seed = 1; seed <= runs && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomDrive(seed).run(150);
  }
}

}  // namespace
}  // namespace octavo
