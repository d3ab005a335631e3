#include "cache/prefix_cache.h"

#include <algorithm>
#include <functional>

#include "base/check.h"

namespace octavo {

namespace {

// One round of a multiply-and-fold hash. Quality matters for speed only: equality is always
// compared.
uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15ull;
  return hash ^ (hash >> 32);
}

}  // namespace

PrefixCache::PrefixCache(int num_groups, int block_size)
    : num_groups_(num_groups), block_size_(block_size) {}

PrefixCache::~PrefixCache() {
  for (PrefixNode* node : nodes_) delete node;
}

bool PrefixCache::Equal::operator()(const Key& key, const PrefixNode* node) const {
  return node->hash_ == key.hash && node->parent_ == key.parent &&
         std::equal(key.tokens.begin(), key.tokens.end(), node->tokens_.begin());
}

PrefixCache::Key PrefixCache::make_key(const PrefixNode* parent, std::span<const TokenId> tokens) {
  uint64_t hash = parent->hash_;
  for (const TokenId token : tokens) hash = mix(hash, static_cast<uint32_t>(token));
  return {parent, tokens, hash};
}

PrefixNode* PrefixCache::find_root(const std::string& salt) const {
  const auto it = roots_.find(salt);
  return it == roots_.end() ? nullptr : it->second.get();
}

PrefixNode* PrefixCache::find_or_add_root(const std::string& salt) {
  std::unique_ptr<PrefixNode>& root = roots_[salt];
  if (!root) {
    root = std::make_unique<PrefixNode>();
    root->hash_ = mix(1, std::hash<std::string>()(salt));
    root->blocks_.resize(num_groups_);
    root->salt_ = salt;
  }
  return root.get();
}

PrefixNode* PrefixCache::find(const PrefixNode* parent, std::span<const TokenId> tokens) const {
  const auto it = nodes_.find(make_key(parent, tokens));
  return it == nodes_.end() ? nullptr : *it;
}

PrefixNode* PrefixCache::find_or_add(PrefixNode* parent, std::span<const TokenId> tokens) {
  CHECK(static_cast<int>(tokens.size()) == block_size_);
  const Key key = make_key(parent, tokens);
  if (const auto it = nodes_.find(key); it != nodes_.end()) return *it;
  auto* node = new PrefixNode;
  node->parent_ = parent;
  node->hash_ = key.hash;
  node->tokens_.assign(tokens.begin(), tokens.end());
  node->blocks_.resize(num_groups_);
  ++parent->num_children_;
  nodes_.insert(node);
  return node;
}

void PrefixCache::unhold(PrefixNode* node) {
  CHECK(node->num_holders_ > 0);
  --node->num_holders_;
  prune(node);
}

void PrefixCache::set_block(PrefixNode* node, int group, BlockId block) {
  CHECK(node->parent_ && !node->blocks_[group].valid() && block.valid());
  node->blocks_[group] = block;
  ++node->num_blocks_;
  ++num_blocks_;
}

void PrefixCache::clear_block(PrefixNode* node, int group) {
  CHECK(node->blocks_[group].valid());
  node->blocks_[group] = BlockId();
  --node->num_blocks_;
  --num_blocks_;
  prune(node);
}

void PrefixCache::prune(PrefixNode* node) {
  while (node && node->num_blocks_ == 0 && node->num_children_ == 0 && node->num_holders_ == 0) {
    PrefixNode* parent = node->parent_;
    if (parent) {
      nodes_.erase(node);
      --parent->num_children_;
      delete node;
    } else {
      roots_.erase(roots_.find(node->salt_));
    }
    node = parent;
  }
}

std::string PrefixCache::check_invariants() const {
  std::unordered_map<const PrefixNode*, int> children;
  int64_t blocks = 0;
  for (const PrefixNode* node : nodes_) {
    ++children[node->parent_];
    const auto held = std::count_if(node->blocks_.begin(), node->blocks_.end(),
                                    [](BlockId block) { return block.valid(); });
    if (held != node->num_blocks_) return "a node miscounts its blocks";
    blocks += held;
    if (node->num_blocks_ + node->num_children_ + node->num_holders_ == 0)
      return "a node outlives its use";
    if (find(node->parent_, node->tokens_) != node)
      return "a node cannot be found, or is there twice";
  }
  if (blocks != num_blocks_) return "the prefix cache miscounts its blocks";
  const auto miscounts = [&](const PrefixNode* node) {
    const auto it = children.find(node);
    return node->num_children_ != (it == children.end() ? 0 : it->second);
  };
  for (const PrefixNode* node : nodes_) {
    if (miscounts(node)) return "a node miscounts its children";
  }
  for (const auto& [salt, root] : roots_) {
    if (miscounts(root.get())) return "a root miscounts its children";
    if (root->num_children_ == 0 && root->num_holders_ == 0) return "a root outlives its use";
  }
  return "";
}

}  // namespace octavo
