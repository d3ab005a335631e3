// A word's symbols stand in a row, each pair of neighbours with the rank of its merge. Merging
// takes the lowest rank, leftmost first, until none is left. The short form keeps the row dense and
// erases from it; the long form links the row and keeps (rank, position) in a heap, where an entry
// is stale once its position's rank differs.
#include "text/bpe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <random>

#include "base/check.h"
#include "base/status_macros.h"
#include "text/unicode.h"

namespace octavo::text {
namespace {

constexpr size_t kShortWord = 128;       // symbols; beyond, the heap is faster
constexpr size_t kWholeWordBytes = 256;  // longer words are not looked up as one token

uint64_t process_seed() {
  static const uint64_t seed = (uint64_t{std::random_device{}()} << 32) | std::random_device{}();
  return seed;
}

uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t hash_bytes(std::string_view key) {
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15ull;
  static const uint64_t seed = process_seed();
  uint64_t h = seed ^ (key.size() * kOdd);
  const char* p = key.data();
  size_t n = key.size();
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = mix(h ^ word, kOdd ^ seed);
  }
  uint64_t tail = 0;
  if (n >= 4) {
    uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + n - 4, 4);
    tail = (uint64_t{high} << 32) | low;
  } else if (n > 0) {
    const auto* b = reinterpret_cast<const unsigned char*>(p);
    tail = b[0] | (b[n / 2] << 8) | (b[n - 1] << 16);
  }
  return mix(h ^ tail, 0xD6E8FEB86659FD93ull ^ seed);
}

uint64_t hash_pair(uint64_t pair) {
  static const uint64_t seed = process_seed() | 1;
  return mix(pair ^ seed, 0x9E3779B97F4A7C15ull);
}

uint64_t pair_key(TokenId left, TokenId right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
}

}  // namespace

void TokenIndex::reserve(size_t count, size_t bytes) {
  arena_.reserve(bytes);
  if (const size_t wanted = std::bit_ceil(std::max<size_t>(16, count * 2)); wanted > slots_.size())
    grow(wanted);
}

void TokenIndex::grow(size_t slots) {
  std::vector<Slot> old(slots);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    size_t i = hash_bytes({arena_.data() + slot.offset, slot.length}) & (slots - 1);
    while (slots_[i].id >= 0) i = (i + 1) & (slots - 1);
    slots_[i] = slot;
  }
}

bool TokenIndex::insert(std::string_view key, TokenId id) {
  if ((count_ + 1) * 2 > slots_.size()) grow(std::max<size_t>(16, slots_.size() * 2));
  const uint64_t hash = hash_bytes(key);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  size_t i = hash & (slots_.size() - 1);
  for (; slots_[i].id >= 0; i = (i + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[i];
    if (slot.tag == tag && key == std::string_view(arena_.data() + slot.offset, slot.length))
      return false;
  }
  slots_[i] = {tag, id, static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(key.size())};
  arena_.append(key);
  ++count_;
  return true;
}

TokenId TokenIndex::find(std::string_view key) const {
  if (slots_.empty()) return -1;
  const uint64_t hash = hash_bytes(key);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t i = hash & (slots_.size() - 1); slots_[i].id >= 0;
       i = (i + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[i];
    if (slot.tag == tag && slot.length == key.size() &&
        std::memcmp(key.data(), arena_.data() + slot.offset, key.size()) == 0) {
      return slot.id;
    }
  }
  return -1;
}

Bpe::Bpe(BpeConfig config, TokenIndex index, int id_limit)
    : config_(std::move(config)),
      index_(std::move(index)),
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
  std::unique_ptr<Bpe> bpe(new Bpe(std::move(config), std::move(index), id_limit));
  RETURN_IF_ERROR(bpe->add_merges(merges));
  return std::unique_ptr<const Bpe>(std::move(bpe));
}

Status Bpe::add_merges(const std::vector<Merge>& merges) {
  pairs_.resize(std::bit_ceil(std::max<size_t>(16, merges.size() * 2)));
  pair_mask_ = pairs_.size() - 1;
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
    const uint64_t pair = pair_key(a, b);
    size_t i = hash_pair(pair) & pair_mask_;
    while (pairs_[i].rank != kNoRank && pairs_[i].pair != pair) i = (i + 1) & pair_mask_;
    const auto rank = static_cast<uint32_t>(config_.rank_is_id ? static_cast<size_t>(merged) : r);
    pairs_[i] = {pair, rank, merged};  // written twice: the later rank counts
  }
  return ok_status();
}

