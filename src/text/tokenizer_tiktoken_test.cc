// tiktoken files of our own making: merges by rank against a slow twin, special tokens, and files
// that are refused.
#include "text/tokenizer_tiktoken.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

namespace octavo::text {
namespace {

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = i; j < i + 3; ++j)
      group = group << 8 | (j < bytes.size() ? static_cast<uint8_t>(bytes[j]) : 0);
    for (size_t j = 0; j < 4; ++j)
      out += i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63];
  }
  return out;
}

using Ranks = std::map<std::string, TokenId>;

Ranks with_all_bytes(const std::vector<std::string>& longer) {
  Ranks ranks;
  for (int b = 0; b < 256; ++b) ranks[std::string(1, static_cast<char>(b))] = b;
  for (const std::string& token : longer) ranks.emplace(token, static_cast<TokenId>(ranks.size()));
  return ranks;
}

std::string file_of(const Ranks& ranks) {
  std::string text;
  for (const auto& [token, rank] : ranks) text += base64(token) + " " + std::to_string(rank) + "\n";
  return text;
}

TiktokenForm beside() {
  return parse_tiktoken_form(R"({"pattern": "\\S+|\\s+", "normalizer": "NFC",
                                "special_tokens": {"<|end|>": 1000}})")
      .value();
}

