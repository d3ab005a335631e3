// linear on AMX: bf16 weights, x rounded to bf16, float32 sums.
//
// Goal: with up to 16 rows, read the weight once at the rate of memory (sixteen rows cost what one
// does); with many, keep the tile unit busy: one product of 16 x 32 by 32 x 16 takes it 16 cycles.
// Layouts: a panel of the weight is a row of 1 KiB tiles [K/32][16][16][2] (linear_problem.h). x
// becomes tiles too, [M/16][K/32][16][32]: its rows lie 64 bytes apart, where a stride of 2 K bytes
// would put all sixteen into one set of the L1 cache.
//
// 1. x is packed: by all threads into tiles_of_x if it is large, else by each thread for itself.
// 2. Up to 16 rows: per pair of panels two tiles of sums, for k: load A, load B twice, multiply
//    twice. The panels are two sequential streams, prefetched kPrefetchBytes ahead, across the end
//    of the pair.
// 3. More rows: blocks of up to kBlockRows rows and so much of k that their x (1 MiB) stays in L2,
//    by kBlockPairs pairs. Inside, 2 x 2 tiles of sums: four loads for four products; meanwhile the
//    next pair is prefetched. Where K is larger than a block the sums rest in scratch between
//    blocks. A float32 tile comes back as it went, so the order of summation and the bits are those
//    of one pass over k, and of case 2.
// A short last tile of rows is padded with zero rows.
#pragma once

#include "backend/cpu/amx_tiles.h"
#include "backend/cpu/linear_epilogue_impl.h"
#include "backend/cpu/linear_problem.h"
#include "backend/cpu/vec.h"

