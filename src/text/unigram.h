// Unigram, SentencePiece's language model over pieces: of all ways to write a word as pieces, the
// one with the greatest sum of log probabilities (Kudo 2018, "Subword Regularization"). Called by
// the tokenizer. Immutable after build; any thread.
//
// A word of n bytes costs n walks down a trie, each at most as long as the longest piece.
#pragma once

#include <memory>
#include <optional>

#include "octavo/status.h"
#include "text/bpe.h"
#include "text/piece_trie.h"
#include "text/word_model.h"

namespace octavo::text {

class Unigram final : public WordModel {
 public:
  struct Piece {
    std::string_view text;
    double score;
    bool in_text = true;  // else it has an id, and text never reads as it
  };
  struct Config {
    std::optional<TokenId> unk_id;
    bool byte_fallback = false;
    double unk_score = 0;  // of a character that no piece covers
    // Reckon as SentencePiece itself does: sums are rounded to float at every step, and a stretch
    // of unknown characters is never looked up as a whole.
    bool as_sentencepiece = false;
  };
  // A piece's id is its place in `pieces`; `index` holds the same strings.
  static StatusOr<std::unique_ptr<const Unigram>> build(Config config, TokenIndex index,
                                                        const std::vector<Piece>& pieces);

  bool encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const override;
  TokenId find(std::string_view key) const override { return index_.find(key); }

 private:
  Unigram(Config config, TokenIndex index);
  double rounded(double score) const {
    return config_.as_sentencepiece ? static_cast<double>(static_cast<float>(score)) : score;
  }
  bool find_best_path(std::string_view word, Scratch& scratch) const;
  bool append(std::string_view text, TokenId id, std::vector<TokenId>& out) const;

  Config config_;
  TokenIndex index_;
  std::vector<double> scores_;  // by id
  PieceTrie trie_;
  TokenId fallback_id_[256];  // "<0xE4>"
};

}  // namespace octavo::text
