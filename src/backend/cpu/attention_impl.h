// Paged flash attention over Vec, for f32, bf16 and f16 caches.
//
// Goal: KV streams at the memory's rate when few query tokens read it, multiply-adds run at their
// own rate when many do, and a token's output is the same bits in both cases.
//
// A task is up to 64 rows: some consecutive query tokens of a sequence times the heads that share
// one KV head, row = token * heads + head. It walks over the positions in tiles of 64, aligned to
// absolute position 0, and per tile, with m the running maximum, l the running sum and o the
// running output of a row:
//   1. s = K q      [rows, 64]  16 positions fill the lanes; a chain of multiply-adds over d = 0,
//   1, …
//   2. m' = max(m, max s),  p = 2^(s - m'),  c = 2^(m - m'),  l = c l + sum p    (q holds scale *
//   log2 e)
//   3. o = c o + p V            lanes are d; a chain of multiply-adds over the positions, ascending
// and ends with o / l.
//
// Why the bits of a row do not depend on the other rows of its task: a row takes part only in tiles
// that hold a position it may see; within a tile lanes are independent in 1, step 2 sees -inf in
// masked lanes, so that their p is exactly 0, and step 3 leaves masked positions out of the chain.
// Rows share loads, never sums. Step 1 and 3 are register blocks of kRowBlock rows. A task of one
// block reads the cache itself and fetches the next tile on the way, whose place only the block
// table knows; with more rows the tile is first widened to float32 in scratch memory, which is
// exact.
#pragma once

#include "backend/cpu/attention_kernels.h"
#include "backend/cpu/vec_extra.h"

