// Vec: the one vector type that all CPU kernels are written over. Its width follows from the
// flags the including file is compiled with (CMakeLists.txt here): 16 floats for AVX-512, 8 for
// AVX2, 4 for anything else. A kernel is written once, in foo_impl.h, inside `namespace
// octavo::cpu::OCTAVO_ISA`, and compiled by foo_portable.cc, foo_avx2.cc and foo_avx512.cc, which
// hold no code of their own.
//
// One program serves all machines, so code compiled for one set must not leak into another's: the
// linker keeps a single copy of each inline function. Hence the rules for files named *_<isa>.cc
// and *_impl.h:
//  1. everything in the namespace OCTAVO_ISA; helpers static, or OCTAVO_INLINE;
//  2. include headers with plain structs only; call no inline function or template of another
//     namespace (no Tensor, no CHECK, no std:: containers or algorithms; <cmath>'s by C names);
//  3. pass raw pointers and sizes, and let the dispatching file (foo.cc) take Tensors apart.
//
// No function here fuses or reorders what the source does not: fma() is one rounding where the
// machine has the instruction (AVX2, AVX-512) and two in the portable set; sums over lanes have
// one fixed tree.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(OCTAVO_EMULATE_TILES)
#define OCTAVO_ISA emulated
#elif defined(__AMX_TILE__)
#define OCTAVO_ISA amx
#elif defined(__AVX512F__)
#define OCTAVO_ISA avx512
#elif defined(__AVX2__)
#define OCTAVO_ISA avx2
#else
#define OCTAVO_ISA portable
#endif

#define OCTAVO_INLINE static inline __attribute__((always_inline))

namespace octavo::cpu::OCTAVO_ISA {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kWidth)));
typedef int32_t VecI __attribute__((vector_size(4 * kWidth)));
typedef uint32_t VecU __attribute__((vector_size(4 * kWidth)));
typedef uint16_t VecH __attribute__((vector_size(2 * kWidth)));  // bf16 or f16 bits

// Any of the above from, or to, memory without alignment.
template <typename V>
OCTAVO_INLINE V load_as(const void* p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}
OCTAVO_INLINE Vec load(const float* p) {
  return load_as<Vec>(p);
}
OCTAVO_INLINE void store(float* p, Vec v) {
  memcpy(p, &v, sizeof v);
}
OCTAVO_INLINE Vec zero() {
  return Vec{};
}
OCTAVO_INLINE Vec broadcast(float x) {
  return x - Vec{};
}  // x - 0 is x for every x, -0 included
OCTAVO_INLINE VecI broadcast_int(int32_t x) {
  return x - VecI{};
}

// The first n < kWidth lanes; the others read as zero, and are not written.
OCTAVO_INLINE Vec load_first(const float* p, int n) {
  float lanes[kWidth] = {};
  memcpy(lanes, p, static_cast<size_t>(n) * 4);
  return load(lanes);
}
OCTAVO_INLINE void store_first(float* p, Vec v, int n) {
  float lanes[kWidth];
  store(lanes, v);
  memcpy(p, lanes, static_cast<size_t>(n) * 4);
}

// a * b + c
OCTAVO_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

// a where a > b, else b: NaN in `a` gives b, as the machine instruction does. For NaN to survive,
// put it in b.
OCTAVO_INLINE Vec max(Vec a, Vec b) {
  return a > b ? a : b;
}
OCTAVO_INLINE Vec min(Vec a, Vec b) {
  return a < b ? a : b;
}
OCTAVO_INLINE Vec abs(Vec v) {
  return (Vec)((VecU)v & 0x7FFFFFFFu);
}

OCTAVO_INLINE Vec sqrt(Vec v) {
#if defined(__AVX512F__)
  return (Vec)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX2__)
  return (Vec)_mm256_sqrt_ps((__m256)v);
#else
  for (int i = 0; i < kWidth; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

// The sum, or the greatest, of all lanes: halves are folded onto each other until one lane is left.
OCTAVO_INLINE float sum(Vec v) {
  float lanes[kWidth];
  store(lanes, v);
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}
OCTAVO_INLINE float max_of(Vec v) {
  float lanes[kWidth];
  store(lanes, v);
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i)
      lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
  }
  return lanes[0];
}

// --- 16-bit formats ---

OCTAVO_INLINE VecU widen(VecH h) {
#if defined(__AVX512F__)
  return (VecU)_mm512_cvtepu16_epi32((__m256i)h);
#elif defined(__AVX2__)
  return (VecU)_mm256_cvtepu16_epi32((__m128i)h);
#else
  return __builtin_convertvector(h, VecU);
#endif
}
OCTAVO_INLINE VecH narrow(VecU u) {  // each lane < 65536
#if defined(__AVX512F__)
  return (VecH)_mm512_cvtepi32_epi16((__m512i)u);
#elif defined(__AVX2__)
  const __m256i packed = _mm256_packus_epi32((__m256i)u, (__m256i)u);
  return (VecH)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#else
  return __builtin_convertvector(u, VecH);
#endif
}

