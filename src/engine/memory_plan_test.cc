// Tests of the memory plan.
#include "engine/memory_plan.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/testing_directory.h"

namespace octavo {
namespace {

MemoryDemand one_group(int64_t budget, int window = 0) {
  MemoryDemand d;
  d.groups = {KvCacheSpec{.num_layers = 2, .window = window}};
  d.block_bytes = {1000};
  d.kv_budget = budget;
  d.max_position = 1600;
  d.max_num_seqs = 4;
  d.max_chunk = 64;
  return d;
}

TEST(MemoryPlan, TakesNoMoreThanAllSequencesCanUse) {
  auto plan = plan_memory(one_group(1 << 30), 16);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->num_blocks[0], 400);
  EXPECT_EQ(plan->max_model_len, 1600);
  EXPECT_TRUE(plan->notice.empty());
}

TEST(MemoryPlan, LowersTheContextToWhatTheCacheHoldsAndSaysSo) {
  auto plan = plan_memory(one_group(50'000), 16);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->max_model_len, 800);
  EXPECT_NE(plan->notice.find("lowered from 1600 to 800"), std::string::npos);
}

TEST(MemoryPlan, RefusesAContextThatTheUserAskedForAndTheCacheLacks) {
  MemoryDemand d = one_group(50'000);
  d.asked_max_model_len = 1600;
  auto plan = plan_memory(d, 16);
  EXPECT_EQ(plan.status().code(), StatusCode::kResourceExhausted);
  EXPECT_NE(plan.status().message().find("--max-model-len 1600"), std::string::npos);
}

TEST(MemoryPlan, AWindowedGroupHoldsAWindowAndAChunkPerSequence) {
  auto plan = plan_memory(one_group(1 << 30, 128), 16);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->num_blocks[0], 4 * (12 + 1));
  EXPECT_EQ(plan->max_model_len, 1600);
}

TEST(MemoryPlan, AWindowedGroupAloneLowersTheContextWhereAWindowAndAChunkDoNotFit) {
  auto plan = plan_memory(one_group(11'000, 128), 16);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->num_blocks[0], 11) << "one sequence with its chunk takes 13";
  EXPECT_EQ(plan->max_model_len, 11 * 16);
}

MemoryDemand two_groups(int64_t budget) {
  MemoryDemand d = one_group(budget);
  d.groups.push_back(KvCacheSpec{.num_layers = 2, .window = 128});
  d.block_bytes.push_back(1000);
  return d;
}

TEST(MemoryPlan, WhatAWindowedGroupDoesNotNeedTheFullOneGets) {
  auto plan = plan_memory(two_groups(400'000), 16);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->num_blocks, (std::vector{400 - 52, 52}));
  EXPECT_EQ(plan->kv_bytes, 400'000);
}

TEST(MemoryPlan, MadeAgainFromItsOwnSizeIsTheSame) {
  for (int64_t budget = 30'000; budget < 600'000; budget += 7'000) {
    const auto first = plan_memory(two_groups(budget), 16);
    ASSERT_TRUE(first.ok());
    MemoryDemand again = two_groups(first->kv_bytes);
    again.asked_max_model_len = first->max_model_len;
    const auto second = plan_memory(again, 16);
    ASSERT_TRUE(second.ok()) << second.status().message();
    EXPECT_GE(second->num_blocks[0], first->num_blocks[0]) << budget;
    EXPECT_EQ(second->max_model_len, first->max_model_len);
  }
}

// A machine's files, under a root of their own.
class AvailableMemory : public ::testing::Test {
 protected:
  void write(const char* name, const std::string& text) {
    const std::filesystem::path path = root_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  const testing::TemporaryDirectory root_;
};

TEST_F(AvailableMemory, CountsFilesThatTheCgroupMayDropAsFree) {
  write("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    900 kB\n");
  EXPECT_EQ(available_memory_bytes(root_.path()), 900 << 10);
  write("sys/fs/cgroup/memory.max", "max\n");
  write("sys/fs/cgroup/memory.current", "600000\n");
  EXPECT_EQ(available_memory_bytes(root_.path()), 900 << 10) << "no limit";
  write("sys/fs/cgroup/memory.max", "700000\n");
  EXPECT_EQ(available_memory_bytes(root_.path()), 100'000);
  write("sys/fs/cgroup/memory.stat", "anon 90000\ninactive_anon 1\ninactive_file 450000\n");
  EXPECT_EQ(available_memory_bytes(root_.path()), 550'000) << "most of what is used is a cache";
}

TEST_F(AvailableMemory, IsBoundedByACgroupOfTheFirstVersionToo) {
  write("proc/meminfo", "MemAvailable:    900 kB\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "600000\n");
  EXPECT_EQ(available_memory_bytes(root_.path()), 900 << 10) << "that is how it says no limit";
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "700000\n");
  EXPECT_EQ(available_memory_bytes(root_.path()), 100'000);
  write("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 450000\n");
  EXPECT_EQ(available_memory_bytes(root_.path()), 550'000);
}

TEST(MemoryPlan, SaysWhenThereIsNoMemoryAtAll) {
  EXPECT_NE(plan_memory(one_group(100), 16).status().message().find("no memory for the KV cache"),
            std::string::npos);
}

}  // namespace
}  // namespace octavo