// The definition: the neighbours that make the token of the lowest rank, leftmost first.
std::vector<TokenId> merged(const Ranks& ranks, const std::string& word) {
  if (const auto whole = ranks.find(word); whole != ranks.end()) return {whole->second};
  std::vector<std::string> row;
  for (const char c : word) row.emplace_back(1, c);
  for (;;) {
    size_t at = row.size();
    TokenId best = INT32_MAX;
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      const auto found = ranks.find(row[i] + row[i + 1]);
      if (found != ranks.end() && found->second < best) best = found->second, at = i;
    }
    if (at == row.size()) break;
    row[at] += row[at + 1];
    row.erase(row.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  std::vector<TokenId> ids;
  for (const std::string& token : row) ids.push_back(ranks.at(token));
  return ids;
}

TEST(Tiktoken, MergesByTheRankOfWhatIsMade) {
  std::mt19937 random(7);
  for (int round = 0; round < 40; ++round) {
    std::vector<std::string> longer;
    for (int i = 0; i < 30; ++i) {
      std::string token;
      for (size_t n = 2 + random() % 4; n > 0; --n) token += static_cast<char>('a' + random() % 3);
      longer.push_back(token);
    }
    const Ranks ranks = with_all_bytes(longer);
    const auto tokenizer = parse_tiktoken(file_of(ranks), beside());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
    for (int i = 0; i < 50; ++i) {
      std::string word;
      // Some words take the heap, beyond 128 symbols.
      for (size_t n = 1 + random() % (i < 5 ? 300 : 12); n > 0; --n)
        word += static_cast<char>('a' + random() % 3);
      ASSERT_EQ(*(*tokenizer)->encode(word, {}), merged(ranks, word)) << word;
    }
  }
}

TEST(Tiktoken, KnowsSpecialTokensAndTakesThemAsPlainTextWhenAsked) {
  const Ranks ranks = with_all_bytes({"<|"});
  const auto tokenizer = parse_tiktoken(file_of(ranks), beside());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  const std::string text = "a<|end|>";
  EXPECT_EQ(*(*tokenizer)->encode(text, {}), (std::vector<TokenId>{'a', 1000}));
  const auto plain = (*tokenizer)->encode(text, {.parse_special_tokens = false});
  EXPECT_EQ(*plain, (std::vector<TokenId>{'a', 256, 'e', 'n', 'd', '|', '>'}));
  EXPECT_TRUE((*tokenizer)->is_special(1000));
  EXPECT_EQ((*tokenizer)->decode(std::vector<TokenId>{'a', 1000}, true), "a");
  EXPECT_EQ((*tokenizer)->decode(*plain, false), text);
  EXPECT_EQ((*tokenizer)->vocab_size(), 1001);
}

TEST(Tiktoken, RefusesFilesThatLie) {
  const std::string good = file_of(with_all_bytes({}));
  const auto message = [&](const std::string& more, const TiktokenForm& form) {
    const auto tokenizer = parse_tiktoken(good + more, form);
    return tokenizer.ok() ? "" : tokenizer.status().message();
  };
  const auto names = [](const std::string& all, std::string_view part) {
    return all.find(part) != std::string::npos ? "" : "got: " + all;
  };
  EXPECT_EQ(message("", beside()), "");
  EXPECT_EQ(names(message("YWI=", beside()), "line 257: no space"), "");
  EXPECT_EQ(names(message("Y!I= 300", beside()), "line 257"), "");
  EXPECT_EQ(names(message("YWI= 3x", beside()), "'3x' is no rank"), "");
  EXPECT_EQ(names(message("YWI= -1", beside()), "'-1' is no rank"), "");
  EXPECT_EQ(names(message("YWI= 9999999", beside()), "out of range"), "");
  EXPECT_EQ(names(message("YWI= 5", beside()), "two tokens have the id 5"), "");
  EXPECT_EQ(names(message("YWI= 300\nYWI= 301", beside()), "stands above already"), "");
  TiktokenForm taken = beside();
  taken.specials = {{"<|end|>", 5}};
  EXPECT_EQ(names(message("", taken), "two tokens have the id 5"), "");
  taken.specials = {{"<|end|>", 1 << 23}};
  EXPECT_EQ(names(message("", taken), "'<|end|>' has no usable id"), "");
  EXPECT_EQ(names(parse_tiktoken_form("{}").status().message(), "`pattern`"), "");
  EXPECT_EQ(names(parse_tiktoken("YQ== 0\n", beside()).status().message(), "byte 0 is no token"),
            "");
}

TokenizerSettings settings_with(std::vector<AddedToken> added) {
  TokenizerSettings settings;
  settings.added = std::move(added);
  return settings;
}

AddedToken special(TokenId id, const std::string& name) {
  AddedToken token;
  token.id = id;
  token.content = name;
  token.special = true;
  return token;
}

TEST(Tiktoken, TheSettingsNameSpecialTokensBeforeTheForm) {
  const std::string ranks = file_of(with_all_bytes({}));
  const auto kimi = find_tiktoken_form("tiktoken.model", "TikTokenTokenizer", 256);
  ASSERT_TRUE(kimi);
  const auto tokenizer = parse_tiktoken(ranks, *kimi, settings_with({special(257, "[EOS]")}));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  EXPECT_EQ((*tokenizer)->token_id("<|reserved_token_256|>"), 256);
  EXPECT_EQ((*tokenizer)->token_id("[EOS]"), 257);
  EXPECT_EQ((*tokenizer)->vocab_size(), 512);
}

TEST(Tiktoken, AFormMayPutTokensBeforeEveryText) {
  const std::string ranks = file_of(with_all_bytes({}));
  const auto glm = find_tiktoken_form("tokenizer.model", "ChatGLM4Tokenizer", 256);
  ASSERT_TRUE(glm);
  const auto tokenizer =
      parse_tiktoken(ranks, *glm, settings_with({special(300, "[gMASK]"), special(302, "<sop>")}));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  EXPECT_EQ(*(*tokenizer)->encode("a", {}), (std::vector<TokenId>{300, 302, 'a'}));
  EXPECT_EQ(*(*tokenizer)->encode("a", {.add_special_tokens = false}), (std::vector<TokenId>{'a'}));
}

TEST(Tiktoken, KnowsTheFilesThatAreInTheWorld) {
  const auto id = [](const TiktokenForm& form, std::string_view name) {
    for (const auto& special : form.specials) {
      if (special.name == name) return special.id;
    }
    return TokenId{-1};
  };
  const auto harmony = find_tiktoken_form("o200k_harmony.tiktoken", "", 199998);
  ASSERT_TRUE(harmony);
  EXPECT_EQ(id(*harmony, "<|call|>"), 200012);
  EXPECT_EQ(id(*harmony, "<|reserved_200013|>"), 200013);
  EXPECT_EQ(id(*harmony, "<|endofprompt|>"), 200018);
  EXPECT_EQ(id(*harmony, "<|reserved_201087|>"), 201087);
  const auto llama3 = find_tiktoken_form("tokenizer.model", "", 128000);
  ASSERT_TRUE(llama3);
  EXPECT_EQ(id(*llama3, "<|eot_id|>"), 128009);
  EXPECT_EQ(id(*llama3, "<|reserved_special_token_250|>"), 128255);
  const auto qwen = find_tiktoken_form("qwen.tiktoken", "", 151643);
  ASSERT_TRUE(qwen);
  EXPECT_EQ(id(*qwen, "<|extra_204|>"), 151850);
  EXPECT_FALSE(find_tiktoken_form("other.tiktoken", "SomeTokenizer", 1000));
}

}  // namespace
}  // namespace octavo::text
