// A symbol is named by the byte it begins at: next[i] is where the next one begins, so that symbol
// i is word[i, next[i]). A heap holds (rank, symbol) of every pair that may join, the pair of a
// symbol and its right neighbour; an entry is stale once its symbol's rank differs.
#include "text/sentencepiece_bpe.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>

#include "text/unicode.h"

namespace octavo::text {

using PieceType = SentencePieceModel::PieceType;

SentencePieceBpe::SentencePieceBpe(const SentencePieceModel& model, TokenIndex index,
                                   PieceTrie user_defined)
    : index_(std::move(index)),
      user_defined_(std::move(user_defined)),
      ranks_(model.pieces.size(), kNeverJoins),
      unused_(model.pieces.size()),
      byte_fallback_(model.byte_fallback),
      whole_(new std::atomic<uint8_t>[model.pieces.size()]) {
  std::vector<TokenId> by_score;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const auto& piece = model.pieces[i];
    whole_[i].store(kUnknown, std::memory_order_relaxed);
    if (piece.type == PieceType::kUnknown) unk_id_ = static_cast<TokenId>(i);
    if (piece.type == PieceType::kUnused) unused_[i] = any_unused_ = true;
    if (piece.type == PieceType::kNormal || piece.type == PieceType::kUserDefined || unused_[i]) {
      by_score.push_back(static_cast<TokenId>(i));
      longest_ = std::max(longest_, piece.text.size());
    }
  }
  std::stable_sort(by_score.begin(), by_score.end(), [&](TokenId a, TokenId b) {
    return model.pieces[a].score > model.pieces[b].score;
  });
  uint32_t rank = 0;
  for (size_t i = 0; i < by_score.size(); ++i) {
    const bool equal =
        i > 0 && model.pieces[by_score[i]].score == model.pieces[by_score[i - 1]].score;
    if (i > 0 && !equal) ++rank;
    ranks_[by_score[i]] = rank;
  }
  for (int b = 0; b < 256; ++b) {
    std::array<char, 8> name;
    std::snprintf(name.data(), name.size(), "<0x%02X>", b);
    byte_id_[b] = byte_fallback_ ? index_.find(name.data()) : -1;
  }
}

bool SentencePieceBpe::encode(std::string_view word, Scratch& scratch,
                              std::vector<TokenId>& out) const {
  TokenId whole = !any_unused_ && word.size() <= longest_ ? index_.find(word) : -1;
  if (whole >= 0 && whole_[whole].load(std::memory_order_relaxed) == kYes) {
    out.push_back(whole);
    return true;
  }
  Seams seams;
  join(word, scratch, seams);
  const size_t before = out.size();
  bool after_unknown = false;
  for (size_t i = 0; i < word.size(); i = scratch.next[i])
    append(word.substr(i, scratch.next[i] - i), seams, after_unknown, out);
  if (whole >= 0) {
    const bool yes = out.size() == before + 1 && out.back() == whole;
    whole_[whole].store(yes ? kYes : kNo, std::memory_order_relaxed);
  }
  return true;
}

// The rank at which `pair`, whose left symbol has `left` bytes, joins.
uint32_t SentencePieceBpe::rank(std::string_view pair, size_t left, Seams& seams) const {
  if (pair.size() > longest_) return kNeverJoins;
  const TokenId id = index_.find(pair);
  if (id < 0) return kNeverJoins;
  if (unused_[id]) seams[pair] = left;
  return ranks_[id];
}

void SentencePieceBpe::join(std::string_view word, Scratch& scratch, Seams& seams) const {
  std::vector<uint32_t>&prev = scratch.prev, &next = scratch.next, &ranks = scratch.ranks;
  std::vector<TokenId>& frozen = scratch.ids;
  std::vector<uint64_t>& heap = scratch.heap;  // rank << 32 | symbol
  const auto size = static_cast<uint32_t>(word.size());
  prev.resize(size);
  next.resize(size);
  ranks.assign(size, kNeverJoins);
  frozen.assign(size, 0);
  heap.clear();
  for (uint32_t i = 0, before = size; i < size; before = i, i = next[i]) {
    int length = 0;
    decode_valid(word.data() + i, length);
    const size_t symbol = user_defined_.longest(word.substr(i)).bytes;
    frozen[i] = symbol > 0;
    prev[i] = before;
    next[i] = i + static_cast<uint32_t>(symbol > 0 ? symbol : length);
  }
  const auto later = std::greater<>();
  const auto consider = [&](uint32_t i) {
    const uint32_t right = next[i];
    ranks[i] = kNeverJoins;
    if (right == size || frozen[i] || frozen[right]) return;
    ranks[i] = rank(word.substr(i, next[right] - i), right - i, seams);
    if (ranks[i] == kNeverJoins) return;
    heap.push_back((uint64_t{ranks[i]} << 32) | i);
    std::push_heap(heap.begin(), heap.end(), later);
  };
  for (uint32_t i = 0; i < size; i = next[i]) consider(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const uint64_t top = heap.back();
    heap.pop_back();
    const auto left = static_cast<uint32_t>(top);
    if (ranks[left] != top >> 32) continue;
    const uint32_t right = next[left];
    ranks[right] = kNeverJoins;
    next[left] = next[right];
    if (next[left] < size) prev[next[left]] = left;
    if (prev[left] < size) consider(prev[left]);
    consider(left);
  }
}

// A symbol's piece. An unused one comes apart into the two that it was made of, and is unknown
// where it was not made of any.
void SentencePieceBpe::append(std::string_view symbol, const Seams& seams, bool& after_unknown,
                              std::vector<TokenId>& out) const {
  const TokenId id = index_.find(symbol);
  if (id < 0 || ranks_[id] == kNeverJoins) return append_unknown(symbol, after_unknown, out);
  if (!unused_[id]) {
    after_unknown = false;
    out.push_back(id);
    return;
  }
  const auto seam = seams.find(symbol);
  if (seam == seams.end()) return append_unknown(symbol, after_unknown, out);
  append(symbol.substr(0, seam->second), seams, after_unknown, out);
  append(symbol.substr(seam->second), seams, after_unknown, out);
}

void SentencePieceBpe::append_unknown(std::string_view symbol, bool& after_unknown,
                                      std::vector<TokenId>& out) const {
  if (byte_fallback_) {
    for (const char b : symbol) out.push_back(byte_id_[static_cast<unsigned char>(b)]);
  } else if (!after_unknown) {
    out.push_back(unk_id_);
  }
  after_unknown = true;
}

}  // namespace octavo::text
