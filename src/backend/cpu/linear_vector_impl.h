// linear on the vector instruction sets, float32 arithmetic for every weight format.
//
// Goal: with few rows, read the packed weight once at the rate of the memory it lies in; with
// many, keep the multiply-add units busy. Layouts: linear_problem.h. x [m, k] float32, row-major.
//
// 1. A tile is R rows by P panels of outputs. Its R * P * 16 / kWidth accumulators stay in
//    registers for all of k: per k it loads one vector of weights a column and broadcasts one
//    value of x a row.
// 2. Few rows: R = m, and P as large as registers allow, since a chain of multiply-adds must wait
//    four cycles for itself and only other chains can fill the time. The panels are P sequential
//    streams, prefetched kPrefetchBytes ahead, and near their end the next tile's are.
// 3. More rows: they are cut into tiles of nearly equal height, and the pair of panels comes from
//    L1/L2 after the first. From kUnpackRows rows on, a 16-bit pair is first widened into
//    scratch, once for all tiles. While they work on one pair, the tiles prefetch the next.
// 4. Rows are taken in blocks whose x stays in L2 while all pairs pass by.
// The sums of a tile go through a small buffer to finish_pair().
#pragma once

#include "backend/cpu/linear_epilogue_impl.h"
#include "backend/cpu/linear_problem.h"
#include "backend/cpu/vec.h"

namespace octavo::cpu::OCTAVO_ISA {

// Shapes by the number of vector registers: 32, 16 and 16.
#if defined(__AVX512F__)
constexpr int kTileRows = 12, kTilePanels = 2, kFewRows = 3, kFewPanels = 4;
#elif defined(__AVX2__)
constexpr int kTileRows = 6, kTilePanels = 1, kFewRows = 3, kFewPanels = 2;
#else
constexpr int kTileRows = 3, kTilePanels = 1, kFewRows = 1, kFewPanels = 2;
#endif
constexpr int kVecsPerPanel = kPanel / kWidth;
constexpr int kPrefetchBytes = 2048;
constexpr int kUnpackRows = 4 * kTileRows;
constexpr int64_t kBlockBytesOfX = 768 << 10;
constexpr int64_t kSumsBytes = kTileRows * kFewPanels * kPanel * 4;

// One tile: sums[r][p * 16 + j] = sum over k of x[r][k] * w[p][k][j]. Meanwhile it prefetches: if
// `slice` is null, its own panels, and at their end the start of those at `next` (or null); else
// panels `slice_panel_bytes` apart, from `slice` on, `slice_step` bytes for each step of k.
struct Tile {
  const float* x;
  int64_t stride_of_x;
  const char* w;
  int64_t panel_bytes;
  int64_t k;
  float* sums;
  int64_t stride_of_sums;
  const char* next = nullptr;
  const char* slice = nullptr;
  int64_t slice_panel_bytes = 0;
  int64_t slice_step = 0;
};

template <WeightFormat F>
constexpr int kStepK =
    F == WeightFormat::kBF16 ? 2 : 1;  // values of k in one vector load per 16 columns
template <WeightFormat F>
constexpr int kStepBytes = F == WeightFormat::kF16 ? 32 : 64;

// The weights of vector v (of panel p, 16 / kWidth a panel) at value `which` of the step at `w`.
template <WeightFormat F>
OCTAVO_INLINE Vec weights(const char* w, int v, int which) {
  if constexpr (F == WeightFormat::kF32) return load_as<Vec>(w + v * 4 * kWidth);
  if constexpr (F == WeightFormat::kF16) return from_f16(load_as<VecH>(w + v * 2 * kWidth));
  const VecU pairs = load_as<VecU>(w + v * 4 * kWidth);
  return which == 0 ? bf16_even(pairs) : bf16_odd(pairs);
}

template <WeightFormat F, int R, int P>
OCTAVO_INLINE void multiply_step(Vec (&sums)[R][P * kVecsPerPanel], const Tile& t, const char* w,
                                 const float* x, int values) {
  for (int which = 0; which < values; ++which) {
    Vec b[P * kVecsPerPanel];
    for (int v = 0; v < P * kVecsPerPanel; ++v) {
      b[v] = weights<F>(w + v / kVecsPerPanel * t.panel_bytes, v % kVecsPerPanel, which);
    }
    for (int r = 0; r < R; ++r) {
      const Vec a = broadcast(x[r * t.stride_of_x + which]);
      for (int v = 0; v < P * kVecsPerPanel; ++v) sums[r][v] = fma(a, b[v], sums[r][v]);
    }
  }
}

template <WeightFormat F, int R, int P>
static void multiply_tile(const Tile& t) {
  Vec sums[R][P * kVecsPerPanel] = {};
  const char* w = t.w;
  const float* x = t.x;
  const auto run = [&](int64_t n, const char* ahead, int64_t ahead_panel_bytes,
                       int64_t ahead_step) {
    for (int64_t i = 0; i < n; ++i) {
      for (int p = 0; p < P; ++p) __builtin_prefetch(ahead + p * ahead_panel_bytes);
      multiply_step<F, R, P>(sums, t, w, x, kStepK<F>);
      ahead += ahead_step;
      w += kStepBytes<F>;
      x += kStepK<F>;
    }
  };
  const int64_t steps = t.k / kStepK<F>, window = kPrefetchBytes / kStepBytes<F>;
  if (t.slice != nullptr) {
    run(steps, t.slice, t.slice_panel_bytes, t.slice_step);
  } else {
    const int64_t last = steps < window ? steps : window;
    run(steps - last, w + last * kStepBytes<F>, t.panel_bytes, kStepBytes<F>);
    run(last, t.next == nullptr ? w : t.next, t.panel_bytes, kStepBytes<F>);
  }
  if (t.k % kStepK<F> != 0) multiply_step<F, R, P>(sums, t, w, x, 1);
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < P * kVecsPerPanel; ++v) {
      store(t.sums + r * t.stride_of_sums + v * kWidth, sums[r][v]);
    }
  }
}

