#include "engine/memory_plan.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include "base/rounding.h"

namespace octavo {
namespace {

int64_t blocks_for(int64_t tokens, int block_size) {
  return divide_up<int64_t>(tokens, block_size);
}

// The most blocks of `group` that one sequence can ever use.
int64_t sequence_blocks(const KvCacheSpec& group, const MemoryDemand& d, int max_model_len,
                        int block_size) {
  const int64_t whole = blocks_for(max_model_len, block_size);
  if (group.window == 0) return whole;
  // A window and a chunk, each perhaps beginning and ending inside a block.
  return std::min(whole, blocks_for(int64_t{group.window} + d.max_chunk, block_size) + 1);
}

// The budget shared out: as many blocks for each group, but no more than `useful`; what one does
// not need is the others'. So a plan made again from the bytes of another is the same.
std::vector<int64_t> share_budget(const MemoryDemand& d, const std::vector<int64_t>& useful) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;
  std::vector<int64_t> blocks(useful.size(), -1);
  int64_t budget = d.kv_budget, bytes = 0;  // of the groups whose share is open
  for (const int64_t block : d.block_bytes) bytes += block;
  const auto share = [&] { return budget / std::max<int64_t>(1, bytes); };
  for (bool settled = true; settled;) {
    settled = false;
    for (size_t g = 0; g < blocks.size(); ++g) {
      if (blocks[g] >= 0 || useful[g] > share()) continue;
      blocks[g] = std::min(useful[g], kMost);
      budget -= blocks[g] * d.block_bytes[g];
      bytes -= d.block_bytes[g];
      settled = true;
    }
  }
  for (int64_t& count : blocks) {
    if (count < 0) count = std::min(share(), kMost);
  }
  return blocks;
}

int64_t read_number(const std::filesystem::path& path) {
  std::ifstream in(path);
  int64_t value = 0;
  return in >> value ? value : -1;  // "max" means no limit
}

// The number behind `key`, the first word of a line; -1: there is none.
int64_t read_entry(const std::filesystem::path& path, const std::string& key) {
  std::ifstream in(path);
  for (std::string word, rest; in >> word; std::getline(in, rest)) {
    int64_t value = 0;
    if (word == key) return in >> value ? value : -1;
  }
  return -1;
}

// A cgroup's memory controller: its folder, and what it calls its limit, its use and, in
// memory.stat, the files that nobody read lately.
struct CgroupNames {
  const char *folder, *limit, *used, *idle_files;
};
constexpr CgroupNames kCgroup2 = {"", "memory.max", "memory.current", "inactive_file"};
constexpr CgroupNames kCgroup1 = {"memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                  "total_inactive_file"};

// What the cgroup leaves of its limit; the most there is where it has none.
int64_t cgroup_room(const std::filesystem::path& cgroups, const CgroupNames& names) {
  const std::filesystem::path folder = cgroups / names.folder;
  const int64_t limit = read_number(folder / names.limit);
  const int64_t used = read_number(folder / names.used);
  if (limit < 0 || used < 0) return std::numeric_limits<int64_t>::max();
  // Files that were read, such as the weights, count as used; the kernel gives them up first.
  const int64_t files = std::max<int64_t>(0, read_entry(folder / "memory.stat", names.idle_files));
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, used - files));
}

}  // namespace

StatusOr<MemoryPlan> plan_memory(const MemoryDemand& d, int block_size) {
  MemoryPlan plan;
  plan.max_model_len = d.asked_max_model_len.value_or(d.max_position);
  std::vector<int64_t> useful;
  for (const KvCacheSpec& group : d.groups) {
    useful.push_back(sequence_blocks(group, d, plan.max_model_len, block_size) * d.max_num_seqs);
  }
  const std::vector<int64_t> shares = share_budget(d, useful);
  int64_t held_tokens = std::numeric_limits<int64_t>::max();
  for (size_t g = 0; g < d.groups.size(); ++g) {
    const int64_t blocks = shares[g];
    // A window group that lacks room for a window and a chunk holds short sequences all the same.
    if (blocks < sequence_blocks(d.groups[g], d, plan.max_model_len, block_size))
      held_tokens = std::min(held_tokens, blocks * block_size);
    plan.num_blocks.push_back(static_cast<int>(blocks));
    plan.kv_bytes += blocks * d.block_bytes[g];
    const int64_t least =
        d.groups[g].window == 0 ? 2 : blocks_for(d.groups[g].window, block_size) + 2;
    if (blocks < std::min(least, useful[g])) {
      return resource_exhausted("no memory for the KV cache: " + std::to_string(d.kv_budget >> 20) +
                                " MiB hold " + std::to_string(blocks) + " blocks of " +
                                std::to_string(d.block_bytes[g]) +
                                " bytes; give more with --kv-cache-memory-bytes");
    }
  }
  if (held_tokens < plan.max_model_len) {
    const std::string held = std::to_string(held_tokens) + " tokens";
    if (d.asked_max_model_len) {
      return resource_exhausted("--max-model-len " + std::to_string(plan.max_model_len) +
                                " needs more KV cache than the " +
                                std::to_string(d.kv_budget >> 20) + " MiB there are, which hold " +
                                held + ": lower it, or raise --kv-cache-memory-bytes");
    }
    plan.notice = "max_model_len lowered from " + std::to_string(plan.max_model_len) + " to " +
                  std::to_string(held_tokens) + ": that is what the KV cache holds";
    plan.max_model_len = static_cast<int>(held_tokens);
  }
  return plan;
}

int64_t available_memory_bytes(const std::filesystem::path& root) {
  int64_t available = std::numeric_limits<int64_t>::max();
  if (const int64_t kib = read_entry(root / "proc/meminfo", "MemAvailable:"); kib >= 0)
    available = kib << 10;
  const std::filesystem::path cgroups = root / "sys/fs/cgroup";
  return std::min({available, cgroup_room(cgroups, kCgroup2), cgroup_room(cgroups, kCgroup1)});
}

}  // namespace octavo
