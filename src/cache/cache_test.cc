// Tests of the cache room: blocks, prefixes, windows, sharing.
#include <gtest/gtest.h>

#include <numeric>

#include "cache/block_pool.h"
#include "cache/kv_manager.h"
#include "cache/prefix_cache.h"

namespace octavo {
namespace {

std::vector<TokenId> sequence_of(int length, int first = 0) {
  std::vector<TokenId> tokens(length);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// A sequence that computed and registered all of `tokens`, and still holds its blocks.
SequenceBlocks compute(KvManager& cache, const std::vector<TokenId>& tokens,
                       const std::string& salt = "") {
  SequenceBlocks blocks;
  EXPECT_TRUE(cache.grow(blocks, static_cast<int>(tokens.size())));
  cache.register_prefix(tokens, salt, blocks);
  return blocks;
}

void compute_and_release(KvManager& cache, const std::vector<TokenId>& tokens,
                         const std::string& salt = "") {
  SequenceBlocks blocks = compute(cache, tokens, salt);
  cache.release(blocks);
}

// Length of the hit, without keeping it.
int hit(KvManager& cache, const std::vector<TokenId>& tokens, const std::string& salt = "") {
  SequenceBlocks blocks;
  const int length = cache.match_prefix(tokens, salt, blocks);
  cache.release(blocks);
  EXPECT_EQ(cache.check_invariants(), "");
  return length;
}

TEST(BlockPool, TakesFreeBlocksBeforeItEvictsTheOneReleasedLongestAgo) {
  BlockPool pool(3);
  PrefixCache prefixes(1, 1);
  PrefixNode* root = prefixes.find_or_add_root("");
  PrefixNode* evicted = nullptr;
  const BlockId a = pool.take(evicted), b = pool.take(evicted);
  PrefixNode* node_a = prefixes.find_or_add(root, sequence_of(1, 1));
  PrefixNode* node_b = prefixes.find_or_add(root, sequence_of(1, 2));
  pool.set_node(a, node_a);
  pool.set_node(b, node_b);
  pool.release(b);
  pool.release(a);
  EXPECT_EQ(pool.available(), 3);
  const BlockId c = pool.take(evicted);
  EXPECT_TRUE(c != a && c != b);
  EXPECT_EQ(evicted, nullptr);
  EXPECT_EQ(pool.take(evicted), b);
  EXPECT_EQ(evicted, node_b);
  EXPECT_EQ(pool.take(evicted), a);
  EXPECT_EQ(evicted, node_a);
  EXPECT_EQ(pool.available(), 0);
  EXPECT_EQ(pool.check_invariants(), "");
}

TEST(PrefixCache, ANodeIsFoundOnlyUnderItsOwnParentTokensAndSalt) {
  PrefixCache prefixes(1, 2);
  PrefixNode* root = prefixes.find_or_add_root("");
  PrefixNode* first = prefixes.find_or_add(root, sequence_of(2));
  prefixes.hold(first);
  PrefixNode* second = prefixes.find_or_add(first, sequence_of(2));
  prefixes.hold(second);
  EXPECT_NE(first, second);
  EXPECT_EQ(prefixes.find(root, sequence_of(2)), first);
  EXPECT_EQ(prefixes.find(first, sequence_of(2)), second);
  EXPECT_EQ(prefixes.find(root, sequence_of(2, 1)), nullptr);
  EXPECT_EQ(prefixes.find_root("other"), nullptr);
  EXPECT_EQ(prefixes.check_invariants(), "");
  prefixes.unhold(first);
  EXPECT_EQ(prefixes.num_nodes(), 2) << "a child keeps its parent";
  prefixes.unhold(second);
  EXPECT_EQ(prefixes.num_nodes(), 0);
  EXPECT_EQ(prefixes.find_root(""), nullptr);
}

TEST(KvManager, GrowGivesWholeBlocksOrNothing) {
  KvManager cache({{.num_blocks = 4}, {.num_blocks = 3}}, 4, true);
  SequenceBlocks blocks;
  EXPECT_TRUE(cache.grow(blocks, 5));
  EXPECT_EQ(blocks.groups[0].size(), 2u);
  EXPECT_EQ(blocks.groups[1].size(), 2u);
  EXPECT_TRUE(cache.can_grow(blocks, 12));
  EXPECT_FALSE(cache.can_grow(blocks, 12, 1)) << "no block to spare in the second group";
  EXPECT_FALSE(cache.grow(blocks, 13)) << "the second group lacks a block";
  EXPECT_EQ(blocks.groups[0].size(), 2u);
  EXPECT_EQ(cache.stats().free_blocks, 3);
  cache.release(blocks);
  EXPECT_EQ(cache.stats().free_blocks, cache.stats().total_blocks);
  EXPECT_EQ(cache.check_invariants(), "");
}

TEST(KvManager, AHitIsTheLongestRunOfWholeBlocksThatLeavesATokenToCompute) {
  KvManager cache({{.num_blocks = 8}}, 4, true);
  compute_and_release(cache, sequence_of(14));
  EXPECT_EQ(hit(cache, sequence_of(14)), 12);
  EXPECT_EQ(hit(cache, sequence_of(13)), 12);
  EXPECT_EQ(hit(cache, sequence_of(12)), 8) << "one token at least is computed";
  EXPECT_EQ(hit(cache, sequence_of(4)), 0);
  EXPECT_EQ(hit(cache, sequence_of(14, 1)), 0);
  std::vector<TokenId> fork = sequence_of(14);
  fork[5] = 99;
  EXPECT_EQ(hit(cache, fork), 4);
}

TEST(KvManager, AHitReturnsTheVeryBlocksThatWereComputed) {
  KvManager cache({{.num_blocks = 8}}, 4, true);
  SequenceBlocks first = compute(cache, sequence_of(9));
  SequenceBlocks second;
  EXPECT_EQ(cache.match_prefix(sequence_of(9), "", second), 8);
  EXPECT_EQ(second.groups[0], std::vector(first.groups[0].begin(), first.groups[0].begin() + 2));
  EXPECT_EQ(cache.stats().free_blocks, 5);
  cache.release(first);
  EXPECT_EQ(cache.stats().free_blocks, 6) << "the shared blocks are still held";
  cache.release(second);
}

TEST(KvManager, SaltsDoNotSeeEachOther) {
  KvManager cache({{.num_blocks = 8}}, 4, true);
  compute_and_release(cache, sequence_of(9), "alice");
  EXPECT_EQ(hit(cache, sequence_of(9), "alice"), 8);
  EXPECT_EQ(hit(cache, sequence_of(9), "bob"), 0);
  EXPECT_EQ(hit(cache, sequence_of(9)), 0);
}

TEST(KvManager, WithoutPrefixCachingNothingIsFoundAndNothingStays) {
  KvManager cache({{.num_blocks = 8}}, 4, false);
  compute_and_release(cache, sequence_of(9));
  EXPECT_EQ(hit(cache, sequence_of(9)), 0);
  EXPECT_EQ(cache.stats().cached_blocks, 0);
}

TEST(KvManager, EvictsTailsBeforeHeadsAndOldPrefixesBeforeNewOnes) {
  KvManager cache({{.num_blocks = 6}}, 4, true);
  compute_and_release(cache, sequence_of(12, 100));
  compute_and_release(cache, sequence_of(12, 200));
  SequenceBlocks other;
  ASSERT_TRUE(cache.grow(other, 4));
  EXPECT_EQ(hit(cache, sequence_of(13, 100)), 8) << "the old prefix lost its tail";
  EXPECT_EQ(hit(cache, sequence_of(13, 200)), 12);
  ASSERT_TRUE(cache.grow(other, 12));
  EXPECT_EQ(hit(cache, sequence_of(13, 100)), 0) << "used before the other one";
  EXPECT_EQ(hit(cache, sequence_of(13, 200)), 12);
  cache.release(other);
}

TEST(KvManager, TheFirstOfTwoEqualBlocksIsKeptAndTheSecondStaysPrivate) {
  KvManager cache({{.num_blocks = 8}}, 4, true);
  SequenceBlocks first, second;
  ASSERT_TRUE(cache.grow(first, 9) && cache.grow(second, 9));
  cache.register_prefix(sequence_of(9), "", first);
  cache.register_prefix(sequence_of(9), "", second);
  EXPECT_EQ(cache.stats().cached_blocks, 2);
  cache.release(second);
  EXPECT_EQ(cache.stats().free_blocks, 5);
  cache.release(first);
  EXPECT_EQ(hit(cache, sequence_of(9)), 8);
  EXPECT_EQ(cache.check_invariants(), "");
}

TEST(KvManager, ASequenceRegistersOnBehindAPrefixWhoseBlocksWereEvicted) {
  KvManager cache({{.num_blocks = 5}}, 4, true);
  SequenceBlocks first, second;
  ASSERT_TRUE(cache.grow(first, 4) && cache.grow(second, 4));
  cache.register_prefix(sequence_of(4), "", first);
  cache.register_prefix(sequence_of(4), "", second);  // private, behind first's identity
  cache.release(first);
  ASSERT_TRUE(cache.grow(second, 20));  // evicts first's block
  cache.register_prefix(sequence_of(8), "", second);
  EXPECT_EQ(cache.check_invariants(), "");
  EXPECT_EQ(hit(cache, sequence_of(9)), 0) << "the head is not there";
  cache.release(second);
  compute_and_release(cache, sequence_of(4));
  EXPECT_EQ(hit(cache, sequence_of(9)), 8) << "a new head serves the old tail";
}

TEST(KvManager, SharesWholeBlocksWithoutPrefixCaching) {
  KvManager cache({{.num_blocks = 8}}, 4, false);
  SequenceBlocks leader, follower;
  ASSERT_TRUE(cache.grow(leader, 11));
  EXPECT_EQ(cache.share(leader, 11, follower), 8);
  EXPECT_EQ(follower.groups[0][1], leader.groups[0][1]);
  ASSERT_TRUE(cache.grow(follower, 11));
  EXPECT_NE(follower.groups[0][2], leader.groups[0][2]);
  const std::vector<const SequenceBlocks*> holders = {&leader, &follower};
  EXPECT_EQ(cache.check_invariants(&holders), "");
  cache.release(leader);
  cache.release(follower);
  EXPECT_EQ(cache.stats().free_blocks, 8);
}

TEST(KvManager, BothSharersMayRegisterTheSharedBlocks) {
  for (const int registered : {0, 4, 8, 12}) {
    KvManager cache({{.num_blocks = 8}}, 4, true);
    SequenceBlocks leader, follower;
    ASSERT_TRUE(cache.grow(leader, 13));
    cache.register_prefix(sequence_of(registered), "", leader);
    EXPECT_EQ(cache.share(leader, 9, follower), 8);
    ASSERT_TRUE(cache.grow(follower, 12));
    cache.register_prefix(sequence_of(12), "", follower);
    cache.register_prefix(sequence_of(13), "", leader);
    EXPECT_EQ(cache.stats().cached_blocks, 3);
    EXPECT_EQ(cache.check_invariants(), "");
    cache.release(leader);
    cache.release(follower);
    EXPECT_EQ(hit(cache, sequence_of(13)), 12);
  }
}

TEST(SlidingWindow, GivesBackWhatNoLaterTokenSees) {
  KvManager cache({{.num_blocks = 8}, {.num_blocks = 8, .window = 6}}, 4, true);
  SequenceBlocks blocks;
  ASSERT_TRUE(cache.grow(blocks, 20));
  cache.drop_outside_window(blocks, 12);  // position 12 sees 7 .. 12
  EXPECT_FALSE(blocks.groups[1][0].valid());
  EXPECT_TRUE(blocks.groups[1][1].valid());
  cache.drop_outside_window(blocks, 13);  // 8 .. 13
  EXPECT_FALSE(blocks.groups[1][1].valid());
  EXPECT_TRUE(blocks.groups[1][2].valid());
  EXPECT_TRUE(blocks.groups[0][0].valid()) << "full attention sees everything";
  EXPECT_EQ(cache.stats().free_blocks, 3 + 5);
  cache.release(blocks);
  EXPECT_EQ(cache.stats().free_blocks, 16);
}

TEST(SlidingWindow, AHitNeedsOnlyTheWindowBehindIt) {
  KvManager cache({{.num_blocks = 8, .window = 6}}, 4, true);
  SequenceBlocks first;
  ASSERT_TRUE(cache.grow(first, 8));
  cache.drop_outside_window(first, 16);  // never registered in time: gone
  ASSERT_TRUE(cache.grow(first, 20));
  cache.register_prefix(sequence_of(20), "", first);
  cache.release(first);
  // A hit of 16 tokens sees position 11 and so needs blocks 2 and 3; one of 12 sees 7 and lacks
  // block 1.
  SequenceBlocks second;
  EXPECT_EQ(cache.match_prefix(sequence_of(18), "", second), 16);
  EXPECT_FALSE(second.groups[0][1].valid());
  EXPECT_TRUE(second.groups[0][2].valid());
  cache.release(second);
  EXPECT_EQ(hit(cache, sequence_of(14)), 0);
}

TEST(SlidingWindow, AHitMustHoldInEveryGroup) {
  KvManager cache({{.num_blocks = 8}, {.num_blocks = 8, .window = 6}}, 4, true);
  SequenceBlocks blocks;
  ASSERT_TRUE(cache.grow(blocks, 8));
  cache.drop_outside_window(blocks, 12);
  ASSERT_TRUE(cache.grow(blocks, 20));
  cache.register_prefix(sequence_of(20), "", blocks);
  cache.release(blocks);
  EXPECT_EQ(hit(cache, sequence_of(21)), 20);
  EXPECT_EQ(hit(cache, sequence_of(13)), 12) << "sees position 7: block 1 is there";
  EXPECT_EQ(hit(cache, sequence_of(9)), 0) << "sees position 3: block 0 is gone";
}

TEST(SlidingWindow, SharingStopsWhereTheWindowHasPassed) {
  KvManager cache({{.num_blocks = 8, .window = 4}}, 4, false);
  SequenceBlocks leader, follower;
  ASSERT_TRUE(cache.grow(leader, 16));
  cache.drop_outside_window(leader, 12);  // sees 9 .. 12
  EXPECT_EQ(cache.share(leader, 9, follower), 0) << "position 8 sees 5";
  EXPECT_EQ(cache.share(leader, 12, follower), 12);
  EXPECT_FALSE(follower.groups[0][1].valid());
  cache.release(follower);
  cache.release(leader);
}

TEST(Capacity, DemandCountsOneWindowAndOneChunk) {
  KvManager cache({{.num_blocks = 100}, {.num_blocks = 5, .window = 8}}, 4, true);
  EXPECT_TRUE(cache.fits_alone(400, 8)) << "15 positions touch 5 blocks at most";
  EXPECT_FALSE(cache.fits_alone(400, 11));
  EXPECT_FALSE(cache.fits_alone(401, 8)) << "the full group has 100 blocks";
  EXPECT_TRUE(cache.fits_alone(20, 100)) << "a short sequence needs no more than its length";
  std::vector<int> demand;
  cache.add_demand({}, 400, 8, demand);
  EXPECT_EQ(demand, (std::vector<int>{100, 5}));
  EXPECT_TRUE(cache.covers(demand));
  SequenceBlocks blocks;
  ASSERT_TRUE(cache.grow(blocks, 8));
  demand.clear();
  cache.add_demand(blocks, 400, 8, demand);
  EXPECT_EQ(demand, (std::vector<int>{98, 3}));
  EXPECT_TRUE(cache.covers(demand));
  cache.release(blocks);
}

TEST(KvManager, TheMapShowsWhichBlocksAreFreeUsedSharedAndCached) {
  KvManager cache({{.num_blocks = 8}}, 4, true);
  EXPECT_EQ(cache.maps()[0].runs, "8f");
  SequenceBlocks first = compute(cache, sequence_of(8));  // two blocks
  compute_and_release(cache, sequence_of(4, 100));        // one that stays, known
  SequenceBlocks second;
  ASSERT_EQ(cache.match_prefix(sequence_of(6), "", second), 4);
  const CacheMap map = cache.maps()[0];
  EXPECT_EQ(map.runs, "1s1u1c5f");
  EXPECT_EQ(map.num_blocks, 8);
  EXPECT_EQ(map.shared, 1);
  EXPECT_EQ(map.used, 1);
  EXPECT_EQ(map.cached, 1);
  EXPECT_EQ(map.free, 5);
  cache.release(second);
  cache.release(first);
  EXPECT_EQ(cache.maps()[0].runs, "3c5f");
}

TEST(KvManager, TheMapOfAHugeCacheIsBoundedAndHidesNoUsedBlock) {
  const int num_blocks = 3 * CacheMap::kMaxCells - 1;
  KvManager cache({{.num_blocks = num_blocks}, {.num_blocks = 8, .window = 16}}, 4, true);
  SequenceBlocks blocks = compute(cache, sequence_of(16));  // four blocks: a cell and a third
  const std::vector<CacheMap> maps = cache.maps();
  EXPECT_EQ(maps[0].blocks_per_cell, 3);
  EXPECT_EQ(maps[0].runs, "2u" + std::to_string(CacheMap::kMaxCells - 2) + "f");
  EXPECT_EQ(maps[0].used, 4);
  EXPECT_EQ(maps[0].free, num_blocks - 4);
  EXPECT_EQ(maps[1].runs, "4u4f");
  EXPECT_EQ(maps[1].window, 16);
  cache.release(blocks);
}

TEST(KvManager, ResetForgetsWhatNobodyHolds) {
  KvManager cache({{.num_blocks = 8}}, 4, true);
  compute_and_release(cache, sequence_of(8, 100));
  SequenceBlocks held = compute(cache, sequence_of(8, 200));
  cache.reset_prefix_cache();
  EXPECT_EQ(hit(cache, sequence_of(9, 100)), 0);
  EXPECT_EQ(hit(cache, sequence_of(9, 200)), 8);
  cache.release(held);
  cache.reset_prefix_cache();
  EXPECT_EQ(cache.stats().cached_blocks, 0);
  EXPECT_EQ(cache.stats().free_blocks, 8);
  EXPECT_EQ(cache.check_invariants(), "");
}

TEST(KvManager, TheCheckSeesAReferenceThatNoSequenceExplains) {
  KvManager cache({{.num_blocks = 8}}, 4, true);
  SequenceBlocks blocks = compute(cache, sequence_of(8));
  const std::vector<const SequenceBlocks*> nobody;
  EXPECT_NE(cache.check_invariants(&nobody), "");
  cache.release(blocks);
  EXPECT_EQ(cache.check_invariants(&nobody), "");
}

}  // namespace
}  // namespace octavo
