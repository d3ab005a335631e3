#include "engine/shared_prefixes.h"

#include <gtest/gtest.h>

namespace octavo {
namespace {

constexpr int kBlock = 32;

// Rows of decode, each with its blocks, the last of which holds its own token.
BatchPlan plan_of(const std::vector<std::vector<int32_t>>& tables) {
  BatchPlan plan;
  plan.tables.resize(1);
  plan.tables[0].begin.push_back(0);
  for (const auto& blocks : tables) {
    PlanRow row;
    row.num_tokens = 1;
    row.start = static_cast<int>(blocks.size()) * kBlock - 1;
    plan.rows.push_back(row);
    plan.tables[0].blocks.insert(plan.tables[0].blocks.end(), blocks.begin(), blocks.end());
    plan.tables[0].begin.push_back(static_cast<int32_t>(plan.tables[0].blocks.size()));
  }
  return plan;
}

std::vector<int32_t> blocks_from(int first, int count, int own) {
  std::vector<int32_t> blocks;
  for (int i = 0; i < count; ++i) blocks.push_back(first + i);
  blocks.push_back(own);
  return blocks;
}

TEST(SharedPrefixes, RowsOfOnePromptFormAGroupAsFarAsAllAgree) {
  std::vector<std::vector<int32_t>> tables;
  for (int i = 0; i < 20; ++i) tables.push_back(blocks_from(0, 128, 5000 + i));
  tables[7] = blocks_from(0, 100, 6000);     // leaves the others after 100 blocks
  tables.push_back(blocks_from(900, 9, 7));  // has nothing in common with them
  const auto groups = find_shared_prefixes(plan_of(tables), 0, 21, kBlock, 8);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].tokens, 100 * kBlock);
  EXPECT_EQ(groups[0].rows.size(), 20u);
  EXPECT_EQ(groups[0].rows.back(), 19);
}

TEST(SharedPrefixes, TheOnesThatSaveMostComeFirst) {
  std::vector<std::vector<int32_t>> tables;
  for (int i = 0; i < 10; ++i) tables.push_back(blocks_from(0, 120, 5000 + i));
  for (int i = 0; i < 30; ++i) tables.push_back(blocks_from(1000, 120, 6000 + i));
  const BatchPlan plan = plan_of(tables);
  const auto groups = find_shared_prefixes(plan, 0, 40, kBlock, 8);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].rows.size(), 30u);
  EXPECT_EQ(find_shared_prefixes(plan, 0, 40, kBlock, 1).size(), 1u);
}

TEST(SharedPrefixes, AreNotWorthItForFewTokensOrFewRows) {
  const auto a = blocks_from(0, 128, 5000), b = blocks_from(0, 128, 5001);
  EXPECT_TRUE(find_shared_prefixes(plan_of({a, b}), 0, 2, kBlock, 8).empty());
  std::vector<std::vector<int32_t>> brief;
  for (int i = 0; i < 100; ++i) brief.push_back(blocks_from(0, 2, 5000 + i));
  EXPECT_TRUE(find_shared_prefixes(plan_of(brief), 0, 100, kBlock, 8).empty());
}

TEST(SharedPrefixes, ARowsOwnBlockIsNeverPartOfOne) {
  // All tables equal, the blocks of the own tokens among them: they cannot be shared.
  const std::vector<std::vector<int32_t>> tables(20, blocks_from(0, 100, 100));
  const auto groups = find_shared_prefixes(plan_of(tables), 0, 20, kBlock, 8);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].tokens, 100 * kBlock);
}

}  // namespace
}  // namespace octavo
