// The values of --load-format dummy: uniform in ±1e-3 with random signs and mantissas, a pure
// function of a key and an index, so that every backend and any number of threads make the same.
#pragma once

#include <cstdint>

namespace octavo {

constexpr uint64_t mix_bits(uint64_t x) {  // SplitMix64 (Steele et al., OOPSLA'14)
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr float noise_of_bits(uint32_t bits) {
  return (static_cast<float>(static_cast<int32_t>(bits >> 8)) * 0x1p-23f - 1.0f) * 1e-3f;
}

// Elements 2 pair and 2 pair + 1 of the noise `key` are those of the low and the high half.
constexpr uint64_t noise_bits(uint64_t key, uint64_t pair) {
  return mix_bits(key + pair);
}

}  // namespace octavo
