// Viterbi from the left: for each position, the best score of a path that ends there, the piece
// that it ends with, and where that piece begins. A character that no piece covers alone costs ten
// more than the worst piece and reads as unknown; neighbouring unknowns become one.
#include "text/unigram.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>

#include "text/unicode.h"

namespace octavo::text {
namespace {

constexpr double kUnknownPenalty = 10;
constexpr size_t kMaxPieceBytes = 4096;
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
  for (const Piece& piece : pieces) {
    if (piece.text.size() > kMaxPieceBytes)
      return data_loss("Unigram: a piece is longer than 4 KiB");
  }
  std::unique_ptr<Unigram> model(new Unigram(config, std::move(index)));
  double worst = std::numeric_limits<double>::infinity();
  for (const Piece& piece : pieces) {
    model->scores_.push_back(piece.score);
    worst = std::min(worst, piece.score);
  }
  model->unk_score_ = worst - kUnknownPenalty;
  model->build_trie(pieces);
  return std::unique_ptr<const Unigram>(std::move(model));
}

void Unigram::build_trie(const std::vector<Piece>& pieces) {
  std::vector<TokenId> order(pieces.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
  std::sort(order.begin(), order.end(),
            [&](TokenId a, TokenId b) { return pieces[a].text < pieces[b].text; });
  // The pieces below node i are order[begin, end), and share their first `depth` bytes.
  struct Range {
    uint32_t begin, end, depth;
  };
  std::vector<Range> ranges = {{0, static_cast<uint32_t>(order.size()), 0}};
  nodes_.resize(1);
  for (size_t i = 0; i < ranges.size(); ++i) {
    auto [at, end, depth] = ranges[i];
    for (; at < end && pieces[order[at]].text.size() == depth; ++at) nodes_[i].piece = order[at];
    nodes_[i].first_child = static_cast<uint32_t>(nodes_.size());
    while (at < end) {
      const char byte = pieces[order[at]].text[depth];
      uint32_t next = at;
      while (next < end && pieces[order[next]].text[depth] == byte) ++next;
      nodes_.push_back({.byte = static_cast<uint8_t>(byte)});
      ranges.push_back({at, next, depth + 1});
      ++nodes_[i].children;
      at = next;
    }
  }
  for (int b = 0; b < 256; ++b) root_child_[b] = -1;
  for (uint32_t i = 0; i < nodes_[0].children; ++i) {
    const uint32_t child = nodes_[0].first_child + i;
    root_child_[nodes_[child].byte] = static_cast<int32_t>(child);
  }
}

inline int32_t Unigram::child(int32_t node, uint8_t byte) const {
  if (node == 0) return root_child_[byte];
  const Node& parent = nodes_[node];
  const Node* begin = nodes_.data() + parent.first_child;
  const Node* end = begin + parent.children;
  if (parent.children > 8) {
    begin = std::lower_bound(begin, end, byte, [](const Node& n, uint8_t b) { return n.byte < b; });
  } else {
    while (begin != end && begin->byte < byte) ++begin;
  }
  return begin != end && begin->byte == byte ? static_cast<int32_t>(begin - nodes_.data()) : -1;
}

// A stretch that the best path calls `id`; an unknown one may be a piece after all, or its bytes.
bool Unigram::append(std::string_view text, TokenId id, std::vector<TokenId>& out) const {
  if (id != config_.unk_id) {
    out.push_back(id);
    return true;
  }
  if (const TokenId piece = index_.find(text); piece >= 0) {
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

bool Unigram::encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const {
  const size_t size = word.size();
  std::vector<double>& best = scratch.scores;
  std::vector<uint32_t>& from = scratch.prev;
  std::vector<TokenId>& ids = scratch.ids;
  best.assign(size + 1, 0);
  from.assign(size + 1, kNowhere);
  ids.assign(size + 1, -1);
  const auto offer = [&](size_t begin, size_t end, TokenId id, double score) {
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
    int32_t node = 0;
    for (size_t end = begin; end < size;) {
      node = child(node, static_cast<uint8_t>(word[end++]));
      if (node < 0) break;
      if (const TokenId piece = nodes_[node].piece; piece >= 0) {
        offer(begin, end, piece, scores_[piece] + best[begin]);
        covered |= end == one;
      }
    }
    if (!covered) {
      if (!config_.unk_id) return false;
      offer(begin, one, *config_.unk_id, unk_score_ + best[begin]);
    }
    begin = one;
  }
  // Backwards along the best path: its pieces' ends, unknown neighbours joined.
  std::vector<uint32_t>& ends = scratch.next;
  ends.clear();
  for (size_t end = size; end > 0; end = from[end]) {
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
