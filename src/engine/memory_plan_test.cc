// Tests of the memory plan.
#include "engine/memory_plan.h"

#include <gtest/gtest.h>

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

TEST(MemoryPlan, SaysWhenThereIsNoMemoryAtAll) {
  EXPECT_NE(plan_memory(one_group(100), 16).status().message().find("no memory for the KV cache"),
            std::string::npos);
}

}  // namespace
}  // namespace octavo
