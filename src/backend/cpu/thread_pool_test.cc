// Tests of the thread pool and of the choice of instruction set.
#include "backend/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "backend/cpu/isa.h"

namespace octavo::cpu {
namespace {

TEST(ThreadPool, RunCallsEveryThreadOnce) {
  for (int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    std::vector<std::atomic<int>> calls(static_cast<size_t>(threads));
    for (int i = 0; i < 1000; ++i) pool.run([&](int t) { calls[static_cast<size_t>(t)]++; });
    for (auto& c : calls) EXPECT_EQ(c.load(), 1000);
  }
}

TEST(ThreadPool, ParallelForCoversEachIndexOnceInContiguousRangesOfWholeGrains) {
  for (int threads : {1, 2, 3, 4}) {
    ThreadPool pool(threads);
    for (int64_t n : {0, 1, 2, 15, 16, 17, 64, 100, 1000}) {
      for (int64_t grain : {1, 16, 32}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
        pool.parallel_for(n, grain, [&](int64_t begin, int64_t end, int thread) {
          EXPECT_LT(begin, end);
          EXPECT_EQ(begin % grain, 0);
          EXPECT_TRUE(end == n || end % grain == 0);
          EXPECT_LT(thread, threads);
          for (int64_t i = begin; i < end; ++i) seen[static_cast<size_t>(i)]++;
        });
        for (auto& s : seen) ASSERT_EQ(s.load(), 1);
      }
    }
  }
}

TEST(ThreadPool, WritesOfOneJobAreSeenByTheNext) {
  ThreadPool pool(3);
  std::vector<int64_t> values(3 * 64), sums(3);
  for (int64_t round = 1; round <= 2000; ++round) {
    pool.run([&](int t) { values[static_cast<size_t>(t) * 64] = round * (t + 1); });
    pool.run([&](int t) { sums[static_cast<size_t>(t)] = values[0] + values[64] + values[128]; });
    for (int64_t s : sums) ASSERT_EQ(s, 6 * round);
  }
}

TEST(ThreadPool, WakesParkedThreads) {
  ThreadPool pool(4);
  std::atomic<int> calls{0};
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    pool.run([&](int) { calls++; });
  }
  EXPECT_EQ(calls.load(), 80);
}

TEST(ThreadPool, CallerParksWhileAWorkerIsLate) {
  ThreadPool pool(2);
  for (int i = 0; i < 10; ++i) {
    bool done = false;
    pool.run([&](int thread) {
      if (thread == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      done = true;
    });
    EXPECT_TRUE(done);
  }
}

double process_cpu_seconds() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + 1e-6 * (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

TEST(ThreadPool, IdleThreadsUseNoProcessorTime) {
  ThreadPool pool(4);
  pool.run([](int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(process_cpu_seconds() - before, 0.02);
}

TEST(Isa, NamesRoundTripAndUnknownOnesAreRefused) {
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAmx})
    EXPECT_EQ(*parse_isa(to_string(isa)), isa);
  EXPECT_FALSE(parse_isa("neon").ok());
}

TEST(Isa, SelectTakesTheEnvironmentAndRefusesWhatTheMachineLacks) {
  const char* saved = std::getenv("OCTAVO_CPU_ISA");
  const std::string restore = saved == nullptr ? "" : saved;
  setenv("OCTAVO_CPU_ISA", "portable", 1);
  EXPECT_EQ(*select_isa(), Isa::kPortable);
  setenv("OCTAVO_CPU_ISA", "sse9", 1);
  EXPECT_EQ(select_isa().status().code(), StatusCode::kInvalidArgument);
  unsetenv("OCTAVO_CPU_ISA");
  EXPECT_EQ(*select_isa(), machine_isas().back());
  for (Isa isa : {Isa::kAvx2, Isa::kAvx512, Isa::kAmx})
    EXPECT_EQ(select_isa(isa).ok(), machine_has(isa));
  if (saved != nullptr) setenv("OCTAVO_CPU_ISA", restore.c_str(), 1);
}

}  // namespace
}  // namespace octavo::cpu
