// Unigram, SentencePiece's language model over pieces: of all ways to write a word as pieces, the
// one with the greatest sum of log probabilities (Kudo 2018, "Subword Regularization"). Called by
// the tokenizer. Immutable after build; any thread.
//
// Pieces lie in a trie whose nodes stand breadth first, so that the children of a node are
// neighbours, ordered by byte. A word of n bytes costs n walks down the trie, each at most as long
// as the longest piece.
#pragma once

#include <memory>
#include <optional>

#include "octavo/status.h"
#include "text/bpe.h"
#include "text/word_model.h"

namespace octavo::text {

class Unigram final : public WordModel {
 public:
  struct Piece {
    std::string_view text;
    double score;
  };
  struct Config {
    std::optional<TokenId> unk_id;
    bool byte_fallback = false;
  };
  // A piece's id is its place in `pieces`; `index` holds the same strings.
  static StatusOr<std::unique_ptr<const Unigram>> build(Config config, TokenIndex index,
                                                        const std::vector<Piece>& pieces);

  bool encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const override;
  TokenId find(std::string_view key) const override { return index_.find(key); }

 private:
  struct Node {
    uint32_t first_child = 0;
    uint16_t children = 0;
    uint8_t byte = 0;  // on the edge from its parent
    TokenId piece = -1;
  };
  Unigram(Config config, TokenIndex index);
  void build_trie(const std::vector<Piece>& pieces);
  int32_t child(int32_t node, uint8_t byte) const;
  bool append(std::string_view text, TokenId id, std::vector<TokenId>& out) const;

  Config config_;
  TokenIndex index_;
  std::vector<double> scores_;  // by id
  double unk_score_ = 0;
  std::vector<Node> nodes_;
  int32_t root_child_[256];
  TokenId fallback_id_[256];  // "<0xE4>"
};

}  // namespace octavo::text