OCTAVO_INLINE Vec from_bf16(VecH h) {
  return (Vec)(widen(h) << 16);
}
// A word that holds two neighbours in k of a packed weight (linear_layout.h): the even one is low.
OCTAVO_INLINE Vec bf16_even(VecU pairs) {
  return (Vec)(pairs << 16);
}
OCTAVO_INLINE Vec bf16_odd(VecU pairs) {
  return (Vec)(pairs & 0xFFFF0000u);
}

// bf16 bits in the low halves of the words; round to nearest even, NaN stays NaN.
OCTAVO_INLINE VecU bf16_bits(Vec v) {
  const VecU u = (VecU)v;
  const VecU rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
  return v == v ? rounded : ((u >> 16) | 0x40u);
}
OCTAVO_INLINE VecH to_bf16(Vec v) {
  return narrow(bf16_bits(v));
}
OCTAVO_INLINE Vec load_bf16(const uint16_t* p) {
  return from_bf16(load_as<VecH>(p));
}
OCTAVO_INLINE void store_bf16(uint16_t* p, Vec v) {
  const VecH h = to_bf16(v);
  memcpy(p, &h, sizeof h);
}

OCTAVO_INLINE Vec from_f16(VecH h) {
#if defined(__AVX512F__)
  return (Vec)_mm512_cvtph_ps((__m256i)h);
#elif defined(__AVX2__)
  return (Vec)_mm256_cvtph_ps((__m128i)h);
#else
  // The exponent is moved and then corrected by a multiplication, which is exact and handles
  // subnormals; infinity and NaN get the exponent of all ones.
  const VecU u = widen(h), sign = (u & 0x8000u) << 16, rest = (u & 0x7FFFu) << 13;
  const Vec magnitude = (Vec)rest * 0x1p112f;
  const VecU bits = rest >= (0x7C00u << 13) ? (rest | 0x7F800000u) : (VecU)magnitude;
  return (Vec)(bits | sign);
#endif
}
// Round to nearest even.
OCTAVO_INLINE VecH to_f16(Vec v) {
#if defined(__AVX512F__)
  return (VecH)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return (VecH)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  const VecU u = (VecU)v, sign = (u >> 16) & 0x8000u, magnitude = u & 0x7FFFFFFFu;
  // A subnormal result is a multiple of 2^-24: adding 0.5, whose last place that is, rounds to it.
  const VecU subnormal = (VecU)((Vec)magnitude + 0.5f) - 0x3F000000u;
  const VecU normal = (magnitude + 0xFFFu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  VecU bits = magnitude < 0x38800000u ? subnormal : normal;
  bits = magnitude >= 0x477FF000u ? 0x7C00u - VecU{} : bits;
  bits = magnitude > 0x7F800000u ? 0x7E00u - VecU{} : bits;
  return narrow(bits | sign);
#endif
}
OCTAVO_INLINE Vec load_f16(const uint16_t* p) {
  return from_f16(load_as<VecH>(p));
}
OCTAVO_INLINE void store_f16(uint16_t* p, Vec v) {
  const VecH h = to_f16(v);
  memcpy(p, &h, sizeof h);
}

// --- functions ---

// e^x, relative error below 2e-7; zero below -86, where a result would soon be subnormal; infinity
// from 88.73 on; NaN stays. Method: x = n ln 2 + r with |r| <= ln(2) / 2, ln 2 in two parts (Cody
// and Waite); e^r by its Taylor series up to r^7; 2^n through the exponent bits.
OCTAVO_INLINE Vec exp(Vec x) {
  const Vec bounded = x > 89.0f ? broadcast(89.0f) : x;
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const Vec shifted = fma(bounded, broadcast(1.44269504f), broadcast(12582912.0f));
  const Vec n = shifted - 12582912.0f;
  Vec r = fma(n, broadcast(-0.693145752f), bounded);
  r = fma(n, broadcast(-1.42860677e-6f), r);
  Vec p = broadcast(1.0f / 5040);
  p = fma(p, r, broadcast(1.0f / 720));
  p = fma(p, r, broadcast(1.0f / 120));
  p = fma(p, r, broadcast(1.0f / 24));
  p = fma(p, r, broadcast(1.0f / 6));
  p = fma(p, r, broadcast(0.5f));
  p = fma(p, r, broadcast(1.0f));
  p = fma(p, r, broadcast(1.0f));
  // 2^(n-1), then doubled: n may be 128.
  const VecU exponent = ((VecU)shifted - 0x4B400000u + 126u) << 23;
  const Vec result = p * (Vec)exponent * 2.0f;
  return x < -86.0f ? zero() : result;
}

}  // namespace octavo::cpu::OCTAVO_ISA
