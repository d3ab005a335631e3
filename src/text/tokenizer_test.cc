// The tokenizer that comes with Octavo: what it encodes, decodes and knows, how long that takes,
// and from many threads.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <thread>

#include "base/clock.h"
#include "text/testing_tokenizer.h"
#include "text/unicode.h"

namespace octavo::text {
namespace {

using Ids = std::vector<TokenId>;

TEST(OctavoTiny, EncodesAndDecodes) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 8192);
  EXPECT_EQ(must_encode(*tokenizer, "Hello"), Ids{1535});
  const std::string text =
      "<|im_start|>user\nWhat's 12 + 34?\n<|im_end|> <think>naïve 你好 👍</think>";
  const Ids ids = must_encode(*tokenizer, text);
  EXPECT_EQ(ids.front(), 8186);
  EXPECT_EQ(tokenizer->decode(ids, false), text);
  EXPECT_EQ(tokenizer->decode(ids, true), "user\nWhat's 12 + 34?\n <think>naïve 你好 👍</think>");
}

TEST(OctavoTiny, KnowsItsTokens) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_TRUE(tokenizer->is_special(8187));
  EXPECT_FALSE(tokenizer->is_special(8190));
  EXPECT_EQ(tokenizer->token_string(8190), "<think>");
  EXPECT_EQ(tokenizer->token_id("<think>"), 8190);
  EXPECT_EQ(tokenizer->token_id("\xC4\xA0the"), must_encode(*tokenizer, " the").at(0));
  EXPECT_EQ(tokenizer->token_bytes(tokenizer->token_id("\xC4\xA0the")), " the");
  EXPECT_EQ(tokenizer->token_id("no such token"), -1);
  for (TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
    EXPECT_EQ(tokenizer->token_id(tokenizer->token_string(id)), id);
  }
  for (const TokenId id :
       {-1, 8192, std::numeric_limits<TokenId>::max(), std::numeric_limits<TokenId>::min()}) {
    EXPECT_EQ(tokenizer->token_string(id), "");
    EXPECT_EQ(tokenizer->token_bytes(id), "");
    EXPECT_FALSE(tokenizer->is_special(id));
    EXPECT_EQ(tokenizer->decode(Ids{id}, false), "");
  }
}

TEST(OctavoTiny, RefusesInvalidUtf8) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  for (const std::string_view bad : {"a\xFF", "\xE4\xBD", "\xED\xA0\x80", "\xC0\x80"}) {
    EXPECT_EQ(tokenizer->encode(bad, {}).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(OctavoTiny, LoadsFastEnoughForTheServersStart) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's build says nothing about time";
#endif
  const double start = thread_cpu_seconds();
  const auto tokenizer = octavo_tiny();
  const double seconds = thread_cpu_seconds() - start;
  RecordProperty("milliseconds", std::to_string(seconds * 1e3));
  EXPECT_LT(seconds, 0.1);
}

TEST(Encode, LongWordsAndHostileTextTakeLinearTime) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  std::string marks;
  for (int i = 0; i < 250000; ++i) marks += i % 2 == 0 ? "\xCC\x81" : "\xCC\xA3";
  std::string lengthening;
  for (int i = 0; i < 100000; ++i) lengthening += "abcdefghij";
  for (const std::string& text :
       {std::string(1 << 20, 'a'), lengthening, std::string(1 << 20, ' '),
        std::string(1 << 20, '\n'), std::string(1 << 20, '<'), std::string(1 << 20, '\''), marks}) {
    const double start = thread_cpu_seconds();
    const Ids ids = must_encode(*tokenizer, text);
    EXPECT_LT(thread_cpu_seconds() - start, 5.0) << text.substr(0, 20);
    EXPECT_EQ(tokenizer->decode(ids, false), text);
  }
  const double start = thread_cpu_seconds();
  normalize(marks, NormalForm::kNfc);
  EXPECT_LT(thread_cpu_seconds() - start, 5.0);
}

TEST(Encode, ManyThreadsAgree) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 rng(5);
  const std::string text = random_tokenizer_text(rng, 5000);
  const Ids expected = must_encode(*octavo_tiny(), text);
  std::vector<std::thread> threads;
  std::vector<Ids> results(4);
  for (auto& result : results)
    threads.emplace_back([&] { result = must_encode(*tokenizer, text); });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

}  // namespace
}  // namespace octavo::text
