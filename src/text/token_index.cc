#include "text/token_index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>

namespace octavo::text {

uint64_t process_seed() {
  static const uint64_t seed = (uint64_t{std::random_device{}()} << 32) | std::random_device{}();
  return seed;
}

namespace {

uint64_t hash_bytes(std::string_view key) {
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15ull;
  static const uint64_t seed = process_seed();
  uint64_t h = seed ^ (key.size() * kOdd);
  const char* p = key.data();
  size_t n = key.size();
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = mix_bits(h ^ word, kOdd ^ seed);
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
  return mix_bits(h ^ tail, 0xD6E8FEB86659FD93ull ^ seed);
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

}  // namespace octavo::text
