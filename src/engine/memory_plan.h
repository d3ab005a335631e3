// The memory plan: how many KV blocks an engine gets, decided before anything is allocated. Pure
// functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "octavo/config.h"
#include "octavo/status.h"
#include "ops/attention.h"

namespace octavo {

struct MemoryPlan {
  std::vector<int> num_blocks;  // per cache group
  int64_t kv_bytes = 0;
  int max_model_len = 0;
  std::string notice;  // set when max_model_len was lowered
};

struct MemoryDemand {
  std::vector<KvCacheSpec> groups;   // num_blocks not yet set
  std::vector<int64_t> block_bytes;  // one block of each group, all its layers
  int64_t kv_budget = 0;             // bytes
  int max_position = 0;              // config.json's context
  std::optional<int> asked_max_model_len;
  int max_num_seqs = 0;
  int max_chunk = 0;  // most tokens of one sequence in one step
};

// Shares the budget among the groups so that all hold the same tokens, except that a windowed group
// never gets more than its sequences can hold, and no group more than max_num_seqs full contexts;
// what one cannot use goes to the others. A plan made from another's kv_bytes and max_model_len has
// at least as many tokens.
// Errors: the budget holds not even one sequence, or less than the max_model_len that the user
// asked for.
StatusOr<MemoryPlan> plan_memory(const MemoryDemand& demand, int block_size);

// Bytes this process may still take: the machine's available memory, and the cgroup's limit where
// there is one. `root`: where /proc and /sys are looked for.
int64_t available_memory_bytes(const std::filesystem::path& root = "/");

}  // namespace octavo