inline const Bpe::PairSlot& Bpe::find_pair(TokenId left, TokenId right) const {
  const uint64_t pair = pair_key(left, right);
  size_t i = hash_pair(pair) & pair_mask_;
  while (pairs_[i].pair != pair && pairs_[i].rank != kNoRank) i = (i + 1) & pair_mask_;
  return pairs_[i];
}

bool Bpe::encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const {
  if (word.empty()) return true;
  TokenId whole = -1;
  if (config_.ignore_merges || (plain_symbols_ && word.size() <= kWholeWordBytes)) {
    whole = index_.find(word);
  }
  if (whole < 0) {
    encode_symbols(word, scratch, out);
    return true;
  }
  if (config_.ignore_merges) {
    out.push_back(whole);
    return true;
  }
  const uint8_t state = whole_[whole].load(std::memory_order_relaxed);
  if (state == kYes) {
    out.push_back(whole);
    return true;
  }
  const size_t before = out.size();
  encode_symbols(word, scratch, out);
  if (state == kUnknown) {
    const bool yes = out.size() == before + 1 && out.back() == whole;
    whole_[whole].store(yes ? kYes : kNo, std::memory_order_relaxed);
  }
  return true;
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

void Bpe::encode_symbols(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const {
  std::vector<TokenId>& ids = scratch.ids;
  ids.clear();
  bool after_unknown = false;
  for (size_t i = 0; i < word.size();) {
    int length = 1;
    const auto lead = static_cast<unsigned char>(word[i]);
    if (!config_.byte_level && lead >= 0x80) decode_valid(word.data() + i, length);
    std::string_view symbol = word.substr(i, length);
    const bool first = i == 0;
    i += length;
    TokenId id = -1;
    if (plain_symbols_) {
      id = length == 1 ? byte_id_[lead] : index_.find(symbol);
    } else {
      scratch.key = (first ? "" : config_.continuing_prefix) + std::string(symbol) +
                    (i == word.size() ? config_.end_suffix : "");
      symbol = scratch.key;
      id = index_.find(symbol);
    }
    if (id >= 0) {
      ids.push_back(id);
      after_unknown = false;
    } else {
      append_unknown(symbol, after_unknown, ids);
    }
  }
  if (ids.size() <= 1) {
    out.insert(out.end(), ids.begin(), ids.end());
  } else if (ids.size() <= kShortWord) {
    merge_short(scratch, out);
  } else {
    merge_long(scratch, out);
  }
}

void Bpe::merge_short(Scratch& scratch, std::vector<TokenId>& out) const {
  std::array<TokenId, kShortWord> ids;
  std::array<uint32_t, kShortWord> ranks;  // of the pair (i, i + 1)
  size_t n = scratch.ids.size();
  std::copy(scratch.ids.begin(), scratch.ids.end(), ids.begin());
  for (size_t i = 0; i + 1 < n; ++i) ranks[i] = rank(ids[i], ids[i + 1]);
  while (n > 1) {
    uint32_t best = kNoRank;
    size_t at = 0;
    for (size_t i = 0; i + 1 < n; ++i) {
      if (ranks[i] < best) best = ranks[i], at = i;
    }
    if (best == kNoRank) break;
    ids[at] = find_pair(ids[at], ids[at + 1]).merged;
    std::memmove(ids.data() + at + 1, ids.data() + at + 2, (n - at - 2) * sizeof(TokenId));
    std::memmove(ranks.data() + at, ranks.data() + at + 1, (n - at - 2) * sizeof(uint32_t));
    --n;
    if (at + 1 < n) ranks[at] = rank(ids[at], ids[at + 1]);
    if (at > 0) ranks[at - 1] = rank(ids[at - 1], ids[at]);
  }
  out.insert(out.end(), ids.begin(), ids.begin() + static_cast<ptrdiff_t>(n));
}

void Bpe::merge_long(Scratch& scratch, std::vector<TokenId>& out) const {
  std::vector<TokenId>& ids = scratch.ids;
  std::vector<uint32_t>&ranks = scratch.ranks, &prev = scratch.prev, &next = scratch.next;
  std::vector<uint64_t>& heap = scratch.heap;  // rank << 32 | position
  const auto n = static_cast<uint32_t>(ids.size());
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
    ids[at] = find_pair(ids[at], ids[gone]).merged;
    ranks[gone] = kNoRank;
    next[at] = next[gone];
    if (next[at] < n) prev[next[at]] = at;
    update(at);
    if (prev[at] < n) update(prev[at]);
  }
  for (uint32_t i = 0; i < n; i = next[i]) out.push_back(ids[i]);
}

}  // namespace octavo::text
