// In a window group of width w the token at position p sees positions p - w + 1 .. p. So a sequence
// that has yet to compute position `next` needs the blocks from first_visible(next) on, and no
// earlier one ever again.
#include "cache/kv_manager.h"

#include <algorithm>

#include "base/check.h"
#include "base/rounding.h"
#include "cache/block_pool.h"
#include "cache/prefix_cache.h"

namespace octavo {

namespace {

CacheMap draw(const BlockPool& pool, int window) {
  CacheMap map{.num_blocks = pool.size(), .window = window};
  map.blocks_per_cell = std::max(1, divide_up(pool.size(), CacheMap::kMaxCells));
  int counts[4] = {};
  int run = 0;
  auto run_state = BlockState::kFree;
  const auto end_run = [&] {
    if (run > 0) map.runs.append(std::to_string(run)) += "fcus"[static_cast<int>(run_state)];
    run = 0;
  };
  for (int block = 0; block < pool.size();) {
    auto cell = BlockState::kFree;
    const int end = std::min(pool.size(), block + map.blocks_per_cell);
    for (; block < end; ++block) {
      const BlockState state = pool.state(BlockId(block));
      ++counts[static_cast<int>(state)];
      cell = std::max(cell, state);
    }
    if (cell != run_state) end_run();
    run_state = cell;
    ++run;
  }
  end_run();
  map.free = counts[0];
  map.cached = counts[1];
  map.used = counts[2];
  map.shared = counts[3];
  return map;
}

}  // namespace

struct KvManager::Impl {
  struct Group {
    explicit Group(const CacheGroupSpec& spec) : pool(spec.num_blocks), window(spec.window) {}
    BlockPool pool;
    int window;
  };

  Impl(const std::vector<CacheGroupSpec>& specs, int block_size, bool caching)
      : block_size(block_size),
        caching(caching),
        prefixes(static_cast<int>(specs.size()), block_size) {
    for (const CacheGroupSpec& spec : specs) groups.emplace_back(spec);
  }

  int blocks_for(int num_tokens) const { return divide_up(num_tokens, block_size); }

  // Index of the first block that a token at position >= next can see in this group.
  int first_visible(const Group& group, int next) const {
    return group.window == 0 ? 0 : std::max(0, next - group.window + 1) / block_size;
  }

  // Most blocks a sequence holds in this group while it computes num_tokens tokens in chunks.
  int peak(const Group& group, int num_tokens, int chunk) const {
    const int whole = blocks_for(num_tokens);
    if (group.window == 0) return whole;
    // Consecutive positions held at once; unaligned, they touch one block more than they fill.
    const int64_t span = int64_t{group.window} - 1 + std::min(chunk, num_tokens);
    return static_cast<int>(std::min<int64_t>(whole, (span + block_size - 2) / block_size + 1));
  }

  void forget(PrefixNode* node, int group) {
    if (node) prefixes.clear_block(node, group);
  }

  void set_last_node(SequenceBlocks& blocks, PrefixNode* node) {
    if (node) prefixes.hold(node);
    if (blocks.last_node) prefixes.unhold(blocks.last_node);
    blocks.last_node = node;
  }

  // Nodes of the prefix's full blocks, as far as one can matter: a full group ends the walk where
  // it has no block.
  std::vector<PrefixNode*> walk(std::span<const TokenId> tokens, const std::string& salt) const {
    std::vector<PrefixNode*> path;
    PrefixNode* node = prefixes.find_root(salt);
    const size_t most = (tokens.size() - 1) / block_size;
    while (node && path.size() < most) {
      node = prefixes.find(node, tokens.subspan(path.size() * block_size, block_size));
      if (!node) break;
      for (size_t g = 0; g < groups.size(); ++g) {
        if (groups[g].window == 0 && !node->block(static_cast<int>(g)).valid()) return path;
      }
      path.push_back(node);
    }
    return path;
  }

  // The most blocks of `path` that a sequence can start from: each group has all that later
  // positions can see.
  int longest_hit(const std::vector<PrefixNode*>& path) const {
    std::vector<int> run(groups.size(), 0);  // blocks present without a gap up to this node
    int best = 0;
    for (int length = 1; length <= static_cast<int>(path.size()); ++length) {
      bool whole = true;
      for (int g = 0; g < static_cast<int>(groups.size()); ++g) {
        run[g] = path[length - 1]->block(g).valid() ? run[g] + 1 : 0;
        whole &= run[g] >= length - first_visible(groups[g], length * block_size);
      }
      if (whole) best = length;
    }
    return best;
  }

