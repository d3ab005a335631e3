// WordPiece, BERT's model (the longest piece of the vocabulary from the left, again and again), and
// WordLevel (a word is in the vocabulary or it is unknown). Called by the tokenizer. Immutable
// after build; any thread.
//
// A word of n bytes costs at most n walks down a trie, each no longer than the longest piece.
#pragma once

#include <string>

#include "text/bpe.h"
#include "text/piece_trie.h"
#include "text/word_model.h"

namespace octavo::text {

class WordPiece final : public WordModel {
 public:
  struct Config {
    TokenId unk_id = -1;                   // a word that is no row of pieces; -1: an error then
    std::string continuing_prefix = "##";  // before each piece of a word but the first
    size_t max_chars = 100;                // a longer word is unknown
  };
  // `pieces`: the same strings as in `index`.
  WordPiece(Config config, TokenIndex index, PieceTrie pieces);

  bool encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const override;
  TokenId find(std::string_view key) const override { return index_.find(key); }

 private:
  Config config_;
  TokenIndex index_;
  PieceTrie pieces_;
  int32_t continuing_;  // the node of the prefix; -1: no piece has it
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