namespace octavo::cpu::OCTAVO_ISA {

constexpr int kVecs = kSubBlock / kWidth;  // vectors that hold 16 floats
constexpr int kRowBlock = kWidth >= 8 ? 4 : 2;
constexpr int kSubBlocksAtOnce = kWidth == 16 ? 4 : 1;  // of step 1
constexpr int kMaxOutVecs = kWidth == 8 ? 2 : 4;        // of step 3
constexpr int kHeadDimStep = 8;                         // divides head_dim
constexpr float kLog2E = 1.44269504f;

template <KvElement E>
OCTAVO_INLINE Vec load_kv(const char* base, int64_t element) {
  if constexpr (E == KvElement::kF32) return load_as<Vec>(base + element * 4);
  const VecH bits = load_as<VecH>(base + element * 2);
  if constexpr (E == KvElement::kBF16) return from_bf16(bits);
  return from_f16(bits);
}

// Fetches kCount elements; of no real address it does nothing.
template <KvElement E, int kCount>
OCTAVO_INLINE void prefetch(const char* base, int64_t element) {
  constexpr int kBytes = E == KvElement::kF32 ? 4 : 2, kLine = 64;
  const auto address = reinterpret_cast<uintptr_t>(base) + element * kBytes;
#pragma GCC unroll 16
  for (int at = 0; at < kCount * kBytes; at += kLine) {
    __builtin_prefetch(reinterpret_cast<const void*>(address + at), 0, 2);
  }
}

// Where step 1 and 3 find a tile.
enum class Source {
  kCache,   // in the cache, in its dtype; the next tile is prefetched
  kNearby,  // as float32 in the processor's own caches, where many rows read it
};

// The part of a task's KV that lies in one tile, and who reads it.
struct TileView {
  const char* keys[kTile / kSubBlock];    // [head_dim, 16] each; null outside the sub-blocks below
  const char* values[kTile / kSubBlock];  // [16, value_stride]
  int position;                           // of the tile's first lane
  int first_sub, last_sub;                // sub-blocks with a position that some row sees
  int first_token, last_token;            // query tokens that see a position of the tile
};

// The lanes [begin, end) of a tile that query token t may see.
struct Visible {
  int begin, end;
};
OCTAVO_INLINE Visible visible(const AttentionTask& task, int tile_position, int t) {
  const int position = task.position + t;
  const int oldest = task.window > 0 && position >= task.window ? position - task.window + 1 : 0;
  const int begin = oldest - tile_position, end = position + 1 - tile_position;
  return {begin < 0 ? 0 : begin, end > kTile ? kTile : end};
}

// Step 1 for kRows rows and kSubs sub-blocks.
template <KvElement E, Source kSource, int kRows, int kSubs>
static void score_block(const float* q, int64_t q_stride, const char* const* keys,
                        const char* const* next_keys, int head_dim, float* scores) {
  constexpr int kColumns = kSubs * kVecs;
  Vec acc[kRows][kColumns] = {};
  for (int first = 0; first < head_dim; first += kHeadDimStep) {
    if constexpr (kSource == Source::kCache) {
      for (int sub = 0; sub < kSubs; ++sub) {
        prefetch<E, kHeadDimStep * kSubBlock>(next_keys[sub], int64_t{first} * kSubBlock);
      }
    }
#pragma GCC unroll 8
    for (int d = first; d < first + kHeadDimStep; ++d) {
      Vec k[kColumns];
#pragma GCC unroll 16
      for (int c = 0; c < kColumns; ++c) {
        k[c] = load_kv<E>(keys[c / kVecs], int64_t{d} * kSubBlock + c % kVecs * kWidth);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vec x = broadcast(q[r * q_stride + d]);
#pragma GCC unroll 16
        for (int c = 0; c < kColumns; ++c) acc[r][c] = fma(x, k[c], acc[r][c]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < kColumns; ++c) store(scores + r * kTile + c * kWidth, acc[r][c]);
  }
}

template <KvElement E, Source kSource, int kRows>
OCTAVO_INLINE void score_rows(const float* q, int64_t q_stride, const TileView& tile,
                              const TileView& next, int head_dim, float* scores) {
  int sub = tile.first_sub;
  for (; sub + kSubBlocksAtOnce <= tile.last_sub; sub += kSubBlocksAtOnce) {
    score_block<E, kSource, kRows, kSubBlocksAtOnce>(q, q_stride, tile.keys + sub, next.keys + sub,
                                                     head_dim, scores + sub * kSubBlock);
  }
  for (; sub < tile.last_sub; ++sub) {
    score_block<E, kSource, kRows, 1>(q, q_stride, tile.keys + sub, next.keys + sub, head_dim,
                                      scores + sub * kSubBlock);
  }
}

// Calls fn(v) for the vectors of a row that hold a lane of `lanes`, unrolled where that is all of
// them.
template <typename F>
OCTAVO_INLINE void for_vectors(Visible lanes, F fn) {
  constexpr int kAll = kTile / kWidth;
  if (lanes.begin < kWidth && lanes.end > kTile - kWidth) {
#pragma GCC unroll 16
    for (int v = 0; v < kAll; ++v) fn(v);
    return;
  }
  const int last = (lanes.end + kWidth - 1) / kWidth;
  for (int v = lanes.begin / kWidth; v < last; ++v) fn(v);
}

// Puts -inf where the row may not look; returns the greatest of the rest, or -inf.
OCTAVO_INLINE float mask_row(float* scores, Visible lanes) {
  Vec top = broadcast(-__builtin_inff());
  for_vectors(lanes, [&](int v) {
    Vec s = load(scores + v * kWidth);
    const int begin = lanes.begin - v * kWidth, end = lanes.end - v * kWidth;
    if (begin > 0 || end < kWidth) {
      uint32_t seen = end < kWidth ? (1u << end) - 1 : kAllLanes;
      if (begin > 0) seen &= ~((1u << begin) - 1);
      s = select_bits(seen, s, broadcast(-__builtin_inff()));
      store(scores + v * kWidth, s);
    }
    top = max(s, top);
  });
  return max_lane(top);
}

// Scores become weights; their sum goes to the row's lane sums.
OCTAVO_INLINE void weigh_row(float* weights, Visible lanes, float maximum, float correction,
                             float* lane_sums) {
  const Vec m = broadcast(maximum);
  Vec total = load(lane_sums) * broadcast(correction);
  for_vectors(lanes, [&](int v) {
    const Vec p = exp2_nonpositive(load(weights + v * kWidth) - m);
    store(weights + v * kWidth, p);
    total = total + p;
  });
  store(lane_sums, total);
}

// Step 2 for the rows that see the tile; corrections [kMaxRows].
static void softmax_rows(const AttentionTask& task, const AttentionScratch& scratch,
                         const TileView& tile, float* corrections) {
  const int heads = task.heads, first = tile.first_token * heads, last = tile.last_token * heads;
  float maxima[kMaxRows] = {};
  for (int t = tile.first_token; t < tile.last_token; ++t) {
    const Visible lanes = visible(task, tile.position, t);
    for (int row = t * heads; row < (t + 1) * heads; ++row) {
      const float top = mask_row(scratch.weights + row * kTile, lanes);
      maxima[row] = top > scratch.maxima[row] ? top : scratch.maxima[row];
    }
  }
  // Lanes are rows here; nobody looks at those past the end.
  for (int row = first / kWidth * kWidth; row < last; row += kWidth) {
    store(corrections + row, exp2_nonpositive(load(scratch.maxima + row) - load(maxima + row)));
  }
  for (int t = tile.first_token; t < tile.last_token; ++t) {
    const Visible lanes = visible(task, tile.position, t);
    for (int row = t * heads; row < (t + 1) * heads; ++row) {
      scratch.maxima[row] = maxima[row];
      weigh_row(scratch.weights + row * kTile, lanes, maxima[row], corrections[row],
                scratch.lane_sums + row * 16);
    }
  }
}

// Step 3 for kRows rows that see the same lanes, and kColumns vectors of head_dim.
template <KvElement E, Source kSource, int kRows, int kColumns>
static void value_block(const float* weights, Visible lanes, const TileView& tile,
                        const TileView& next, int64_t first_element, int64_t stride,
                        const float* corrections, float* out) {
  Vec acc[kRows][kColumns];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < kColumns; ++c) {
      acc[r][c] = load(out + r * stride + first_element + c * kWidth) * broadcast(corrections[r]);
    }
  }
  for (int lane = lanes.begin; lane < lanes.end;) {
    const char* values = tile.values[lane / kSubBlock];
    const char* next_values = next.values[lane / kSubBlock];
    int64_t at = lane % kSubBlock * stride + first_element;
    const int stop = (lane / kSubBlock + 1) * kSubBlock;
    const int end = stop < lanes.end ? stop : lanes.end;
    for (; lane < end; ++lane, at += stride) {
      if constexpr (kSource == Source::kCache) {
        prefetch<E, kColumns * kWidth>(next_values, at);
      }
      Vec v[kColumns];
#pragma GCC unroll 16
      for (int c = 0; c < kColumns; ++c) {
        v[c] = load_kv<E>(values, at + c * kWidth);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vec p = broadcast(weights[r * kTile + lane]);
#pragma GCC unroll 16
        for (int c = 0; c < kColumns; ++c) acc[r][c] = fma(p, v[c], acc[r][c]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < kColumns; ++c)
      store(out + r * stride + first_element + c * kWidth, acc[r][c]);
  }
}

template <KvElement E, Source kSource, int kRows>
OCTAVO_INLINE void value_rows(const float* weights, Visible lanes, const TileView& tile,
                              const TileView& next, int64_t stride, const float* corrections,
                              float* out) {
  int64_t e = 0;
  for (; e + kMaxOutVecs * kWidth <= stride; e += kMaxOutVecs * kWidth) {
    value_block<E, kSource, kRows, kMaxOutVecs>(weights, lanes, tile, next, e, stride, corrections,
                                                out);
  }
  if (e + 2 * kWidth <= stride) {
    value_block<E, kSource, kRows, 2>(weights, lanes, tile, next, e, stride, corrections, out);
    e += 2 * kWidth;
  }
  if (e < stride)
    value_block<E, kSource, kRows, 1>(weights, lanes, tile, next, e, stride, corrections, out);
}

template <int kCount>
struct RowCount {
  static constexpr int value = kCount;
};

// Calls fn with the number of rows as a constant.
template <typename F>
OCTAVO_INLINE void with_row_count(int rows, F fn) {
  if (rows == 1) return fn(RowCount<1>{});
  if (rows == 2 || kRowBlock == 2) return fn(RowCount<2>{});
  if (rows == 3) return fn(RowCount<3>{});
  fn(RowCount<kRowBlock>{});
}

// Steps 1 to 3 of one tile, for the rows that see it.
template <KvElement E, Source kSource>
static void attend_tile(const AttentionTask& task, const AttentionScratch& scratch,
                        const TileView& tile, const TileView& next) {
  const int head_dim = task.kv->head_dim;
  const int64_t stride = task.kv->value_stride;
  const int first = tile.first_token * task.heads, last = tile.last_token * task.heads;
  for (int row = first; row < last; row += kRowBlock) {
    with_row_count(last - row < kRowBlock ? last - row : kRowBlock, [&](auto rows) {
      score_rows<E, kSource, rows.value>(scratch.q + row * stride, stride, tile, next, head_dim,
                                         scratch.weights + row * kTile);
    });
  }
  float corrections[kMaxRows];
  softmax_rows(task, scratch, tile, corrections);
  for (int row = first; row < last;) {
    const Visible lanes = visible(task, tile.position, row / task.heads);
    int count = last - row < kRowBlock ? last - row : kRowBlock;
    // Both ends of what a token sees grow with the token, so comparing the last row is enough.
    for (; count > 1; --count) {
      const Visible other = visible(task, tile.position, (row + count - 1) / task.heads);
      if (other.begin == lanes.begin && other.end == lanes.end) break;
    }
    with_row_count(count, [&](auto rows) {
      value_rows<E, kSource, rows.value>(scratch.weights + row * kTile, lanes, tile, next, stride,
                                         corrections + row, scratch.out + row * stride);
    });
    row += count;
  }
}

// Finds the tile's sub-blocks and readers. `oldest` and `newest`: the positions that any row sees.
// Past them the tile is empty.
static TileView view_tile(const AttentionTask& task, int position, int oldest, int newest) {
  const KvView& kv = *task.kv;
  TileView tile = {};
  if (position > newest) return tile;
  tile.position = position;
  tile.first_sub = oldest > position ? (oldest - position) / kSubBlock : 0;
  tile.last_sub =
      newest - position >= kTile ? kTile / kSubBlock : (newest - position) / kSubBlock + 1;
  for (int s = tile.first_sub; s < tile.last_sub; ++s) {
    const int at = position + s * kSubBlock;
    const int64_t block = task.blocks[at / kv.block_size];
    tile.keys[s] = kv.cells + (block * kv.num_kv_heads + task.kv_head) * kv.cell_bytes +
                   at % kv.block_size / kSubBlock * kv.sub_block_bytes;
    tile.values[s] = tile.keys[s] + kv.value_offset;
  }
  tile.first_token = position > task.position ? position - task.position : 0;
  tile.last_token = task.tokens;
  if (task.window > 0) {
    const int64_t readers = int64_t{position} + kTile + task.window - 1 - task.position;
    if (readers < tile.last_token) tile.last_token = static_cast<int>(readers);
  }
  return tile;
}

template <KvElement E>
static void widen_run(const char* from, const char* next, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i += kWidth) {
    prefetch<E, kWidth>(next, i);
    store(to + i, load_kv<E>(from, i));
  }
}

// Copies the tile to scratch memory as float32.
template <KvElement E>
static TileView widen_tile(const KvView& kv, const AttentionScratch& scratch, const TileView& tile,
                           const TileView& next) {
  TileView wide = tile;
  for (int s = tile.first_sub; s < tile.last_sub; ++s) {
    float* keys = scratch.keys + int64_t{s} * kSubBlock * kv.head_dim;
    float* values = scratch.values + int64_t{s} * kSubBlock * kv.value_stride;
    widen_run<E>(tile.keys[s], next.keys[s], int64_t{kSubBlock} * kv.head_dim, keys);
    widen_run<E>(tile.values[s], next.values[s], int64_t{kSubBlock} * kv.value_stride, values);
    wide.keys[s] = reinterpret_cast<const char*>(keys);
    wide.values[s] = reinterpret_cast<const char*>(values);
  }
  return wide;
}

static void begin_rows(const AttentionTask& task, const AttentionScratch& scratch) {
  const int head_dim = task.kv->head_dim;
  const int64_t stride = task.kv->value_stride;
  const float factor = task.scale * kLog2E;
  for (int row = 0; row < task.tokens * task.heads; ++row) {
    const float* q =
        task.q + row / task.heads * task.token_stride + row % task.heads * int64_t{head_dim};
    for (int d = 0; d < head_dim; ++d) scratch.q[row * stride + d] = q[d] * factor;
    for (int64_t d = 0; d < stride; ++d) scratch.out[row * stride + d] = 0;
    for (int lane = 0; lane < 16; ++lane) scratch.lane_sums[row * 16 + lane] = 0;
  }
  for (int row = 0; row < kMaxRows; ++row) scratch.maxima[row] = -__builtin_inff();
}

static void finish_rows(const AttentionTask& task, const AttentionScratch& scratch) {
  const int head_dim = task.kv->head_dim;
  const int64_t stride = task.kv->value_stride;
  for (int row = 0; row < task.tokens * task.heads; ++row) {
    float* out =
        task.out + row / task.heads * task.token_stride + row % task.heads * int64_t{head_dim};
    const float inverse = 1.0f / sum(load(scratch.lane_sums + row * 16));
    for (int d = 0; d < head_dim; ++d) out[d] = scratch.out[row * stride + d] * inverse;
  }
}

template <KvElement E>
static void attend_as(const AttentionTask& task, const AttentionScratch& scratch) {
  const bool one_block = task.tokens * task.heads <= kRowBlock;
  const int newest = task.position + task.tokens - 1;
  const int oldest =
      task.window > 0 && task.position >= task.window ? task.position - task.window + 1 : 0;
  begin_rows(task, scratch);
  TileView tile = view_tile(task, oldest / kTile * kTile, oldest, newest);
  for (int position = tile.position; position <= newest; position += kTile) {
    const TileView next = view_tile(task, position + kTile, oldest, newest);
    if (one_block) {
      attend_tile<E, Source::kCache>(task, scratch, tile, next);
    } else if (E == KvElement::kF32) {
      attend_tile<E, Source::kNearby>(task, scratch, tile, next);
    } else {
      attend_tile<KvElement::kF32, Source::kNearby>(
          task, scratch, widen_tile<E>(*task.kv, scratch, tile, next), next);
    }
    tile = next;
  }
  finish_rows(task, scratch);
}

static void attend(const AttentionTask& task, const AttentionScratch& scratch) {
  switch (task.kv->element) {
    case KvElement::kF32:
      return attend_as<KvElement::kF32>(task, scratch);
    case KvElement::kBF16:
      return attend_as<KvElement::kBF16>(task, scratch);
    case KvElement::kF16:
      return attend_as<KvElement::kF16>(task, scratch);
  }
}

}  // namespace octavo::cpu::OCTAVO_ISA

#include "backend/cpu/rope_impl.h"

namespace octavo::cpu::OCTAVO_ISA {
const AttentionKernels kAttentionKernels = {attend, rope_and_cache};
}  // namespace octavo::cpu::OCTAVO_ISA
