// What norm, attention and the sampler need beyond vec.h: comparisons as bit masks, faster
// reductions, 2^x and the wide integer product of Philox. The rules of vec.h hold.
#pragma once

#include "backend/cpu/vec.h"

namespace octavo::cpu::OCTAVO_ISA {

// Bit i is set where the comparison holds in lane i; a comparison with NaN does not hold.
OCTAVO_INLINE uint32_t bits_greater(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpgt_ps((__m128)a, (__m128)b)));
#else
  uint32_t bits = 0;
  for (int i = 0; i < kWidth; ++i) bits |= static_cast<uint32_t>(a[i] > b[i]) << i;
  return bits;
#endif
}
OCTAVO_INLINE uint32_t bits_at_least(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GE_OQ)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpge_ps((__m128)a, (__m128)b)));
#else
  uint32_t bits = 0;
  for (int i = 0; i < kWidth; ++i) bits |= static_cast<uint32_t>(a[i] >= b[i]) << i;
  return bits;
#endif
}
constexpr uint32_t kAllLanes = (1u << kWidth) - 1;

OCTAVO_INLINE VecI lane_numbers() {
  VecI v;
  for (int i = 0; i < kWidth; ++i) v[i] = i;
  return v;
}

// `a` where bit i is set, else b.
OCTAVO_INLINE Vec select_bits(uint32_t bits, Vec a, Vec b) {
#if defined(__AVX512F__)
  return (Vec)_mm512_mask_blend_ps(static_cast<__mmask16>(bits), (__m512)b, (__m512)a);
#else
  const VecI bit = broadcast_int(1) << lane_numbers();
  return (broadcast_int(static_cast<int32_t>(bits)) & bit) != 0 ? a : b;
#endif
}

// The greatest lane. No NaN is promised to survive.
OCTAVO_INLINE float max_lane(Vec v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#elif defined(__AVX2__)
  __m128 m = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
#else
  return max_of(v);
#endif
}

// 2^x for x <= 0, relative error below 2e-7: exactly 1 at 0, zero below -126, NaN stays. Method: x
// = n + r with |r| <= 1/2; 2^r = 1 + r P(r), P fitted to 1e-8 at Chebyshev's points; times 2^n,
// which is exact.
OCTAVO_INLINE Vec exp2_nonpositive(Vec x) {
#if defined(__AVX512F__)
  const Vec n = (Vec)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT);
#else
  const Vec shifted = x + 12582912.0f;  // leaves the nearest integer in the low bits
  const Vec n = shifted - 12582912.0f;
#endif
  const Vec r = x - n;
  Vec p = broadcast(0.000154531634f);
  p = fma(p, r, broadcast(0.00133908633f));
  p = fma(p, r, broadcast(0.00961808302f));
  p = fma(p, r, broadcast(0.0555035695f));
  p = fma(p, r, broadcast(0.240226507f));
  p = fma(p, r, broadcast(0.693147182f));
  p = fma(p, r, broadcast(1.0f));
#if defined(__AVX512F__)
  const __mmask16 large = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
  return (Vec)_mm512_maskz_scalef_ps(large, (__m512)p, (__m512)n);
#else
  const VecU exponent = ((VecU)shifted - 0x4B400000u + 127u) << 23;
  return x < -126.0f ? zero() : p * (Vec)exponent;
#endif
}

// Lanes of 64 bits of which an operation may leave anything in the upper half.
typedef uint64_t VecL __attribute__((vector_size(4 * kWidth)));

// The product of the lower halves.
OCTAVO_INLINE VecL multiply_wide(VecL a, VecL b) {
#if defined(__AVX512F__)
  return (VecL)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (VecL)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (VecL)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

// Transposes each 4 x 4 square of words at the same four lanes of w[0..3].
OCTAVO_INLINE void transpose_squares(VecU w[4]) {
#if defined(__AVX512F__)
  const __m512i a = _mm512_unpacklo_epi32((__m512i)w[0], (__m512i)w[1]);
  const __m512i b = _mm512_unpackhi_epi32((__m512i)w[0], (__m512i)w[1]);
  const __m512i c = _mm512_unpacklo_epi32((__m512i)w[2], (__m512i)w[3]);
  const __m512i d = _mm512_unpackhi_epi32((__m512i)w[2], (__m512i)w[3]);
  w[0] = (VecU)_mm512_unpacklo_epi64(a, c);
  w[1] = (VecU)_mm512_unpackhi_epi64(a, c);
  w[2] = (VecU)_mm512_unpacklo_epi64(b, d);
  w[3] = (VecU)_mm512_unpackhi_epi64(b, d);
#elif defined(__AVX2__)
  const __m256i a = _mm256_unpacklo_epi32((__m256i)w[0], (__m256i)w[1]);
  const __m256i b = _mm256_unpackhi_epi32((__m256i)w[0], (__m256i)w[1]);
  const __m256i c = _mm256_unpacklo_epi32((__m256i)w[2], (__m256i)w[3]);
  const __m256i d = _mm256_unpackhi_epi32((__m256i)w[2], (__m256i)w[3]);
  w[0] = (VecU)_mm256_unpacklo_epi64(a, c);
  w[1] = (VecU)_mm256_unpackhi_epi64(a, c);
  w[2] = (VecU)_mm256_unpacklo_epi64(b, d);
  w[3] = (VecU)_mm256_unpackhi_epi64(b, d);
#else
  for (int square = 0; square < kWidth; square += 4) {
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < i; ++j) {
        const uint32_t kept = w[i][square + j];
        w[i][square + j] = w[j][square + i];
        w[j][square + i] = kept;
      }
    }
  }
#endif
}

}  // namespace octavo::cpu::OCTAVO_ISA
