// A unit of the double array (Darts-clone) packs a label in bits 0-7 and 31, a leaf flag in bit 8,
// and an offset in bits 10-30, counted in 256s where bit 9 is set. From the unit at `node`, byte b
// leads to the unit at node ^ offset ^ b if that carries the label b; a leaf's value stands at its
// own offset.
#include "text/charsmap.h"

#include <cstring>

#include "base/utf8.h"
#include "text/unicode.h"

namespace octavo::text {
namespace {

constexpr size_t kMaxBlobBytes = size_t{16} << 20;
constexpr size_t kMaxGrowth = 32, kMaxGrowthBytes = 4096;
// Clusters of that many bytes and more are replaced character by character.
constexpr size_t kLongCluster = 6;
// A damaged trie may lead round in circles.
constexpr size_t kMaxKeyBytes = 64;

size_t offset_of(uint32_t unit) {
  return size_t{unit >> 10} << ((unit & (1u << 9)) >> 6);
}

bool continues(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

}  // namespace

StatusOr<Charsmap> Charsmap::parse(std::string_view blob) {
  if (blob.size() > kMaxBlobBytes) return data_loss("the charsmap is longer than 16 MiB");
  uint32_t bytes = 0;
  if (blob.size() < sizeof bytes) return data_loss("the charsmap is cut short");
  std::memcpy(&bytes, blob.data(), sizeof bytes);
  blob.remove_prefix(sizeof bytes);
  if (bytes > blob.size() || bytes % sizeof(uint32_t) != 0 || bytes == 0)
    return data_loss("the charsmap's trie is cut short");
  Charsmap map;
  map.units_.resize(bytes / sizeof(uint32_t));
  std::memcpy(map.units_.data(), blob.data(), bytes);
  map.replacements_ = blob.substr(bytes);
  if (!valid_utf8(map.replacements_)) return data_loss("the charsmap's replacements are not UTF-8");
  return map;
}

template <typename Each>
void Charsmap::each_key(std::string_view text, Each found) const {
  size_t node = offset_of(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0) return;
    node ^= byte;
    if (node >= units_.size()) return;
    const uint32_t unit = units_[node];
    if ((unit & 0x800000FFu) != byte) return;
    node ^= offset_of(unit);
    if (node >= units_.size()) return;
    if ((unit & 0x100u) == 0) continue;
    const size_t begin = units_[node] & 0x7FFFFFFFu;
    if (begin > replacements_.size()) return;
    if (begin < replacements_.size() && continues(replacements_[begin])) return;
    const std::string_view from = std::string_view(replacements_).substr(begin);
    if (!found(from.substr(0, from.find('\0')), i + 1)) return;
  }
}

std::optional<std::string_view> Charsmap::find(std::string_view chunk) const {
  std::optional<std::string_view> shortest;
  each_key(chunk, [&](std::string_view replacement, size_t) {
    shortest = replacement;
    return false;
  });
  return shortest;
}

std::optional<Charsmap::Found> Charsmap::longest(std::string_view text) const {
  std::optional<Found> longest;
  each_key(text.substr(0, kMaxKeyBytes), [&](std::string_view replacement, size_t bytes) {
    const bool within_character = bytes < text.size() && continues(text[bytes]);
    if (!within_character) longest = Found{replacement, bytes};
    return true;
  });
  return longest;
}

StatusOr<std::string> Charsmap::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  ClusterBreaks breaks;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = breaks.next(text, begin);
    const std::string_view cluster = text.substr(begin, end - begin);
    begin = end;
    if (cluster.size() < kLongCluster) {
      if (const auto replacement = find(cluster)) {
        out.append(*replacement);
        continue;
      }
    }
    for (size_t i = 0; i < cluster.size();) {
      int length = 0;
      decode_valid(cluster.data() + i, length);
      const std::string_view character = cluster.substr(i, length);
      out.append(find(character).value_or(character));
      i += length;
    }
    if (out.size() > text.size() * kMaxGrowth + kMaxGrowthBytes)
      return resource_exhausted("the tokenizer's charsmap makes the text too long");
  }
  return out;
}

StatusOr<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return data_loss("base64 of a length that is no multiple of four");
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  std::string out;
  out.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return data_loss("no base64");
    bits = (bits << 6) | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>(bits >> count));
  }
  return out;
}

}  // namespace octavo::text
