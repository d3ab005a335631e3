// TokenStreamer: pieces of text, token by token.
#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"
#include "text/testing_tokenizer.h"

namespace octavo::text {
namespace {

using Ids = std::vector<TokenId>;

TEST(TokenStreamer, AddsUpToTheWholeDecoding) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 rng(4);
  for (int round = 0; round < 3000; ++round) {
    Ids ids;
    for (int i = 0; i < 12; ++i)
      ids.push_back(static_cast<TokenId>(rng() % 3 == 0 ? rng() % 8192 : rng() % 256));
    for (const bool skip : {false, true}) {
      TokenStreamer streamer(*tokenizer, skip);
      std::string text;
      for (const TokenId id : ids) {
        const std::string piece = streamer.append(id);
        EXPECT_TRUE(valid_utf8(piece));
        text += piece;
      }
      EXPECT_EQ(text + streamer.flush(), tokenizer->decode(ids, skip));
    }
  }
}

TEST(TokenStreamer, ShowsTheSpecialTokensItIsAskedToShow) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  const TokenId start = tokenizer->token_id("<|im_start|>"),
                end = tokenizer->token_id("<|im_end|>");
  TokenStreamer streamer(*tokenizer, true, {start});
  EXPECT_EQ(streamer.append(start), "<|im_start|>");
  EXPECT_EQ(streamer.append(end), "");
}

}  // namespace
}  // namespace octavo::text
