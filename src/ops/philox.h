// The one way in which Octavo draws random numbers, for every backend: Philox4x32-10 (Salmon et
// al., "Parallel random numbers: as easy as 1, 2, 3", SC'11), and the Gumbel noise that sampler.h
// adds to a token's logit. Pure functions of seed, position and token, in plain constexpr C++ that
// a device compiler takes too.
//
// All arithmetic is in 32-bit integers and in float32 operations whose rounding is spelled out (no
// product is followed by a sum except inside `fma`, which the caller supplies), so that every
// backend gets the same bits.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace octavo {

struct PhiloxKey {
  uint32_t low = 0, high = 0;
};

constexpr PhiloxKey philox_key(uint64_t seed) {
  return {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
}

inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53;
inline constexpr uint32_t kPhiloxMultiplier1 = 0xCD9E8D57;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9;
inline constexpr uint32_t kPhiloxWeyl1 = 0xBB67AE85;
inline constexpr int kPhiloxRounds = 10;

constexpr std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> counter, PhiloxKey key) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t p0 = uint64_t{kPhiloxMultiplier0} * counter[0];
    const uint64_t p1 = uint64_t{kPhiloxMultiplier1} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key.low, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key.high, static_cast<uint32_t>(p0)};
    key.low += kPhiloxWeyl0;
    key.high += kPhiloxWeyl1;
  }
  return counter;
}

// The random word of a token: counter (token / 4, position, 0, 0), word token % 4.
constexpr uint32_t token_word(uint64_t seed, uint32_t position, uint32_t token) {
  return philox4x32_10({token / 4, position, 0, 0}, philox_key(seed))[token % 4];
}

// Natural logarithm of m 2^e for m = 1 + f in [sqrt(1/2), sqrt(2)): f - f^2/2 + f^3 P(f) + e ln 2,
// where P is of degree 8 and fits to 4e-9; e ln 2 in two parts, the first exact for every e.
template <typename Fma>
constexpr float log_of_parts(float f, float e, Fma fma) {
  float p = 0.0697161183f;
  p = fma(p, f, -0.114797339f);
  p = fma(p, f, 0.116854198f);
  p = fma(p, f, -0.124256872f);
  p = fma(p, f, 0.142490581f);
  p = fma(p, f, -0.166678026f);
  p = fma(p, f, 0.200007156f);
  p = fma(p, f, -0.24999997f);
  p = fma(p, f, 0.333333313f);
  p = fma(p, f, -0.5f);
  const float square = f * f;
  const float tail = fma(e, 1.42860682e-6f, f);  // ln 2 - the other part
  return fma(e, 0.693145752f, fma(p, square, tail));
}

struct FloatParts {
  float f = 0;  // mantissa - 1, with the mantissa in [sqrt(1/2), sqrt(2))
  int e = 0;
};

// REQUIRES: x positive and normal.
constexpr FloatParts float_parts(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  const int32_t e = (bits - 0x3F3504F3) >> 23;  // 0x3F3504F3: sqrt(1/2)
  return {std::bit_cast<float>(bits - e * (1 << 23)) - 1.0f, e};
}

// g = -log(-log(u)) with u = (word + 0.5) 2^-32, from -3.2 to 22.9. Near u = 1, where the largest g
// are, 1 - u is what float32 holds precisely; it is exact in the complement of the word.
template <typename Fma>
constexpr float gumbel_noise(uint32_t word, Fma fma) {
  const bool upper = word >> 31;
  const auto n = static_cast<int32_t>(upper ? ~word : word);
  const float near = (static_cast<float>(n) + 0.5f) * 0x1p-32f;  // the nearer of u and 1 - u
  FloatParts u = float_parts(upper ? 1.0f - near : near);
  if (u.e == 0) u.f = -near;
  const float exponential = -log_of_parts(u.f, static_cast<float>(u.e), fma);
  const FloatParts x = float_parts(exponential);
  return -log_of_parts(x.f, static_cast<float>(x.e), fma);
}

}  // namespace octavo
