// The sizes of a tile of large_linear.cu, what its kernel is told, and the order of the tiles.
#pragma once

#include <cstdint>

#include "backend/cuda/carried_norm.cuh"
#include "backend/cuda/linear_call.h"

namespace octavo::cuda::large {

constexpr int kRows = 128;         // of x in a tile
constexpr int kDepth = 64;         // of k in a stage: 128 bytes, one line of the swizzle
constexpr int kLineBytes = 128;    // of a stage and of a chunk
constexpr int kConsumers = 2;      // warpgroups
constexpr int kConsumerRows = 64;  // kRows / kConsumers, and of a chunk
constexpr int kChunkColumns = 64;  // of out
constexpr int kChunkBytes = kConsumerRows * kLineBytes;
constexpr int kBuffers = 2;  // chunks, for each consumer
constexpr int kThreads = (kConsumers + 1) * 128;
constexpr int kGroupRows = 2048;  // of x, see tile_at

struct Problem {
  int m, n;
  int steps;                    // of kDepth through k
  bool shares_weight;           // the tiles of a pair are neighbours in m, else in n
  int pair_rows, pair_columns;  // pairs in m and n
  int group;                    // pair rows walked together
  int items;                    // of work: the first whole_pairs are pairs, then come split tiles,
  int whole_pairs;              // two of each further pair
  Activation activation;
  const float* bias;     // [n] or null
  const void* residual;  // [m, n] or null
  void* out;             // [m, n], or [m, n / 2] with kSwiGlu
  bool out_is_float;
  int out_columns;
  bool whole_units;  // out is 16 bits wide and its rows are multiples of 16 bytes
  Norm norm;         // a part of a row's squares for each column of tiles
};

template <int kColumns>
struct Shared {
  static constexpr int kStages = kColumns == 64 ? 8 : kColumns == 128 ? 6 : 4;
  static constexpr uint32_t kStageBytes = (kRows + kColumns) * kLineBytes;
  uint8_t x[kStages][kRows * kLineBytes];
  uint8_t weight[kStages][kColumns * kLineBytes];
  uint8_t chunk[kConsumers][kBuffers][kChunkBytes];
  uint64_t full[kStages], empty[kStages];
  uint64_t ready[kConsumers][kBuffers], taken[kConsumers][kBuffers];
  uint64_t other_read, received;
};

struct Tile {
  int row, column;  // its first, of the product: with kSwiGlu, out has half as many columns
};

// Pairs are walked down m within a group of rows of x, then along n: about 132 tiles are in work at
// once, and a group's x and their few columns of weight fit into L2 together.
template <int kColumns>
__device__ __forceinline__ Tile tile_at(const Problem& p, int pair, int member) {
  const int group_pairs = p.group * p.pair_columns;
  const int first_row = pair / group_pairs * p.group;
  const int rows = min(p.group, p.pair_rows - first_row);
  const int within = pair % group_pairs;
  const int row = first_row + within % rows, column = within / rows;
  return p.shares_weight ? Tile{(2 * row + member) * kRows, column * kColumns}
                         : Tile{row * kRows, (2 * column + member) * kColumns};
}

}  // namespace octavo::cuda::large
