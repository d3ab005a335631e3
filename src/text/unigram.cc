// Viterbi from the left: for each position, the best score of a path that ends there, the piece
// that it ends with, and where that piece begins. A character that no piece covers alone reads as
// unknown, at a price; neighbouring unknowns become one.
#include "text/unigram.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "text/unicode.h"

namespace octavo::text {
namespace {

constexpr uint32_t kNowhere = UINT32_MAX;

}  // namespace

Unigram::Unigram(Config config, TokenIndex index) : config_(config), index_(std::move(index)) {
  for (int b = 0; b < 256; ++b) {
    std::array<char, 8> name;
    std::snprintf(name.data(), name.size(), "<0x%02X>", b);
    fallback_id_[b] = config_.byte_fallback ? index_.find(name.data()) : -1;
  }
}

StatusOr<std::unique_ptr<const Unigram>> Unigram::build(Config config, TokenIndex index,
                                                        const std::vector<Piece>& pieces) {
  if (config.unk_id && (*config.unk_id < 0 || *config.unk_id >= static_cast<int>(pieces.size())))
    return data_loss("Unigram: unk_id is not a piece");
  std::unique_ptr<Unigram> model(new Unigram(config, std::move(index)));
  std::vector<PieceTrie::Entry> entries;
  entries.reserve(pieces.size());
  for (const Piece& piece : pieces) {
    if (piece.text.size() > kMaxPieceBytes)
      return data_loss("Unigram: a piece is longer than 1 KiB");
    if (piece.in_text) entries.push_back({piece.text, static_cast<TokenId>(model->scores_.size())});
    model->scores_.push_back(piece.score);
  }
  model->trie_ = PieceTrie(std::move(entries));
  return std::unique_ptr<const Unigram>(std::move(model));
}

// A stretch that the best path calls `id`; an unknown one may be a piece after all, or its bytes.
bool Unigram::append(std::string_view text, TokenId id, std::vector<TokenId>& out) const {
  if (id != config_.unk_id) {
    out.push_back(id);
    return true;
  }
  if (const TokenId piece = config_.as_sentencepiece ? -1 : index_.find(text); piece >= 0) {
    out.push_back(piece);
    return true;
  }
  const auto known = [&](char b) { return fallback_id_[static_cast<unsigned char>(b)] >= 0; };
  if (config_.byte_fallback && std::all_of(text.begin(), text.end(), known)) {
    for (const char b : text) out.push_back(fallback_id_[static_cast<unsigned char>(b)]);
    return true;
  }
  out.push_back(*config_.unk_id);
  return true;
}

// Fills scratch.prev and scratch.ids: where the piece that ends at a position begins, and its id.
// False where a character is unknown and there is no unknown token.
bool Unigram::find_best_path(std::string_view word, Scratch& scratch) const {
  const size_t size = word.size();
  std::vector<double>& best = scratch.scores;
  std::vector<uint32_t>& from = scratch.prev;
  std::vector<TokenId>& ids = scratch.ids;
  best.assign(size + 1, 0);
  from.assign(size + 1, kNowhere);
  ids.assign(size + 1, -1);
  const auto offer = [&](size_t begin, size_t end, TokenId id, double sum) {
    const double score = rounded(sum);
    if (from[end] != kNowhere && !(score > best[end])) return;
    best[end] = score;
    from[end] = static_cast<uint32_t>(begin);
    ids[end] = id;
  };
  for (size_t begin = 0; begin < size;) {
    int length = 0;
    decode_valid(word.data() + begin, length);
    const size_t one = begin + length;
    bool covered = false;
    int32_t node = PieceTrie::kRoot;
    for (size_t end = begin; end < size;) {
      node = trie_.child(node, static_cast<uint8_t>(word[end++]));
      if (node < 0) break;
      if (const TokenId piece = trie_.id_at(node); piece >= 0) {
        offer(begin, end, piece, scores_[piece] + best[begin]);
        covered |= end == one;
      }
    }
    if (!covered) {
      if (!config_.unk_id) return false;
      offer(begin, one, *config_.unk_id, config_.unk_score + best[begin]);
    }
    begin = one;
  }
  return true;
}

bool Unigram::encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const {
  if (!find_best_path(word, scratch)) return false;
  std::vector<uint32_t>& from = scratch.prev;
  const std::vector<TokenId>& ids = scratch.ids;
  // Backwards along the best path: its pieces' ends, unknown neighbours joined.
  std::vector<uint32_t>& ends = scratch.next;
  ends.clear();
  for (size_t end = word.size(); end > 0; end = from[end]) {
    const bool joins = !ends.empty() && config_.unk_id && ids[end] == *config_.unk_id &&
                       ids[ends.back()] == *config_.unk_id;
    if (joins) {
      from[ends.back()] = from[end];
    } else {
      ends.push_back(static_cast<uint32_t>(end));
    }
  }
  for (size_t i = ends.size(); i-- > 0;) {
    const size_t begin = from[ends[i]];
    if (!append(word.substr(begin, ends[i] - begin), ids[ends[i]], out)) return false;
  }
  return true;
}

}  // namespace octavo::text
