// Byte-pair encoding: a word to the ids that its merges leave. Called by the tokenizer for each
// piece of text. Immutable after build() but for one cache of relaxed atomic flags; any thread.
//
// A word is looked for in the thread's WordCache, then as one token: each vocabulary entry keeps a
// flag that says whether its own text merges into just that entry, found out the first time the
// word is seen. Any other word becomes a row of symbols, is cut wherever no merge reaches across,
// and each part is merged by itself: up to 128 symbols by scanning for the lowest rank, more with a
// heap, so that a megabyte without a space costs n log n.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "octavo/sampling_params.h"
#include "octavo/status.h"
#include "text/merge_table.h"
#include "text/token_index.h"
#include "text/word_cache.h"
#include "text/word_model.h"

namespace octavo::text {

struct BpeConfig {
  bool byte_level =
      false;  // symbols are bytes, and keys of the index too; else they are characters
  bool byte_fallback = false;
  bool fuse_unk = false;
  bool ignore_merges = false;
  bool rank_is_id = false;        // a merge ranks as the token it makes; else by its place
  TokenId unk_id = -1;            // -1: a symbol outside the vocabulary vanishes
  std::string continuing_prefix;  // before each symbol of a word but the first
  std::string end_suffix;         // after the last symbol of a word
};

class Bpe final : public WordModel {
 public:
  using Merge = std::pair<std::string_view, std::string_view>;

  // `merges` by rank, in the index's keys. Fails where a merge names or makes a token that is not
  // in `index`. `id_limit`: one more than the largest id.
  static StatusOr<std::unique_ptr<const Bpe>> build(BpeConfig config, TokenIndex index,
                                                    const std::vector<Merge>& merges, int id_limit);

  // Never false: what the vocabulary lacks vanishes where there is no unknown token.
  bool encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const override;
  TokenId find(std::string_view key) const override { return index_.find(key); }

 private:
  Bpe(BpeConfig config, TokenIndex index, size_t merges, int id_limit);
  Status add_merges(const std::vector<Merge>& merges);
  void find_symbols(const std::vector<Merge>& merges);
  void find_touching(const std::vector<Merge>& merges);

  TokenId symbol_at(std::string_view word, size_t pos, int& length) const;
  void append_symbols(std::string_view word, std::vector<TokenId>& ids) const;
  void append_affixed_symbols(std::string_view word, Scratch& scratch) const;
  void append_unknown(std::string_view symbol, bool& after_unknown,
                      std::vector<TokenId>& ids) const;
  void encode_uncached(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const;
  void encode_symbols(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const;
  void merge_part(TokenId* ids, size_t count, Scratch& scratch, std::vector<TokenId>& out) const;
  void merge_short(TokenId* ids, size_t count, std::vector<TokenId>& out) const;
  void merge_long(TokenId* ids, size_t count, Scratch& scratch, std::vector<TokenId>& out) const;

  const uint64_t owner_ = WordCache::new_owner();
  BpeConfig config_;
  TokenIndex index_;
  MergeTable merges_;
  PairFilter touching_;        // pairs of symbols across which some merge reaches
  bool cuts_ = false;          // words are cut between symbols that do not touch
  bool plain_symbols_ = true;  // no prefix, no suffix
  TokenId byte_id_[256];       // the symbol of a byte (byte level) or of an ASCII character
  TokenId fallback_id_[256];   // "<0xE4>"
  // By character of the Basic Multilingual Plane, -1: none. Byte level: the atoms (bpe_atoms.h).
  std::vector<TokenId> char_id_;
  enum Whole : uint8_t { kUnknown, kYes, kNo };
  std::unique_ptr<std::atomic<uint8_t>[]> whole_;  // by id
};

}  // namespace octavo::text
