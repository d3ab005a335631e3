#include "text/bpe_atoms.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/utf8.h"

namespace octavo::text {
namespace {

constexpr char32_t kFirst = 0x80, kEnd = 0x10000;
constexpr uint32_t kNoRank = MergeTable::kNoRank;

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}
bool is_lead(char c) {
  return static_cast<unsigned char>(c) >= 0xC0;
}

void lower(uint32_t& rank, uint32_t other) {
  rank = std::min(rank, other);
}

// The lowest ranks at which merges take hold of a token or a character.
struct Lowest {
  std::unordered_map<TokenId, uint32_t>
      onto_front;                                   // of this token, by what ends in a continuation
  std::unordered_map<TokenId, uint32_t> onto_back;  // … by what begins with a lead byte
  std::vector<uint32_t> of_whole = std::vector<uint32_t>(kEnd, kNoRank);  // by character

  static uint32_t at(const std::unordered_map<TokenId, uint32_t>& ranks, TokenId id) {
    const auto found = ranks.find(id);
    return found == ranks.end() ? kNoRank : found->second;
  }
};

Lowest lowest_ranks(const MergeTable& merges,
                    const std::vector<std::pair<std::string_view, std::string_view>>& names,
                    const TokenIndex& index) {
  Lowest lowest;
  for (const auto& [left, right] : names) {
    if (left.empty() || right.empty()) continue;
    const TokenId a = index.find(left), b = index.find(right);
    const uint32_t rank = merges.find(a, b).rank;
    if (is_continuation(left.back()))
      lower(lowest.onto_front.try_emplace(b, kNoRank).first->second, rank);
    if (is_lead(right.front())) lower(lowest.onto_back.try_emplace(a, kNoRank).first->second, rank);
    if (const char32_t c = last_char(left)) lower(lowest.of_whole[c], rank);
    if (const char32_t c = first_char(right)) lower(lowest.of_whole[c], rank);
  }
  return lowest;
}

// Puts `c` together by itself. -1 unless it becomes one token and is an atom.
TokenId atom_of(char32_t c, const MergeTable& merges, const Lowest& lowest,
                const TokenId* byte_id) {
  std::array<TokenId, 3> parts = {byte_id[c < 0x800 ? 0xC0 | (c >> 6) : 0xE0 | (c >> 12)]};
  size_t count = 1;
  if (c >= 0x800) parts[count++] = byte_id[0x80 | ((c >> 6) & 0x3F)];
  parts[count++] = byte_id[0x80 | (c & 0x3F)];
  uint32_t last = 0, disturbed = kNoRank;
  while (count > 1) {
    const MergeTable::Join front = merges.find(parts[0], parts[1]);
    const MergeTable::Join back = count == 3 ? merges.find(parts[1], parts[2]) : MergeTable::Join();
    const bool at_front = front.rank <= back.rank;
    const MergeTable::Join join = at_front ? front : back;
    if (join.rank == kNoRank) return -1;
    lower(disturbed, Lowest::at(lowest.onto_front, parts[0]));
    lower(disturbed, Lowest::at(lowest.onto_back, parts[count - 1]));
    last = std::max(last, join.rank);
    parts[at_front ? 0 : 1] = join.merged;
    if (at_front) parts[1] = parts[2];
    --count;
  }
  return last < disturbed && last < lowest.of_whole[c] ? parts[0] : -1;
}

}  // namespace

char32_t first_char(std::string_view bytes) {
  if (bytes.empty() || !is_lead(bytes.front())) return 0;
  const Decoded d = decode_utf8(bytes, 0);
  return d.valid && d.code_point < kEnd ? d.code_point : 0;
}

char32_t last_char(std::string_view bytes) {
  for (const size_t length : {2, 3}) {
    if (bytes.size() < length || !is_lead(bytes[bytes.size() - length])) continue;
    const Decoded d = decode_utf8(bytes, bytes.size() - length);
    return d.valid && static_cast<size_t>(d.length) == length ? d.code_point : 0;
  }
  return 0;
}

std::vector<TokenId> find_atoms(
    const MergeTable& merges,
    const std::vector<std::pair<std::string_view, std::string_view>>& names,
    const TokenIndex& index, const TokenId* byte_id) {
  const Lowest lowest = lowest_ranks(merges, names, index);
  std::vector<TokenId> atoms(kEnd, -1);
  for (char32_t c = kFirst; c < kEnd; ++c) {
    if (c < 0xD800 || c >= 0xE000) atoms[c] = atom_of(c, merges, lowest, byte_id);
  }
  return atoms;
}

}  // namespace octavo::text
