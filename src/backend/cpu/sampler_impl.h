// The sampler's passes over Vec.
//
// The draw is the costly one: Gumbel noise for every token of the vocabulary. Its random words come
// out of Philox 4 kWidth at a time; the two logarithms behind each are avoided for all but a few
// tokens:
//   1. v = 1 - u bounds the noise: g = -log(-log u) <= -log v, because -log(1 - v) >= v.
//   2. The bits of a float, read as an integer, are a chord below its logarithm (log2(1 + m) >= m),
//   so
//      ln 2 (127 - bits(v) / 2^23) bounds -log v, at the price of a conversion and a multiply-add.
//   3. Only where logit + bound beats the best so far is the noise itself computed, by the one
//   scalar function
//      that defines it. Rounding is monotone, so the bound holds for the rounded sums too: the
//      outcome is what a plain loop over all tokens would give.
#pragma once

#include "backend/cpu/sampler_kernels.h"
#include "backend/cpu/vec_extra.h"

namespace octavo::cpu::OCTAVO_ISA {

constexpr float kInfinity = __builtin_inff();

OCTAVO_INLINE uint32_t lanes_in_row(int i, int size) {
  return size - i >= kWidth ? kAllLanes : (1u << (size - i)) - 1;
}

// x[i .. i + kWidth), -inf past the end.
OCTAVO_INLINE Vec load_row(const float* x, int i, int size) {
  if (size - i >= kWidth) return load(x + i);
  return select_bits(lanes_in_row(i, size), load_first(x + i, size - i), broadcast(-kInfinity));
}

static RowMaximum maximum(const float* x, int size) {
  constexpr int kAccumulators = 4;
  Vec best[kAccumulators];
  VecI where[kAccumulators] = {};  // the vector's number
  for (int a = 0; a < kAccumulators; ++a) best[a] = broadcast(-kInfinity);
  uint32_t finite = kAllLanes;
  const int vectors = (size + kWidth - 1) / kWidth;
  for (int v = 0; v < vectors; v += kAccumulators) {
    for (int a = 0; a < kAccumulators && v + a < vectors; ++a) {
      const Vec value = load_row(x, (v + a) * kWidth, size);
      finite &= bits_greater(broadcast(kInfinity), value);
      const VecI better = value > best[a];
      best[a] = better ? value : best[a];
      where[a] = better ? broadcast_int(v + a) : where[a];
    }
  }
  RowMaximum result{-kInfinity, -1, finite != kAllLanes};
  for (int a = 0; a < kAccumulators; ++a) {
    for (int lane = 0; lane < kWidth; ++lane) {
      const float value = best[a][lane];
      const int index = where[a][lane] * kWidth + lane;
      if (value > result.value ||
          (value == result.value && result.index >= 0 && index < result.index)) {
        result.value = value;
        result.index = index;
      }
    }
  }
  return result;
}

static Mass mass_at_least(const float* x, int size, float top, float threshold) {
  constexpr int kAccumulators = 4;
  Vec total[kAccumulators] = {};
  Mass result;
  const Vec log2e = broadcast(1.44269504f);
  const int vectors = (size + kWidth - 1) / kWidth;
  for (int v = 0; v < vectors; v += kAccumulators) {
    for (int a = 0; a < kAccumulators && v + a < vectors; ++a) {
      const Vec value = load_row(x, (v + a) * kWidth, size);
      const uint32_t counted =
          bits_at_least(value, broadcast(threshold)) & lanes_in_row((v + a) * kWidth, size);
      const Vec power = exp2_nonpositive((value - broadcast(top)) * log2e);
      total[a] = total[a] + select_bits(counted, power, zero());
      result.count += __builtin_popcount(counted);
    }
  }
  result.sum = sum((total[0] + total[1]) + (total[2] + total[3]));
  return result;
}

static int count_greater(const float* x, int size, float value) {
  int count = 0;
  for (int i = 0; i < size; i += kWidth) {
    count += __builtin_popcount(bits_greater(load_row(x, i, size), broadcast(value)));
  }
  return count;
}

OCTAVO_INLINE int write_indices(uint32_t bits, int first, int32_t* found) {
  int count = 0;
  for (; bits; bits &= bits - 1) found[count++] = first + __builtin_ctz(bits);
  return count;
}

static int find_greater(const float* x, int size, float value, int32_t* found) {
  int count = 0;
  for (int i = 0; i < size; i += kWidth) {
    count += write_indices(bits_greater(load_row(x, i, size), broadcast(value)), i, found + count);
  }
  return count;
}

static int find_between(const float* x, int size, float low, float high, int32_t* found) {
  int count = 0;
  for (int i = 0; i < size; i += kWidth) {
    const Vec v = load_row(x, i, size);
    const uint32_t bits = bits_at_least(v, broadcast(low)) & bits_greater(broadcast(high), v);
    count += write_indices(bits & lanes_in_row(i, size), i, found + count);
  }
  return count;
}

static void scale(float* x, int size, float factor) {
  int i = 0;
  for (; i + kWidth <= size; i += kWidth) store(x + i, load(x + i) * broadcast(factor));
  for (; i < size; ++i) x[i] *= factor;
}

static void mask(const float* x, const uint32_t* allowed, int size, float* out) {
  int i = 0;
  for (; i + kWidth <= size; i += kWidth) {
    const uint32_t bits = allowed[i / 32] >> (i % 32) & kAllLanes;
    store(out + i, select_bits(bits, load(x + i), broadcast(-kInfinity)));
  }
  for (; i < size; ++i) out[i] = allowed[i / 32] >> (i % 32) & 1 ? x[i] : -kInfinity;
}

struct PhiloxState {
  VecL c0, c1, c2, c3;
};

// Ten rounds on counters (c0, position, 0, 0); words are the lower halves.
OCTAVO_INLINE PhiloxState philox(VecL counters, uint64_t seed, uint32_t position) {
  PhiloxState s = {counters, VecL{} + position, VecL{}, VecL{}};
  uint32_t low = static_cast<uint32_t>(seed), high = static_cast<uint32_t>(seed >> 32);
  const VecL m0 = VecL{} + 0xD2511F53u, m1 = VecL{} + 0xCD9E8D57u;
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const VecL p0 = multiply_wide(s.c0, m0), p1 = multiply_wide(s.c2, m1);
    s = {(p1 >> 32) ^ s.c1 ^ (VecL{} + low), p1, (p0 >> 32) ^ s.c3 ^ (VecL{} + high), p0};
    low += 0x9E3779B9u;
    high += 0xBB67AE85u;
  }
  return s;
}