namespace octavo::cpu::OCTAVO_ISA {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 1024;
constexpr int64_t kPrefetchBytes = 4096;
constexpr int64_t kBlockRows = 512;
constexpr int64_t kBlockPairs = 64;
constexpr int64_t kBlockValuesOfX = 512 << 10;  // rows times k of a block
constexpr int64_t kLeastBlockK = 1024, kMostBlockK = 4096;
// Above this many values each thread packing all of x for itself costs more than a second barrier.
constexpr int64_t kPackAloneValues = 32 << 10;
constexpr int64_t kSumsStride = kPairColumns * 4;

OCTAVO_INLINE int64_t round_up(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

// 32 values of x, round to nearest even.
OCTAVO_INLINE void pack_values(const float* x, uint16_t* to) {
#if defined(__AVX512BF16__)
  const __m512bh v = _mm512_cvtne2ps_pbh((__m512)load(x + 16), (__m512)load(x));
  memcpy(to, &v, 64);
#else
  for (int i = 0; i < kTileK; i += kWidth) store_bf16(to + i, load(x + i));
#endif
}

// Rows [m_begin, m_end), m_begin a multiple of 16, into `tiles`, where row 0 is x's row 0. Rows
// that fill up the last tile become zero.
static void pack_x(const LinearProblem& p, int64_t m_begin, int64_t m_end, uint16_t* tiles) {
  const int64_t k = p.weight.k, padded_k = p.weight.padded_k;
  const int64_t whole = k / kTileK * kTileK;
  for (int64_t m = m_begin; m < round_up(m_end, kTileRows); ++m) {
    uint16_t* to = tiles + m / kTileRows * kTileRows * padded_k + m % kTileRows * kTileK;
    if (m >= m_end) {
      for (int64_t i = 0; i < padded_k; i += kTileK) memset(to + i * kTileRows, 0, 64);
      continue;
    }
    const float* x = p.x + m * k;
    for (int64_t i = 0; i < whole; i += kTileK) pack_values(x + i, to + i * kTileRows);
    if (whole < k) {
      float rest[kTileK] = {};
      memcpy(rest, x + whole, static_cast<size_t>(k - whole) * 4);
      pack_values(rest, to + whole * kTileRows);
    }
  }
}

// --- up to 16 rows ---

// sums [16][32] of one pair of panels; `next` is the pair to come, or null.
static void multiply_few_rows(const char* a, const char* pair, int64_t panel_bytes,
                              const char* next, int64_t tiles_of_k, float* sums) {
  Tiles::zero<0>();
  Tiles::zero<1>();
  const char* b = pair;
  const int64_t ahead =
      tiles_of_k < kPrefetchBytes / kTileBytes ? tiles_of_k : kPrefetchBytes / kTileBytes;
  const auto run = [&](int64_t n, int64_t prefetch_at) {
    for (int64_t i = 0; i < n; ++i, a += kTileBytes, b += kTileBytes) {
      for (int line = 0; line < kTileBytes; line += 64) {
        __builtin_prefetch(b + prefetch_at + line);
        __builtin_prefetch(b + panel_bytes + prefetch_at + line);
      }
      Tiles::load<4>(a, 64);
      Tiles::load<6>(b, 64);
      Tiles::load<7>(b + panel_bytes, 64);
      Tiles::multiply_add<0, 4, 6>();
      Tiles::multiply_add<1, 4, 7>();
    }
  };
  run(tiles_of_k - ahead, ahead * kTileBytes);
  run(ahead, next == nullptr ? 0 : next - b);
  Tiles::store<0>(sums, kSumsStride);
  Tiles::store<1>(sums + kPanel, kSumsStride);
}

static void multiply_few(const LinearProblem& p, const LinearPart& part, const char* a,
                         float* sums) {
  const PackedWeight& w = p.weight;
  Tiles::configure(static_cast<int>(part.m_end - part.m_begin));
  for (int64_t pair = part.pair_begin; pair < part.pair_end; ++pair) {
    const char* b = w.data + pair * 2 * w.panel_bytes;
    const char* next = pair + 1 < part.pair_end ? b + 2 * w.panel_bytes : nullptr;
    multiply_few_rows(a, b, w.panel_bytes, next, w.padded_k / kTileK, sums);
    finish_pair(p, pair, part.m_begin, part.m_end, sums, kPairColumns);
  }
  Tiles::release();
}

// --- many rows ---

// Lines of a pair of panels to ask for while another pair is worked on.
struct Ahead {
  const char* at;  // in the first panel; the same offset in the second is asked for too
  int lines;       // of each panel, for each tile of k
};

// 32 (kTall) or 16 rows by 32 outputs, over `tiles_of_k` tiles of k. Sums [rows][32] start from
// zero or go on from where the last block of k left them.
template <bool kTall>
static void multiply_square(const char* a, int64_t row_of_tiles, const char* b, int64_t panel_bytes,
                            int64_t tiles_of_k, Ahead ahead, bool start, float* sums) {
  float* lower = sums + kTileRows * kPairColumns;
  if (start) {
    Tiles::zero<0>();
    Tiles::zero<1>();
    if constexpr (kTall) Tiles::zero<2>();
    if constexpr (kTall) Tiles::zero<3>();
  } else {
    Tiles::load<0>(sums, kSumsStride);
    Tiles::load<1>(sums + kPanel, kSumsStride);
    if constexpr (kTall) Tiles::load<2>(lower, kSumsStride);
    if constexpr (kTall) Tiles::load<3>(lower + kPanel, kSumsStride);
  }
  for (int64_t i = 0; i < tiles_of_k; ++i, a += kTileBytes, b += kTileBytes) {
    for (int line = 0; line < ahead.lines; ++line, ahead.at += 64) {
      __builtin_prefetch(ahead.at, 0, 2);
      __builtin_prefetch(ahead.at + panel_bytes, 0, 2);
    }
    Tiles::load<6>(b, 64);
    Tiles::load<4>(a, 64);
    Tiles::load<7>(b + panel_bytes, 64);
    Tiles::multiply_add<0, 4, 6>();
    Tiles::multiply_add<1, 4, 7>();
    if constexpr (kTall) {
      Tiles::load<5>(a + row_of_tiles, 64);
      Tiles::multiply_add<2, 5, 6>();
      Tiles::multiply_add<3, 5, 7>();
    }
  }
  Tiles::store<0>(sums, kSumsStride);
  Tiles::store<1>(sums + kPanel, kSumsStride);
  if constexpr (kTall) Tiles::store<2>(lower, kSumsStride);
  if constexpr (kTall) Tiles::store<3>(lower + kPanel, kSumsStride);
}

// One block: rows [m, m_end) by pairs [pair, pair_end) by tiles of k [k, k_end).
struct Block {
  int64_t m, m_end, pair, pair_end, k, k_end;
};

// `a` is the tile of row block.m at k = 0. Sums: [pair][row][32] if K takes several blocks, else
// one square.
static void multiply_block(const LinearProblem& p, const Block& block, const char* a, float* sums) {
  const PackedWeight& w = p.weight;
  const int64_t tiles_of_k = w.padded_k / kTileK, row_of_tiles = tiles_of_k * kTileBytes;
  const bool first = block.k == 0, last = block.k_end == tiles_of_k, whole = first && last;
  const int64_t rows = round_up(block.m_end - block.m, 32), depth = block.k_end - block.k;
  const int64_t squares = rows / 32;
  const int lines = static_cast<int>((kTileBytes / 64 + squares - 1) / squares);
  for (int64_t pair = block.pair; pair < block.pair_end; ++pair) {
    const char* b = w.data + pair * 2 * w.panel_bytes + block.k * kTileBytes;
    float* to = whole ? sums : sums + (pair - block.pair) * rows * kPairColumns;
    // The last pair of a block asks for nothing.
    Ahead ahead{b + 2 * w.panel_bytes, pair + 1 < block.pair_end ? lines : 0};
    for (int64_t m = block.m; m < block.m_end; m += 32) {
      const char* at = a + (m - block.m) / kTileRows * row_of_tiles + block.k * kTileBytes;
      const int64_t m_end = m + 32 < block.m_end ? m + 32 : block.m_end;
      if (m_end - m > kTileRows) {
        multiply_square<true>(at, row_of_tiles, b, w.panel_bytes, depth, ahead, first, to);
      } else {
        multiply_square<false>(at, row_of_tiles, b, w.panel_bytes, depth, ahead, first, to);
      }
      ahead.at += depth * lines * 64;
      if (last) finish_pair(p, pair, m, m_end, to, kPairColumns);
      if (!whole) to += 32 * kPairColumns;
    }
  }
}

OCTAVO_INLINE int64_t least(int64_t x, int64_t y) {
  return x < y ? x : y;
}

// Values of k in a block of so many rows.
OCTAVO_INLINE int64_t block_k(int64_t rows) {
  const int64_t fitting = kBlockValuesOfX / rows / kTileK * kTileK;
  return fitting < kLeastBlockK ? kLeastBlockK : least(fitting, kMostBlockK);
}

static void multiply_many(const LinearProblem& p, const LinearPart& part, const char* a,
                          float* sums) {
  const int64_t tiles_of_k = p.weight.padded_k / kTileK, row_of_tiles = tiles_of_k * kTileBytes;
  Tiles::configure(kTileRows);
  Block b;
  for (b.m = part.m_begin; b.m < part.m_end; b.m = b.m_end) {
    b.m_end = least(b.m + kBlockRows, part.m_end);
    const int64_t depth = block_k(b.m_end - b.m) / kTileK;
    for (b.pair = part.pair_begin; b.pair < part.pair_end; b.pair = b.pair_end) {
      b.pair_end = least(b.pair + kBlockPairs, part.pair_end);
      for (b.k = 0; b.k < tiles_of_k; b.k = b.k_end) {
        b.k_end = least(b.k + depth, tiles_of_k);
        multiply_block(p, b, a + (b.m - part.m_begin) / kTileRows * row_of_tiles, sums);
      }
    }
  }
  Tiles::release();
}

// --- the table ---

static int64_t packed_bytes(const LinearProblem& p) {
  return round_up(p.m, kTileRows) * p.weight.padded_k * 2;
}

static size_t tiles_of_x_bytes(const LinearProblem& p) {
  return p.m * p.weight.k <= kPackAloneValues ? 0 : static_cast<size_t>(packed_bytes(p));
}

// Room for any part of the problem: fewer rows may take longer blocks of k, never shorter ones.
static int64_t sums_bytes(const LinearProblem& p) {
  const int64_t rows = round_up(least(p.m, kBlockRows), 32);
  if (p.m <= kTileRows || p.weight.padded_k <= block_k(rows)) return 32 * kSumsStride;
  return rows * kSumsStride * least(p.weight.pairs, kBlockPairs);
}

static size_t scratch_bytes(const LinearProblem& p) {
  return static_cast<size_t>(sums_bytes(p) + (tiles_of_x_bytes(p) == 0 ? packed_bytes(p) : 0));
}

// REQUIRES: part.m_begin is a multiple of 16; with tiles_of_x null, the part has all rows.
static void multiply(const LinearProblem& p, const LinearPart& part, void* scratch) {
  float* sums = static_cast<float*>(scratch);
  const uint16_t* tiles = p.tiles_of_x;
  if (tiles == nullptr) {
    uint16_t* own = reinterpret_cast<uint16_t*>(static_cast<char*>(scratch) + sums_bytes(p));
    pack_x(p, 0, p.m, own);
    tiles = own;
  }
  const char* a = reinterpret_cast<const char*>(tiles + part.m_begin * p.weight.padded_k);
  if (part.m_end - part.m_begin <= kTileRows) {
    multiply_few(p, part, a, sums);
  } else {
    multiply_many(p, part, a, sums);
  }
}

extern const LinearKernels kLinearKernels;
const LinearKernels kLinearKernels = {scratch_bytes, multiply, tiles_of_x_bytes, pack_x};

}  // namespace octavo::cpu::OCTAVO_ISA