  const int block_size;
  const bool caching;
  std::vector<Group> groups;
  PrefixCache prefixes;
};

KvManager::KvManager(std::vector<CacheGroupSpec> groups, int block_size, bool enable_prefix_caching)
    : impl_(std::make_unique<Impl>(groups, block_size, enable_prefix_caching)) {
  CHECK(block_size > 0);
}

KvManager::~KvManager() = default;

int KvManager::block_size() const {
  return impl_->block_size;
}
bool KvManager::prefix_caching() const {
  return impl_->caching;
}
int KvManager::num_groups() const {
  return static_cast<int>(impl_->groups.size());
}

int KvManager::match_prefix(std::span<const TokenId> tokens, const std::string& salt,
                            SequenceBlocks& blocks) {
  CHECK(blocks.groups.empty() && !blocks.last_node);
  if (!impl_->caching || tokens.empty()) return 0;
  const std::vector<PrefixNode*> path = impl_->walk(tokens, salt);
  const int length = impl_->longest_hit(path);
  if (length == 0) return 0;
  blocks.groups.resize(num_groups());
  for (int g = 0; g < num_groups(); ++g) {
    Impl::Group& group = impl_->groups[g];
    blocks.groups[g].resize(length);
    for (int i = impl_->first_visible(group, length * impl_->block_size); i < length; ++i) {
      blocks.groups[g][i] = path[i]->block(g);
      group.pool.add_ref(path[i]->block(g));
    }
  }
  impl_->set_last_node(blocks, path[length - 1]);
  blocks.num_registered = length;
  return length * impl_->block_size;
}

bool KvManager::can_grow(const SequenceBlocks& blocks, int num_tokens, int spare) const {
  for (int g = 0; g < num_groups(); ++g) {
    const int held = blocks.groups.empty() ? 0 : static_cast<int>(blocks.groups[g].size());
    const int missing = std::max(0, impl_->blocks_for(num_tokens) - held);
    if (missing + spare > impl_->groups[g].pool.available()) return false;
  }
  return true;
}

bool KvManager::grow(SequenceBlocks& blocks, int num_tokens) {
  if (!can_grow(blocks, num_tokens)) return false;
  blocks.groups.resize(num_groups());
  const size_t need = impl_->blocks_for(num_tokens);
  for (int g = 0; g < num_groups(); ++g) {
    while (blocks.groups[g].size() < need) {
      PrefixNode* evicted = nullptr;
      blocks.groups[g].push_back(impl_->groups[g].pool.take(evicted));
      impl_->forget(evicted, g);
    }
  }
  return true;
}

void KvManager::drop_outside_window(SequenceBlocks& blocks, int next_position) {
  for (int g = 0; g < static_cast<int>(blocks.groups.size()); ++g) {
    std::vector<BlockId>& list = blocks.groups[g];
    const int first = impl_->first_visible(impl_->groups[g], next_position);
    for (int i = std::min(first, static_cast<int>(list.size())) - 1; i >= 0 && list[i].valid();
         --i) {
      impl_->groups[g].pool.release(list[i]);
      list[i] = BlockId();
    }
  }
}

void KvManager::register_prefix(std::span<const TokenId> tokens, const std::string& salt,
                                SequenceBlocks& blocks) {
  if (!impl_->caching || blocks.groups.empty()) return;
  const size_t block_size = impl_->block_size;
  while ((blocks.num_registered + 1) * block_size <= tokens.size()) {
    const int index = blocks.num_registered;
    PrefixNode* parent =
        blocks.last_node ? blocks.last_node : impl_->prefixes.find_or_add_root(salt);
    PrefixNode* node =
        impl_->prefixes.find_or_add(parent, tokens.subspan(index * block_size, block_size));
    impl_->set_last_node(blocks, node);
    for (int g = 0; g < num_groups(); ++g) {
      CHECK(index < static_cast<int>(blocks.groups[g].size()));
      const BlockId block = blocks.groups[g][index];
      // Where another sequence computed the same tokens first, its block stays the known one, this
      // one private.
      if (!block.valid() || node->block(g).valid()) continue;
      impl_->groups[g].pool.set_node(block, node);
      impl_->prefixes.set_block(node, g, block);
    }
    ++blocks.num_registered;
  }
}

int KvManager::share(const SequenceBlocks& from, int num_tokens, SequenceBlocks& to) {
  CHECK(to.groups.empty() && !to.last_node);
  const int length = num_tokens / impl_->block_size;
  if (length == 0 || from.groups.empty()) return 0;
  const auto first_of = [&](int g) {
    return impl_->first_visible(impl_->groups[g], length * impl_->block_size);
  };
  for (int g = 0; g < num_groups(); ++g) {
    CHECK(length <= static_cast<int>(from.groups[g].size()));
    // Windows give back from the front, so the first block tells of all.
    const int first = first_of(g);
    if (first < length && !from.groups[g][first].valid()) return 0;
  }
  to.groups.resize(num_groups());
  for (int g = 0; g < num_groups(); ++g) {
    to.groups[g].resize(length);
    for (int i = first_of(g); i < length; ++i) {
      to.groups[g][i] = from.groups[g][i];
      impl_->groups[g].pool.add_ref(from.groups[g][i]);
    }
  }
  PrefixNode* node = from.last_node;
  for (int i = from.num_registered; i > length; --i) node = node->parent();
  to.num_registered = std::min(from.num_registered, length);
  if (to.num_registered > 0) impl_->set_last_node(to, node);
  return length * impl_->block_size;
}

void KvManager::release(SequenceBlocks& blocks) {
  for (int g = 0; g < static_cast<int>(blocks.groups.size()); ++g) {
    std::vector<BlockId>& list = blocks.groups[g];
    for (auto block = list.rbegin(); block != list.rend(); ++block) {
      if (block->valid()) impl_->groups[g].pool.release(*block);
    }
  }
  impl_->set_last_node(blocks, nullptr);
  blocks = SequenceBlocks();
}

void KvManager::add_demand(const SequenceBlocks& blocks, int num_tokens, int chunk,
                           std::vector<int>& demand) const {
  demand.resize(num_groups(), 0);
  for (int g = 0; g < num_groups(); ++g) {
    int listed = 0, held = 0;
    if (!blocks.groups.empty()) {
      const std::vector<BlockId>& list = blocks.groups[g];
      listed = static_cast<int>(list.size());
      // Only windows leave gaps, and only at the front.
      for (auto block = list.rbegin(); block != list.rend() && block->valid(); ++block) ++held;
    }
    const Impl::Group& group = impl_->groups[g];
    const int ahead = impl_->blocks_for(num_tokens) - listed;
    demand[g] += std::max(0, std::min(ahead, impl_->peak(group, num_tokens, chunk) - held));
  }
}

bool KvManager::covers(const std::vector<int>& demand) const {
  for (int g = 0; g < num_groups(); ++g) {
    if (demand[g] > impl_->groups[g].pool.available()) return false;
  }
  return true;
}

bool KvManager::fits_alone(int num_tokens, int chunk) const {
  for (const Impl::Group& group : impl_->groups) {
    if (impl_->peak(group, num_tokens, chunk) > group.pool.size()) return false;
  }
  return true;
}

void KvManager::reset_prefix_cache() {
  for (int g = 0; g < num_groups(); ++g) {
    while (PrefixNode* node = impl_->groups[g].pool.evict_oldest()) impl_->forget(node, g);
  }
}

KvStats KvManager::stats() const {
  KvStats stats;
  for (const Impl::Group& group : impl_->groups) {
    stats.total_blocks += group.pool.size();
    stats.free_blocks += group.pool.available();
  }
  stats.cached_blocks = impl_->prefixes.num_blocks();
  return stats;
}

std::vector<CacheMap> KvManager::maps() const {
  std::vector<CacheMap> maps;
  for (const Impl::Group& group : impl_->groups) maps.push_back(draw(group.pool, group.window));
  return maps;
}

std::string KvManager::check_invariants(const std::vector<const SequenceBlocks*>* holders) const {
  if (std::string wrong = impl_->prefixes.check_invariants(); !wrong.empty()) return wrong;
  int64_t known = 0;
  for (int g = 0; g < num_groups(); ++g) {
    const BlockPool& pool = impl_->groups[g].pool;
    const std::string where = "group " + std::to_string(g) + ": ";
    if (const std::string wrong = pool.check_invariants(); !wrong.empty()) return where + wrong;
    std::vector<int> refs(pool.size(), 0);
    if (holders) {
      for (const SequenceBlocks* blocks : *holders) {
        if (blocks->groups.empty()) continue;
        for (const BlockId block : blocks->groups[g]) {
          if (block.valid()) ++refs[block.value];
        }
      }
    }
    for (int i = 0; i < pool.size(); ++i) {
      const PrefixNode* node = pool.node(BlockId(i));
      if (node) ++known;
      if (node && node->block(g) != BlockId(i)) return where + "a block and its identity disagree";
      if (holders && refs[i] != pool.ref_count(BlockId(i))) {
        return where + "block " + std::to_string(i) + " has references that no sequence explains";
      }
    }
  }
  if (known != impl_->prefixes.num_blocks())
    return "the prefix cache knows blocks that the pools do not";
  return "";
}

}  // namespace octavo
