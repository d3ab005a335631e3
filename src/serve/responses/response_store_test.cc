#include "serve/responses/response_store.h"

#include <gtest/gtest.h>

#include <thread>

namespace octavo::serve {
namespace {

constexpr double kHour = 3600;

StoredResponse response(const std::string& id, const std::string& previous = "",
                        size_t body_bytes = 10) {
  return {.owner = "me",
          .id = id,
          .previous_id = previous,
          .input_items = {{"i", "{}"}},
          .output_items = {{"o" + id, "[]"}},
          .body = std::string(body_bytes, 'x')};
}

std::string ids(const StatusOr<std::vector<ResponseStore::Pointer>>& chain) {
  if (!chain.ok()) return chain.status().message();
  std::string out;
  for (const auto& link : *chain) out += link->id;
  return out;
}

TEST(ResponseStore, FindsWhatItsOwnerPut) {
  ResponseStore store(1 << 20, kHour);
  store.put(response("a"));
  ASSERT_TRUE(store.find("me", "a").ok());
  EXPECT_EQ((*store.find("me", "a"))->body, "xxxxxxxxxx");
  EXPECT_EQ(store.find("you", "a").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(store.erase("you", "a").code(), StatusCode::kNotFound);
  EXPECT_EQ(store.chain("you", "a", 1000).status().code(), StatusCode::kNotFound);
}

TEST(ResponseStore, OneIdOfTwoOwnersIsTwoResponses) {
  ResponseStore store(1 << 20, kHour);
  store.put(response("a"));
  StoredResponse other = response("a");
  other.owner = "you";
  other.body = "theirs";
  store.put(std::move(other));
  EXPECT_EQ(store.size(), 2u);
  EXPECT_EQ((*store.find("you", "a"))->body, "theirs");
  EXPECT_EQ((*store.find("me", "a"))->body, "xxxxxxxxxx");
}

TEST(ResponseStore, TheSameIdAgainReplaces) {
  ResponseStore store(1 << 20, kHour);
  store.put(response("a", "", 1000));
  store.put(response("a", "", 10));
  EXPECT_EQ(store.size(), 1u);
  EXPECT_EQ(store.bytes(), response("a", "", 10).bytes());
}

TEST(ResponseStore, WhatWasUsedLeastRecentlyMakesRoom) {
  ResponseStore store(3 * response("a", "", 1000).bytes(), kHour);
  for (const char* id : {"a", "b", "c"}) store.put(response(id, "", 1000));
  ASSERT_TRUE(store.find("me", "a").ok());
  store.put(response("d", "", 1000));
  EXPECT_TRUE(store.find("me", "a").ok());
  const Status gone = store.find("me", "b").status();
  EXPECT_EQ(gone.code(), StatusCode::kNotFound);
  EXPECT_NE(gone.message().find("made room"), std::string::npos);
  EXPECT_EQ(store.size(), 3u);
}

TEST(ResponseStore, NeverHoldsMoreThanItMay) {
  constexpr size_t kMax = 100000;
  ResponseStore store(kMax, kHour);
  for (int i = 0; i < 2000; ++i) {
    store.put(response(std::to_string(i), "", static_cast<size_t>(i) * 37 % 5000));
    ASSERT_LE(store.bytes(), kMax);
  }
  store.put(response("huge", "", kMax));
  EXPECT_FALSE(store.find("me", "huge").ok());
  EXPECT_GT(store.size(), 10u);
}

TEST(ResponseStore, TooOldIsGone) {
  double now = 1000;
  ResponseStore store(1 << 20, 60, [&] { return now; });
  store.put(response("a"));
  store.put(response("b"));
  now += 50;
  EXPECT_TRUE(store.find("me", "a").ok());
  now += 50;
  EXPECT_TRUE(store.find("me", "a").ok());
  EXPECT_FALSE(store.find("me", "b").ok());
  EXPECT_EQ(store.size(), 1u);
}

TEST(ResponseStore, AChainIsToldFromItsBeginning) {
  ResponseStore store(1 << 20, kHour);
  store.put(response("a"));
  store.put(response("b", "a"));
  store.put(response("c", "b"));
  store.put(response("x", "a"));
  EXPECT_EQ(ids(store.chain("me", "c", 1000)), "abc");
  EXPECT_EQ(ids(store.chain("me", "x", 1000)), "ax");
}

TEST(ResponseStore, TheBeginningOfAChainInUseStays) {
  ResponseStore store(4 * response("a", "", 1000).bytes(), kHour);
  store.put(response("a", "", 1000));
  for (const char* id : {"p", "q", "r", "s"}) {
    ASSERT_TRUE(store.chain("me", "a", 1000).ok());
    store.put(response(id, "", 1000));
  }
  EXPECT_TRUE(store.find("me", "a").ok());
}

TEST(ResponseStore, FindsTheItemsOfAResponseAsLongAsItLives) {
  ResponseStore store(2 * response("a", "", 1000).bytes(), kHour);
  store.put(response("a", "", 1000));
  store.put(response("b", "", 1000));
  EXPECT_EQ(*store.find_item("me", "oa"), "[]");
  EXPECT_FALSE(store.find_item("you", "oa").ok());
  store.put(response("c", "", 1000));
  EXPECT_TRUE(store.find_item("me", "oa").ok()) << "its response was used last";
  EXPECT_EQ(store.find_item("me", "ob").status().code(), StatusCode::kNotFound);
  store.put(response("a", "", 500));
  EXPECT_TRUE(store.find_item("me", "oa").ok());
  ASSERT_TRUE(store.erase("me", "a").ok());
  EXPECT_FALSE(store.find_item("me", "oa").ok());
}

TEST(ResponseStore, AChainWithAGapSaysWhichIsMissing) {
  ResponseStore store(1 << 20, kHour);
  store.put(response("a"));
  store.put(response("b", "a"));
  ASSERT_TRUE(store.erase("me", "a").ok());
  EXPECT_NE(ids(store.chain("me", "b", 1000)).find("'a' not found"), std::string::npos);
}

TEST(ResponseStore, AChainThatIsTooLongOrACircleIsRefused) {
  ResponseStore store(1 << 20, kHour);
  store.put(response("a"));
  store.put(response("b", "a"));
  EXPECT_EQ(store.chain("me", "b", 7).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(store.chain("me", "b", 8).ok());
  store.put(response("a", "b"));
  EXPECT_EQ(store.chain("me", "b", 1 << 20).status().code(), StatusCode::kInvalidArgument);
}

TEST(ResponseStore, OfNoBytesKeepsNothingAndSaysSo) {
  ResponseStore store(0, kHour);
  store.put(response("a"));
  EXPECT_FALSE(store.enabled());
  EXPECT_NE(store.find("me", "a").status().message().find("--response-store-bytes 0"),
            std::string::npos);
}

TEST(ResponseStore, TakesManyThreads) {
  ResponseStore store(20000, kHour);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&store, t] {
      for (int i = 0; i < 500; ++i) {
        const std::string id = std::to_string(i % 50);
        store.put(response(id, i % 3 == 0 ? "" : std::to_string((i + t) % 50)));
        (void)store.find("me", id);
        (void)store.chain("me", id, 1000);
        (void)store.erase("me", std::to_string(i % 7));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(store.bytes(), 20000u);
}

}  // namespace
}  // namespace octavo::serve