// Calls multiply_tile for a number of rows known at run time.
template <WeightFormat F, int P, int R>
OCTAVO_INLINE void multiply_rows(int rows, const Tile& t) {
  if constexpr (R > 0) {
    if (rows == R) return multiply_tile<F, R, P>(t);
    multiply_rows<F, P, R - 1>(rows, t);
  }
}

// At most kFewRows rows: kFewPanels panels at a time, then the pair or pairs that are left over.
template <WeightFormat F>
static void multiply_few(const LinearProblem& p, const LinearPart& part, float* sums) {
  const PackedWeight& w = p.weight;
  const int rows = static_cast<int>(part.m_end - part.m_begin);
  const int64_t pair_bytes = 2 * w.panel_bytes;
  for (int64_t pair = part.pair_begin; pair < part.pair_end;) {
    const int64_t pairs = pair + kFewPanels / 2 <= part.pair_end ? kFewPanels / 2 : 1;
    const char* at = w.data + pair * pair_bytes;
    const char* next = pair + pairs < part.pair_end ? at + pairs * pair_bytes : nullptr;
    const Tile t{.x = p.x + part.m_begin * w.k,
                 .stride_of_x = w.k,
                 .w = at,
                 .panel_bytes = w.panel_bytes,
                 .k = w.k,
                 .sums = sums,
                 .stride_of_sums = kFewPanels * kPanel,
                 .next = next};
    if (pairs == kFewPanels / 2) {
      multiply_rows<F, kFewPanels, kFewRows>(rows, t);
    } else {
      multiply_rows<F, 2, kFewRows>(rows, t);
    }
    for (int64_t i = 0; i < pairs; ++i) {
      finish_pair(p, pair + i, part.m_begin, part.m_end, sums + i * kPairColumns,
                  kFewPanels * kPanel);
    }
    pair += pairs;
  }
}

// Widens a pair of panels to float32 panels [k][16].
template <WeightFormat F>
static void unpack_pair(const PackedWeight& w, const char* pair, float* to) {
  for (int panel = 0; panel < 2; ++panel) {
    const char* from = pair + panel * w.panel_bytes;
    for (int64_t k = 0; k < w.padded_k; k += kStepK<F>, from += kStepBytes<F>) {
      __builtin_prefetch(from + kPrefetchBytes);
      for (int which = 0; which < kStepK<F>; ++which, to += kPanel) {
        for (int v = 0; v < kVecsPerPanel; ++v) store(to + v * kWidth, weights<F>(from, v, which));
      }
    }
  }
}

