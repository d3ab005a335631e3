// SentencePieceBpe: SentencePiece's own byte-pair encoding. It has no list of merges: two
// neighbours may join if together they are a piece, and the pair whose piece has the best score
// joins first, of equals the leftmost. Called by the tokenizer. Immutable after build but for
// one cache of relaxed atomic flags; any thread.
//
// A word of n characters costs n log n; its neighbours are looked up as text, at most
// kMaxPieceBytes of it.
#pragma once

#include <atomic>
#include <memory>
#include <unordered_map>

#include "text/bpe.h"
#include "text/piece_trie.h"
#include "text/sentencepiece_model.h"
#include "text/word_model.h"

namespace octavo::text {

class SentencePieceBpe final : public WordModel {
 public:
  // `index` holds every piece, `user_defined` those that stand as they are. REQUIRES: an unknown
  // piece; with byte_fallback all 256 bytes; no piece longer than kMaxPieceBytes.
  SentencePieceBpe(const SentencePieceModel& model, TokenIndex index, PieceTrie user_defined);

  // Never false: there is always an unknown token.
  bool encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const override;
  TokenId find(std::string_view key) const override { return index_.find(key); }

 private:
  static constexpr uint32_t kNeverJoins = UINT32_MAX;
  // Where the pieces that come apart again were last put together: length of the left part.
  using Seams = std::unordered_map<std::string_view, size_t>;

  void join(std::string_view word, Scratch& scratch, Seams& seams) const;
  uint32_t rank(std::string_view pair, size_t left, Seams& seams) const;
  void append(std::string_view symbol, const Seams& seams, bool& after_unknown,
              std::vector<TokenId>& out) const;
  void append_unknown(std::string_view symbol, bool& after_unknown,
                      std::vector<TokenId>& out) const;

  TokenIndex index_;
  PieceTrie user_defined_;
  std::vector<uint32_t> ranks_;  // by id, 0 the first to join; kNeverJoins: text never reads so
  std::vector<bool> unused_;     // by id: joins, and comes apart again in the end
  bool any_unused_ = false;
  size_t longest_ = 0;  // bytes of the longest piece that joins
  TokenId unk_id_ = -1;
  bool byte_fallback_;
  TokenId byte_id_[256];
  enum Whole : uint8_t { kUnknown, kYes, kNo };
  std::unique_ptr<std::atomic<uint8_t>[]> whole_;  // by id: whether its own text becomes just it
};

}  // namespace octavo::text
