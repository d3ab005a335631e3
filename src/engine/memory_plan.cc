#include "engine/memory_plan.h"

#include <algorithm>
#include <fstream>
#include <limits>

namespace octavo {
namespace {

int64_t blocks_for(int64_t tokens, int block_size) {
  return (tokens + block_size - 1) / block_size;
}

// The most blocks that `group` can ever use.
int64_t useful_blocks(const KvCacheSpec& group, const MemoryDemand& d, int max_model_len,
                      int block_size) {
  int64_t per_sequence = blocks_for(max_model_len, block_size);
  if (group.window > 0) {
    // A window and a chunk, each perhaps beginning and ending inside a block.
    per_sequence =
        std::min(per_sequence, blocks_for(int64_t{group.window} + d.max_chunk, block_size) + 1);
  }
  return per_sequence * d.max_num_seqs;
}

int64_t read_number(const char* path) {
  std::ifstream in(path);
  int64_t value = 0;
  return in >> value ? value : -1;  // "max" means no limit
}

}  // namespace

StatusOr<MemoryPlan> plan_memory(const MemoryDemand& d, int block_size) {
  MemoryPlan plan;
  plan.max_model_len = d.asked_max_model_len.value_or(d.max_position);
  int64_t all_groups = 0;
  for (int64_t bytes : d.block_bytes) all_groups += bytes;

  int64_t even_share = d.kv_budget / std::max<int64_t>(1, all_groups);
  even_share = std::min<int64_t>(even_share, std::numeric_limits<int32_t>::max() / 2);
  int64_t full_tokens = std::numeric_limits<int64_t>::max();
  for (size_t g = 0; g < d.groups.size(); ++g) {
    const int64_t blocks =
        std::min(even_share, useful_blocks(d.groups[g], d, plan.max_model_len, block_size));
    if (d.groups[g].window == 0) full_tokens = std::min(full_tokens, blocks * block_size);
    plan.num_blocks.push_back(static_cast<int>(blocks));
    plan.kv_bytes += blocks * d.block_bytes[g];
    const int64_t least =
        d.groups[g].window == 0 ? 2 : blocks_for(d.groups[g].window, block_size) + 2;
    if (blocks < std::min(least, useful_blocks(d.groups[g], d, plan.max_model_len, block_size))) {
      return resource_exhausted("no memory for the KV cache: " + std::to_string(d.kv_budget >> 20) +
                                " MiB hold " + std::to_string(blocks) + " blocks of " +
                                std::to_string(d.block_bytes[g]) +
                                " bytes; give more with --kv-cache-memory-bytes");
    }
  }
  if (full_tokens < plan.max_model_len) {
    const std::string held = std::to_string(full_tokens) + " tokens";
    if (d.asked_max_model_len) {
      return resource_exhausted("--max-model-len " + std::to_string(plan.max_model_len) +
                                " needs more KV cache than the " +
                                std::to_string(d.kv_budget >> 20) + " MiB there are, which hold " +
                                held + ": lower it, or raise --kv-cache-memory-bytes");
    }
    plan.notice = "max_model_len lowered from " + std::to_string(plan.max_model_len) + " to " +
                  std::to_string(full_tokens) + ": that is what the KV cache holds";
    plan.max_model_len = static_cast<int>(full_tokens);
  }
  return plan;
}

int64_t available_memory_bytes() {
  int64_t available = std::numeric_limits<int64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  int64_t kib;
  std::string unit;
  while (meminfo >> key >> kib && std::getline(meminfo, unit)) {
    if (key == "MemAvailable:") available = kib << 10;
  }
  const int64_t limit = read_number("/sys/fs/cgroup/memory.max");
  const int64_t used = read_number("/sys/fs/cgroup/memory.current");
  if (limit > 0 && used >= 0) available = std::min(available, std::max<int64_t>(0, limit - used));
  return available;
}

}  // namespace octavo
