// The tile instructions as the AMX kernels see them: `Tiles`, in two forms. HardwareTiles is one
// instruction each. EmulatedTiles does the same in plain C++, so that packing, addressing and
// blocking are tested on machines without AMX; it follows the operation section of TDPBF16PS in
// Intel's Software Developer's Manual: bf16 pairs, sums of even and of odd k apart, then added to
// the destination, subnormals taken and left as zero.
//
// All eight tiles are 64 bytes wide: A [rows][32] bf16, B [16][16][2] bf16, C [rows][16] float32.
// Tiles 0-5 (sums and A) have `rows` rows, 6 and 7 (B) have 16.
#pragma once

#include "backend/cpu/vec.h"

namespace octavo::cpu::OCTAVO_ISA {

#if !defined(OCTAVO_EMULATE_TILES)

struct HardwareTiles {
  // Own assembly rather than the intrinsics: g++ 12 believes that _tile_loadconfig reads 8 bytes
  // and drops the other stores to the configuration, and its tile loads do not say that they read
  // memory.
  OCTAVO_INLINE void configure(int rows) {
    struct alignas(64) Configuration {
      uint8_t palette, start_row, reserved[14];
      uint16_t row_bytes[16];
      uint8_t rows[16];
    } c = {};
    c.palette = 1;
    for (int i = 0; i < 8; ++i) {
      c.row_bytes[i] = 64;
      c.rows[i] = static_cast<uint8_t>(i < 6 ? rows : 16);
    }
    asm volatile("ldtilecfg %0" ::"m"(c) : "memory");
  }
  // Back to the initial state, which a context switch need not save.
  OCTAVO_INLINE void release() { asm volatile("tilerelease" ::: "memory"); }
  template <int T>
  OCTAVO_INLINE void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(T));
  }
  template <int T>
  OCTAVO_INLINE void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(T) : "memory");
  }
  template <int T>
  OCTAVO_INLINE void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(T) : "memory");
  }
  // C += A * B
  template <int C, int A, int B>
  OCTAVO_INLINE void multiply_add() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
  }
};
using Tiles = HardwareTiles;

#else

struct EmulatedTiles {
  struct alignas(64) State {
    int rows = 0;  // 0: not configured
    uint32_t tile[8][16][16];
  };
  static State& state() {
    static thread_local State s;
    return s;
  }
  static int rows_of(int tile) { return tile < 6 ? state().rows : 16; }
  static void configure(int rows) { state().rows = rows; }
  static void release() { state().rows = 0; }
  template <int T>
  static void zero() {
    memset(state().tile[T], 0, sizeof state().tile[T]);
  }
  template <int T>
  static void load(const void* from, int64_t stride) {
    for (int r = 0; r < rows_of(T); ++r)
      memcpy(state().tile[T][r], static_cast<const char*>(from) + r * stride, 64);
  }
  template <int T>
  static void store(void* to, int64_t stride) {
    for (int r = 0; r < rows_of(T); ++r)
      memcpy(static_cast<char*>(to) + r * stride, state().tile[T][r], 64);
  }
  static Vec flush(Vec v) { return abs(v) < 0x1p-126f ? (Vec)((VecU)v & 0x80000000u) : v; }
  template <int C, int A, int B>
  static void multiply_add() {
    State& s = state();
    for (int r = 0; r < rows_of(C); ++r) {
      Vec even = zero_vector(), odd = zero_vector();
      for (int k = 0; k < 16; ++k) {
        const VecU a = s.tile[A][r][k] - VecU{}, b = load_as<VecU>(s.tile[B][k]);
        even = flush(fma(flush(bf16_even(a)), flush(bf16_even(b)), even));
        odd = flush(fma(flush(bf16_odd(a)), flush(bf16_odd(b)), odd));
      }
      const Vec c = flush(load_as<Vec>(s.tile[C][r]));
      const Vec sum = flush(c + flush(even + odd));
      memcpy(s.tile[C][r], &sum, sizeof sum);
    }
  }
  static Vec zero_vector() { return Vec{}; }
};
using Tiles = EmulatedTiles;

#endif

}  // namespace octavo::cpu::OCTAVO_ISA
