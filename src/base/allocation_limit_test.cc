// Tests of AllocationLimit.
#include "base/allocation_limit.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace octavo {
namespace {

TEST(AllocationLimit, MemoryBeyondItIsRefusedAndEverythingAfter) {
  AllocationLimit limit(1 << 20, 60);
  EXPECT_NO_THROW(std::string(1 << 18, 'x'));
  EXPECT_THROW(std::string(2 << 20, 'x'), std::bad_alloc);
  EXPECT_TRUE(limit.exhausted());
  EXPECT_THROW(std::string(100, 'x'), std::bad_alloc);
}

TEST(AllocationLimit, WhatIsFreedCountsNoMore) {
  AllocationLimit limit(1 << 20, 60);
  for (int i = 0; i < 100; ++i) EXPECT_NO_THROW(std::string(1 << 19, 'x'));
  EXPECT_FALSE(limit.exhausted());
}

TEST(AllocationLimit, CodeThatRunsTooLongIsStopped) {
  AllocationLimit limit(1 << 20, 0.02);
  const auto run_for_ever = [] {
    char* volatile kept = nullptr;  // or the compiler would leave the allocations out
    for (size_t n = 100;; n = n % 1000 + 100) {
      auto memory = std::make_unique<char[]>(n);
      kept = memory.get();
      if (kept == nullptr) return;
    }
  };
  EXPECT_THROW(run_for_ever(), std::bad_alloc);
}

TEST(AllocationLimit, ConcernsNoOtherThreadAndEndsWithItsScope) {
  {
    AllocationLimit limit(1 << 10, 60);
    limit.exhaust();
    std::vector<int> elsewhere;
    // The thread's own start must not allocate under the limit, so it is made to end first.
    EXPECT_THROW(std::vector<int>(1000), std::bad_alloc);
  }
  std::thread([] { EXPECT_NO_THROW(std::vector<int>(1000)); }).join();
  EXPECT_NO_THROW(std::vector<int>(1000));
  EXPECT_EQ(AllocationLimit::current(), nullptr);
}

}  // namespace
}  // namespace octavo
