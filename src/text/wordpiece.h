// WordPiece, BERT's model (the longest piece of the vocabulary from the left, again and again), and
// WordLevel (a word is in the vocabulary or it is unknown). Called by the tokenizer. Immutable
// after build; any thread.
#pragma once

#include <string>

#include "text/bpe.h"
#include "text/word_model.h"

namespace octavo::text {

class WordPiece final : public WordModel {
 public:
  struct Config {
    TokenId unk_id = -1;                   // a word that is no row of pieces; -1: an error then
    std::string continuing_prefix = "##";  // before each piece of a word but the first
    size_t max_chars = 100;                // a longer word is unknown
    size_t longest_key = 0;                // bytes of the index's longest key
  };
  WordPiece(Config config, TokenIndex index)
      : config_(std::move(config)), index_(std::move(index)) {}

  bool encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const override;
  TokenId find(std::string_view key) const override { return index_.find(key); }

 private:
  Config config_;
  TokenIndex index_;
};

class WordLevel final : public WordModel {
 public:
  WordLevel(TokenId unk_id, TokenIndex index) : unk_id_(unk_id), index_(std::move(index)) {}

  bool encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const override;
  TokenId find(std::string_view key) const override { return index_.find(key); }

 private:
  TokenId unk_id_;  // -1: an unknown word is an error
  TokenIndex index_;
};

}  // namespace octavo::text
