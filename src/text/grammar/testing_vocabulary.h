// A small vocabulary for tests of grammars: every byte, and pieces of JSON and of words that lie
// across the borders of a grammar's rules. The last token ends an answer, the one before is
// special.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace octavo::text {

class TestVocabulary : public Tokenizer {
 public:
  TestVocabulary() {
    for (int byte = 0; byte < 256; ++byte) tokens_.emplace_back(1, static_cast<char>(byte));
    for (const char* piece :
         {"{\"",   "\":",   "\": ",    "\",\"",    "\", \"",   "\"}",
          "},{\"", "[{\"",  "}]",      "[]",       "{}",       "],",
          "true",  "false", "null",    "true,",    "1,",       "12",
          "123",   "000",   "0.",      ".5",       "-1",       "e1",
          "ab",    "abc",   "the ",    " of",      "name",     "value",
          "\\n",   "\\\"",  "\\u00",   "\xC3\xA9", "\xE6\x97", "\xE6\x97\xA5\xE6",
          "  ",    "\n  ",  "-0",      "20",       "T00",      ":00",
          "Z\"",   "://",   "aaaaaaaa"})
      tokens_.emplace_back(piece);
    tokens_.emplace_back("<|special|>");
    tokens_.emplace_back("<|end|>");
  }
  TokenId end() const { return vocab_size() - 1; }

  // The longest token at every place.
  StatusOr<std::vector<TokenId>> encode(std::string_view text, EncodeOptions) const override {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      size_t best = 0;
      TokenId id = 0;
      for (TokenId t = 0; t < end() - 1; ++t) {
        const std::string& token = tokens_[static_cast<size_t>(t)];
        if (token.size() > best && text.starts_with(token)) best = token.size(), id = t;
      }
      ids.push_back(id);
      text.remove_prefix(best);
    }
    return ids;
  }
  std::string decode(std::span<const TokenId> ids, bool) const override {
    std::string text;
    for (const TokenId id : ids) text += token_bytes(id);
    return text;
  }
  std::string_view token_bytes(TokenId id) const override {
    return id < 0 || id >= vocab_size() ? std::string_view() : tokens_[static_cast<size_t>(id)];
  }
  std::string token_string(TokenId id) const override { return std::string(token_bytes(id)); }
  TokenId token_id(std::string_view text) const override {
    const auto found = std::find(tokens_.begin(), tokens_.end(), text);
    return found == tokens_.end() ? -1 : static_cast<TokenId>(found - tokens_.begin());
  }
  bool is_special(TokenId id) const override { return id >= end() - 1; }
  int vocab_size() const override { return static_cast<int>(tokens_.size()); }
  const TextJoin& text_join() const override { return join_; }

 private:
  std::vector<std::string> tokens_;
  TextJoin join_;
};

}  // namespace octavo::text
