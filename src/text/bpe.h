// Byte-pair encoding: a word to the ids that its merges leave. Called by the tokenizer for each
// piece of text. Immutable after build() but for one cache of relaxed atomic flags; any thread.
//
// A word of up to 128 symbols is merged by scanning for the lowest rank, a longer one with a heap,
// so that a megabyte without a space costs n log n. Most words are one token: each vocabulary entry
// keeps a flag that says whether its own text merges into just that entry, found out the first time
// the word is seen.
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
#include "text/word_model.h"

namespace octavo::text {

// Byte strings to ids: open addressing over one arena of key bytes. The hash is keyed anew by each
// process, so that no file can choose keys that collide.
class TokenIndex {
 public:
  void reserve(size_t count, size_t bytes);
  // False, changing nothing, if `key` is there already.
  bool insert(std::string_view key, TokenId id);
  TokenId find(std::string_view key) const;  // -1: none
  size_t size() const { return count_; }

 private:
  struct Slot {
    uint32_t tag = 0;
    TokenId id = -1;
    uint32_t offset = 0;
    uint32_t length = 0;
  };
  void grow(size_t slots);
  std::vector<Slot> slots_;
  std::string arena_;
  size_t count_ = 0;
};

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
  static constexpr uint32_t kNoRank = UINT32_MAX;
  struct PairSlot {
    uint64_t pair = UINT64_MAX;
    uint32_t rank = kNoRank;
    TokenId merged = -1;
  };

  Bpe(BpeConfig config, TokenIndex index, int id_limit);
  Status add_merges(const std::vector<Merge>& merges);
  const PairSlot& find_pair(TokenId left, TokenId right) const;
  uint32_t rank(TokenId left, TokenId right) const { return find_pair(left, right).rank; }

  void encode_symbols(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const;
  void append_unknown(std::string_view symbol, bool& after_unknown,
                      std::vector<TokenId>& ids) const;
  void merge_short(Scratch& scratch, std::vector<TokenId>& out) const;
  void merge_long(Scratch& scratch, std::vector<TokenId>& out) const;

  BpeConfig config_;
  TokenIndex index_;
  std::vector<PairSlot> pairs_;
  uint64_t pair_mask_ = 0;
  bool plain_symbols_ = true;  // no prefix, no suffix
  TokenId byte_id_[256];       // the symbol of a byte (byte level) or of an ASCII character
  TokenId fallback_id_[256];   // "<0xE4>"
  enum Whole : uint8_t { kUnknown, kYes, kNo };
  std::unique_ptr<std::atomic<uint8_t>[]> whole_;  // by id
};

}  // namespace octavo::text
