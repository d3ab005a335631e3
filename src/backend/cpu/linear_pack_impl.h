// Packing of 16 weight rows into a panel: a transposition of 32-bit words (two 16-bit values, or
// one float), done in registers, kWidth by kWidth. Loading a model runs through here, at the rate
// of memory. Compiled per instruction set (vec.h).
#pragma once

#include <utility>

#include "backend/cpu/linear_problem.h"
#include "backend/cpu/vec.h"

namespace octavo::cpu::OCTAVO_ISA {

// One step of the transposition: exchanges the off-diagonal blocks of S x S words within blocks of
// 2S x 2S. `lane` is 0 … kWidth - 1.
template <int S, int... lane>
OCTAVO_INLINE void exchange_blocks(VecU (&v)[kWidth], std::integer_sequence<int, lane...>) {
  for (int i = 0; i < kWidth; ++i) {
    if ((i & S) != 0) continue;
    const VecU a = v[i], b = v[i + S];
    v[i] = __builtin_shufflevector(a, b, ((lane & S) == 0 ? lane : kWidth + lane - S)...);
    v[i + S] = __builtin_shufflevector(a, b, ((lane & S) == 0 ? lane + S : kWidth + lane)...);
  }
}

OCTAVO_INLINE void transpose(VecU (&v)[kWidth]) {
  constexpr auto lanes = std::make_integer_sequence<int, kWidth>{};
  if constexpr (kWidth >= 16) exchange_blocks<8>(v, lanes);
  if constexpr (kWidth >= 8) exchange_blocks<4>(v, lanes);
  exchange_blocks<2>(v, lanes);
  exchange_blocks<1>(v, lanes);
}

// kWidth rows by kWidth words, to word-major order: out + 64 * word + 4 * row.
template <bool kSplit>
OCTAVO_INLINE void pack_block(const char* const* rows, int64_t word, char* out) {
  VecU v[kWidth];
  for (int i = 0; i < kWidth; ++i) v[i] = load_as<VecU>(rows[i] + 4 * word);
  transpose(v);
  for (int i = 0; i < kWidth; ++i) {
    // float16: the two values of a word belong to different k, which lie 32 bytes apart.
    if constexpr (kSplit) {
      const VecH even = narrow(v[i] & 0xFFFFu), odd = narrow(v[i] >> 16);
      memcpy(out + 64 * i, &even, sizeof even);
      memcpy(out + 64 * i + 32, &odd, sizeof odd);
    } else {
      memcpy(out + 64 * i, &v[i], sizeof v[i]);
    }
  }
}

template <bool kSplit>
OCTAVO_INLINE int64_t pack_whole_blocks(const char* const* rows, int64_t words, char* panel) {
  constexpr int kLaneBytes = kSplit ? 2 : 4;
  int64_t word = 0;
  for (; word + kWidth <= words; word += kWidth) {
    for (int row = 0; row < kPanel; row += kWidth) {
      pack_block<kSplit>(rows + row, word, panel + 64 * word + kLaneBytes * row);
    }
  }
  return word;
}

void pack_panel(WeightFormat format, const char* const rows[kPanel], int64_t k, char* panel) {
  const bool wide = format == WeightFormat::kF32;
  const int64_t words = wide ? k : k / 2;
  const int64_t done = format == WeightFormat::kF16 ? pack_whole_blocks<true>(rows, words, panel)
                                                    : pack_whole_blocks<false>(rows, words, panel);
  // The last k, value by value.
  const int size = wide ? 4 : 2;
  for (int64_t i = wide ? done : 2 * done; i < k; ++i) {
    for (int row = 0; row < kPanel; ++row) {
      const int64_t at =
          format == WeightFormat::kBF16 ? (i / 2 * kPanel + row) * 2 + i % 2 : i * kPanel + row;
      memcpy(panel + at * size, rows[row] + i * size, static_cast<size_t>(size));
    }
  }
}

}  // namespace octavo::cpu::OCTAVO_ISA
