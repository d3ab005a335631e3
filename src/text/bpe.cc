// A row of symbols is cut into parts, and in each part each pair of neighbours has the rank of its
// merge. Merging takes the lowest rank, leftmost first, until none is left. The short form keeps
// the row dense and erases from it; the long form links the row and keeps (rank, position) in a
// heap, where an entry is stale once its position's rank differs.
#include "text/bpe.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <functional>

#include "base/status_macros.h"
#include "base/utf8.h"
#include "text/bpe_atoms.h"
#include "text/unicode.h"

namespace octavo::text {
namespace {

constexpr size_t kShortPart = 128;       // symbols; beyond, the heap is faster
constexpr size_t kWholeWordBytes = 256;  // longer words are not looked up as one token
constexpr uint32_t kNoRank = MergeTable::kNoRank;

size_t first_char_size(std::string_view text) {
  int length = 0;
  decode_valid(text.data(), length);
  return static_cast<size_t>(length);
}

}  // namespace

Bpe::Bpe(BpeConfig config, TokenIndex index, size_t merges, int id_limit)
    : config_(std::move(config)),
      index_(std::move(index)),
      merges_(merges),
      touching_(merges / 2),
      plain_symbols_(config_.continuing_prefix.empty() && config_.end_suffix.empty()),
      whole_(new std::atomic<uint8_t>[static_cast<size_t>(id_limit)]) {
  for (int i = 0; i < id_limit; ++i) whole_[i].store(kUnknown, std::memory_order_relaxed);
  for (int b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    byte_id_[b] = config_.byte_level || b < 0x80 ? index_.find({&byte, 1}) : -1;
    std::array<char, 8> name;
    std::snprintf(name.data(), name.size(), "<0x%02X>", b);
    fallback_id_[b] = config_.byte_fallback ? index_.find(name.data()) : -1;
  }
}

StatusOr<std::unique_ptr<const Bpe>> Bpe::build(BpeConfig config, TokenIndex index,
                                                const std::vector<Merge>& merges, int id_limit) {
  std::unique_ptr<Bpe> bpe(new Bpe(std::move(config), std::move(index), merges.size(), id_limit));
  RETURN_IF_ERROR(bpe->add_merges(merges));
  if (bpe->plain_symbols_) {
    bpe->find_symbols(merges);
    bpe->find_touching(merges);
  }
  return std::unique_ptr<const Bpe>(std::move(bpe));
}

Status Bpe::add_merges(const std::vector<Merge>& merges) {
  const auto missing = [&](size_t rank, std::string_view token) {
    std::string shown = config_.byte_level ? bytes_to_alphabet(token) : std::string(token);
    return data_loss("merge " + std::to_string(rank) + " names '" + shown.substr(0, 100) +
                     "', which is not in the vocabulary");
  };
  std::string joined;
  for (size_t r = 0; r < merges.size(); ++r) {
    const auto& [left, right] = merges[r];
    const TokenId a = index_.find(left), b = index_.find(right);
    if (a < 0) return missing(r, left);
    if (b < 0) return missing(r, right);
    joined.assign(left);
    joined.append(right.substr(std::min(right.size(), config_.continuing_prefix.size())));
    const TokenId merged = index_.find(joined);
    if (merged < 0) return missing(r, joined);
    const auto rank = static_cast<uint32_t>(config_.rank_is_id ? static_cast<size_t>(merged) : r);
    merges_.add(a, b, {rank, merged});  // named twice: the later rank counts
  }
  return ok_status();
}

// The symbols of characters: what the vocabulary holds, at byte level only the atoms. Those need
// every byte of a text to have a token: where one vanishes, its neighbours become each other's.
void Bpe::find_symbols(const std::vector<Merge>& merges) {
  if (config_.byte_level) {
    const auto missing = [&](int from, int to) {
      return std::find(byte_id_ + from, byte_id_ + to, -1) != byte_id_ + to;
    };
    if (missing(0, 0xC0) || missing(0xC2, 0xF5)) return;
    char_id_ = find_atoms(merges_, merges, index_, byte_id_);
    return;
  }
  char_id_.assign(0x10000, -1);
  std::string bytes;
  for (char32_t c = 0x80; c < char_id_.size(); ++c) {
    bytes.clear();
    append_utf8(bytes, c);
    if (c < 0xD800 || c >= 0xE000) char_id_[c] = index_.find(bytes);
  }
}

// A merge reaches across two symbols that touch when its left side ends with the one and its right
// side begins with the other. That is read off the sides' text, which holds as long as no merge
// takes a stand-in (a fallback byte, the unknown token), whose text is not that of the symbol.
void Bpe::find_touching(const std::vector<Merge>& merges) {
  const auto stands_in = [&](std::string_view token) {
    const TokenId id = index_.find(token);
    return id == config_.unk_id ||
           (config_.byte_fallback && token.starts_with("<0x") &&
            std::find(fallback_id_, fallback_id_ + 256, id) != fallback_id_ + 256);
  };
  const auto symbols_at = [&](std::string_view token, bool last) {
    const char32_t c = last ? last_char(token) : first_char(token);
    if (config_.byte_level) {
      return std::array{byte_id_[static_cast<unsigned char>(last ? token.back() : token.front())],
                        c < char_id_.size() && c != 0 ? char_id_[c] : -1};
    }
    return std::array{index_.find(last ? token.substr(previous_char(token, token.size()))
                                       : token.substr(0, first_char_size(token))),
                      -1};
  };
  for (const auto& [left, right] : merges) {
    if (stands_in(left) || stands_in(right)) return;
  }
  for (const auto& [left, right] : merges) {
    if (left.empty() || right.empty()) continue;  // no symbol is empty
    for (const TokenId a : symbols_at(left, true)) {
      for (const TokenId b : symbols_at(right, false)) {
        if (a >= 0 && b >= 0) touching_.add(merges_.hash(a, b));
      }
    }
  }
  cuts_ = true;
}

bool Bpe::encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const {
  if (word.empty()) return true;
  if (word.size() > WordCache::kMaxBytes) {
    encode_uncached(word, scratch, out);
    return true;
  }
  WordCache& cache = WordCache::of_thread(owner_);
  const WordCache::Key key(word);
  if (cache.append(key, out)) return true;
  const size_t before = out.size();
  encode_uncached(word, scratch, out);
  cache.put(key, out.data() + before, out.size() - before);
  return true;
}

void Bpe::encode_uncached(std::string_view word, Scratch& scratch,
                          std::vector<TokenId>& out) const {
  TokenId whole = -1;
  if (config_.ignore_merges || (plain_symbols_ && word.size() <= kWholeWordBytes)) {
    whole = index_.find(word);
  }
  if (whole < 0) return encode_symbols(word, scratch, out);
  const uint8_t state = whole_[whole].load(std::memory_order_relaxed);
  if (config_.ignore_merges || state == kYes) {
    out.push_back(whole);
    return;
  }
  const size_t before = out.size();
  encode_symbols(word, scratch, out);
  if (state == kUnknown) {
    const bool yes = out.size() == before + 1 && out.back() == whole;
    whole_[whole].store(yes ? kYes : kNo, std::memory_order_relaxed);
  }
}

// A symbol outside the vocabulary: its bytes, the unknown token, or nothing.
void Bpe::append_unknown(std::string_view symbol, bool& after_unknown,
                         std::vector<TokenId>& ids) const {
  if (config_.byte_fallback) {
    const auto known = [&](char b) { return fallback_id_[static_cast<unsigned char>(b)] >= 0; };
    if (std::all_of(symbol.begin(), symbol.end(), known)) {
      for (const char b : symbol) ids.push_back(fallback_id_[static_cast<unsigned char>(b)]);
      after_unknown = false;
      return;
    }
  }
  if (config_.unk_id < 0) return;
  if (!(config_.fuse_unk && after_unknown)) ids.push_back(config_.unk_id);
  after_unknown = true;
}

// The symbol of the character (at byte level: the atom or the byte) at `pos`; -1: none.
inline TokenId Bpe::symbol_at(std::string_view word, size_t pos, int& length) const {
  const auto lead = static_cast<unsigned char>(word[pos]);
  length = 1;
  if (lead < 0x80) return byte_id_[lead];
  if (config_.byte_level) {  // an atom only between characters that are not ASCII
    if (lead < 0xC0 || lead >= 0xF0 || char_id_.empty()) return byte_id_[lead];
    if (pos > 0 && static_cast<unsigned char>(word[pos - 1]) < 0x80) return byte_id_[lead];
    int bytes = 0;
    const TokenId atom = char_id_[decode_valid(word.data() + pos, bytes)];
    const size_t end = pos + static_cast<size_t>(bytes);
    if (atom < 0 || (end < word.size() && static_cast<unsigned char>(word[end]) < 0x80))
      return byte_id_[lead];
    length = bytes;
    return atom;
  }
  const char32_t c = decode_valid(word.data() + pos, length);
  if (c < char_id_.size()) return char_id_[c];
  return index_.find(word.substr(pos, static_cast<size_t>(length)));
}

void Bpe::append_symbols(std::string_view word, std::vector<TokenId>& ids) const {
  bool after_unknown = false;
  int length = 0;
  for (size_t pos = 0; pos < word.size(); pos += static_cast<size_t>(length)) {
    const TokenId id = symbol_at(word, pos, length);
    if (id >= 0) {
      ids.push_back(id);
      after_unknown = false;
    } else {
      append_unknown(word.substr(pos, static_cast<size_t>(length)), after_unknown, ids);
    }
  }
}

// The same where symbols are written with a prefix or suffix.
void Bpe::append_affixed_symbols(std::string_view word, Scratch& scratch) const {
  bool after_unknown = false;
  for (size_t pos = 0; pos < word.size();) {
    int length = 1;
    if (!config_.byte_level) decode_valid(word.data() + pos, length);
    const size_t end = pos + static_cast<size_t>(length);
    scratch.key = pos == 0 ? "" : config_.continuing_prefix;
    scratch.key.append(word.substr(pos, end - pos));
    if (end == word.size()) scratch.key.append(config_.end_suffix);
    pos = end;
    const TokenId id = index_.find(scratch.key);
    if (id >= 0) {
      scratch.ids.push_back(id);
      after_unknown = false;
    } else {
      append_unknown(scratch.key, after_unknown, scratch.ids);
    }
  }
}

void Bpe::encode_symbols(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const {
  std::vector<TokenId>& ids = scratch.ids;
  ids.clear();
  if (plain_symbols_) {
    append_symbols(word, ids);
  } else {
    append_affixed_symbols(word, scratch);
  }
  if (!cuts_) return merge_part(ids.data(), ids.size(), scratch, out);
  size_t begin = 0;
  for (size_t i = 1; i <= ids.size(); ++i) {
    if (i < ids.size() && touching_.may_hold(merges_.hash(ids[i - 1], ids[i]))) continue;
    merge_part(ids.data() + begin, i - begin, scratch, out);
    begin = i;
  }
}

inline void Bpe::merge_part(TokenId* ids, size_t count, Scratch& scratch,
                            std::vector<TokenId>& out) const {
  if (count == 1) {
    out.push_back(ids[0]);
  } else if (count <= kShortPart) {
    merge_short(ids, count, out);
  } else {
    merge_long(ids, count, scratch, out);
  }
}

void Bpe::merge_short(TokenId* ids, size_t count, std::vector<TokenId>& out) const {
  std::array<uint32_t, kShortPart> ranks;  // of the pair (i, i + 1)
  std::array<TokenId, kShortPart> merged;  // what it becomes
  const auto look_up = [&](size_t i) {
    const MergeTable::Join join = merges_.find(ids[i], ids[i + 1]);
    ranks[i] = join.rank;
    merged[i] = join.merged;
  };
  size_t n = count;
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    uint32_t best = kNoRank;
    size_t at = 0;
    for (size_t i = 0; i + 1 < n; ++i) {
      if (ranks[i] < best) best = ranks[i], at = i;
    }
    if (best == kNoRank) break;
    ids[at] = merged[at];
    --n;
    for (size_t i = at + 1; i < n; ++i) {
      ids[i] = ids[i + 1];
      ranks[i - 1] = ranks[i];
      merged[i - 1] = merged[i];
    }
    if (at + 1 < n) look_up(at);
    if (at > 0) look_up(at - 1);
  }
  out.insert(out.end(), ids, ids + n);
}

void Bpe::merge_long(TokenId* ids, size_t count, Scratch& scratch,
                     std::vector<TokenId>& out) const {
  std::vector<uint32_t>&ranks = scratch.ranks, &prev = scratch.prev, &next = scratch.next;
  std::vector<uint64_t>& heap = scratch.heap;  // rank << 32 | position
  const auto n = static_cast<uint32_t>(count);
  const auto rank = [&](TokenId left, TokenId right) { return merges_.find(left, right).rank; };
  ranks.assign(n, kNoRank);
  prev.resize(n);
  next.resize(n);
  heap.clear();
  for (uint32_t i = 0; i < n; ++i) {
    prev[i] = i - 1;  // of the first: wraps round, past every position
    next[i] = i + 1;
    if (i + 1 < n) ranks[i] = rank(ids[i], ids[i + 1]);
    if (ranks[i] != kNoRank) heap.push_back((uint64_t{ranks[i]} << 32) | i);
  }
  const auto later = std::greater<>();
  std::make_heap(heap.begin(), heap.end(), later);
  const auto update = [&](uint32_t i) {
    ranks[i] = next[i] < n ? rank(ids[i], ids[next[i]]) : kNoRank;
    if (ranks[i] == kNoRank) return;
    heap.push_back((uint64_t{ranks[i]} << 32) | i);
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const uint64_t top = heap.back();
    heap.pop_back();
    const auto at = static_cast<uint32_t>(top);
    if (ranks[at] != top >> 32) continue;
    const uint32_t gone = next[at];
    ids[at] = merges_.find(ids[at], ids[gone]).merged;
    ranks[gone] = kNoRank;
    next[at] = next[gone];
    if (next[at] < n) prev[next[at]] = at;
    update(at);
    if (prev[at] < n) update(prev[at]);
  }
  for (uint32_t i = 0; i < n; i = next[i]) out.push_back(ids[i]);
}

}  // namespace octavo::text