// The words of tokens [first, first + 4 kWidth), first a multiple of 4. Lane 4 g + k of the
// counters holds the offset k kWidth / 4 + g, so that transposing 4 x 4 squares puts the words in
// the order of the tokens.
OCTAVO_INLINE void token_words(uint64_t seed, uint32_t position, int first, VecU words[4]) {
  VecL even, odd;
  for (int lane = 0; lane < kWidth; lane += 2) {
    even[lane / 2] = lane % 4 * (kWidth / 4) + lane / 4;
    odd[lane / 2] = (lane + 1) % 4 * (kWidth / 4) + lane / 4;
  }
  const uint32_t counter = static_cast<uint32_t>(first) / 4;
  const PhiloxState a = philox(even + counter, seed, position),
                    b = philox(odd + counter, seed, position);
  const VecL low = VecL{} + 0xFFFFFFFFu;
  words[0] = (VecU)((a.c0 & low) | b.c0 << 32);
  words[1] = (VecU)((a.c1 & low) | b.c1 << 32);
  words[2] = (VecU)((a.c2 & low) | b.c2 << 32);
  words[3] = (VecU)((a.c3 & low) | b.c3 << 32);
  transpose_squares(words);
}

// At least g of each word, and above it by less than 0.07 where v is small. h = floor(~word / 2) <=
// v 2^31, which converts as a signed integer; 0.001 covers the rounding of this line.
OCTAVO_INLINE Vec noise_bound(VecU words) {
  const Vec h = __builtin_convertvector((VecI)(~words >> 1), Vec);
  const Vec bits = __builtin_convertvector((VecI)h, Vec);
  return fma(bits, broadcast(-0.693147182f * 0x1p-23f), broadcast(0.693147182f * 158 + 0.001f));
}

static RowMaximum draw(const DrawArgs& args) {
  RowMaximum best{-kInfinity, -1, false};
  uint32_t finite = kAllLanes;
  for (int first = 0; first < args.size; first += 4 * kWidth) {
    VecU words[4];
    token_words(args.seed, args.position, first, words);
    for (int part = 0; part < 4 && first + part * kWidth < args.size; ++part) {
      const int i = first + part * kWidth;
      const Vec logits = load_row(args.x, i, args.size);
      finite &= bits_greater(broadcast(kInfinity), logits);
      const Vec y = logits * broadcast(args.inverse_temperature);
      uint32_t bits = bits_greater(y + noise_bound(words[part]), broadcast(best.value)) &
                      bits_at_least(y, broadcast(args.threshold));
      for (; bits; bits &= bits - 1) {
        const int lane = __builtin_ctz(bits);
        const float value = y[lane] + args.noise(words[part][lane]);
        if (value > best.value) {
          best.value = value;
          best.index = i + lane;
        }
      }
    }
  }
  best.invalid = finite != kAllLanes;
  return best;
}

const SamplerKernels kSamplerKernels = {maximum,      mass_at_least, count_greater, find_greater,
                                        find_between, scale,         mask,          draw};

}  // namespace octavo::cpu::OCTAVO_ISA