// One pair of panels, in format F at `w`, times the rows [m_begin, m_end) in tiles of nearly equal
// height. If there are several, they share the prefetching of the packed pair `next`.
template <WeightFormat F>
static void multiply_pair(const LinearProblem& p, int64_t pair, const char* w, int64_t panel_bytes,
                          const char* next, int64_t m_begin, int64_t m_end, float* sums) {
  const int64_t k = p.weight.k, rows = m_end - m_begin, tiles = (rows + kTileRows - 1) / kTileRows;
  const int64_t slices = tiles * (k < kStepK<F> ? 1 : k / kStepK<F>);
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t begin = m_begin + rows * i / tiles, end = m_begin + rows * (i + 1) / tiles;
    for (int panel = 0; panel < 2; panel += kTilePanels) {
      Tile t{.x = p.x + begin * k,
             .stride_of_x = k,
             .w = w + panel * panel_bytes,
             .panel_bytes = panel_bytes,
             .k = k,
             .sums = sums + panel * kPanel,
             .stride_of_sums = kPairColumns};
      if (next != nullptr) t.next = next + panel * p.weight.panel_bytes;
      if (next != nullptr && tiles > 1) {
        t.slice = t.next + p.weight.panel_bytes * i / tiles;
        t.slice_panel_bytes = p.weight.panel_bytes;
        t.slice_step = (p.weight.panel_bytes + slices - 1) / slices;
      }
      multiply_rows<F, kTilePanels, kTileRows>(static_cast<int>(end - begin), t);
    }
    finish_pair(p, pair, begin, end, sums, kPairColumns);
  }
}

template <WeightFormat F>
static void multiply_many(const LinearProblem& p, const LinearPart& part, float* sums,
                          float* unpacked) {
  const PackedWeight& w = p.weight;
  const int64_t fitting = kBlockBytesOfX / (4 * w.k) / kTileRows * kTileRows;
  const int64_t block = fitting < 2 * kUnpackRows ? 2 * kUnpackRows : fitting;
  for (int64_t m = part.m_begin; m < part.m_end; m += block) {
    const int64_t m_end = m + block < part.m_end ? m + block : part.m_end;
    for (int64_t pair = part.pair_begin; pair < part.pair_end; ++pair) {
      const char* at = w.data + pair * 2 * w.panel_bytes;
      const char* next = pair + 1 < part.pair_end ? at + 2 * w.panel_bytes : nullptr;
      if (F != WeightFormat::kF32 && m_end - m >= kUnpackRows) {
        unpack_pair<F>(w, at, unpacked);
        multiply_pair<WeightFormat::kF32>(p, pair, reinterpret_cast<const char*>(unpacked),
                                          w.padded_k * kPanel * 4, next, m, m_end, sums);
      } else {
        multiply_pair<F>(p, pair, at, w.panel_bytes, next, m, m_end, sums);
      }
    }
  }
}

template <WeightFormat F>
OCTAVO_INLINE void multiply_format(const LinearProblem& p, const LinearPart& part, float* scratch) {
  if (part.m_end - part.m_begin <= kFewRows) {
    multiply_few<F>(p, part, scratch);
  } else {
    multiply_many<F>(p, part, scratch, scratch + kSumsBytes / 4);
  }
}

static void multiply(const LinearProblem& p, const LinearPart& part, void* scratch) {
  float* floats = static_cast<float*>(scratch);
  switch (p.weight.format) {
    case WeightFormat::kF32:
      return multiply_format<WeightFormat::kF32>(p, part, floats);
    case WeightFormat::kBF16:
      return multiply_format<WeightFormat::kBF16>(p, part, floats);
    case WeightFormat::kF16:
      return multiply_format<WeightFormat::kF16>(p, part, floats);
  }
}

static size_t scratch_bytes(const LinearProblem& p) {
  const bool unpacks = p.weight.format != WeightFormat::kF32 && p.m >= kUnpackRows;
  return static_cast<size_t>(kSumsBytes + (unpacks ? 2 * p.weight.padded_k * kPanel * 4 : 0));
}

extern const LinearKernels kLinearKernels;
const LinearKernels kLinearKernels = {scratch_bytes, multiply, nullptr, nullptr};

}  // namespace octavo::cpu::OCTAVO_ISA
