// The sizes of a tile of skinny_kernel.cuh, and what its kernels are told.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cuda/linear_call.h"

namespace octavo::cuda::skinny {

// Rows of x up to which the kernel carries norms (skinny_norm.cuh).
inline constexpr int kMostCarried = 64;

template <int N, int Warpgroups, int Blocks, int StageK, int Stages>
struct Tile {
  static constexpr int kN = N;                    // rows of x, padded
  static constexpr int kWarpgroups = Warpgroups;  // that multiply
  static constexpr int kBlocks = Blocks;          // of 64 weight rows, per warpgroup
  static constexpr int kStageK = StageK;
  static constexpr int kStages = Stages;

  static constexpr int kRows = 64 * Blocks * Warpgroups;  // of the weight, per CTA
  static constexpr int kBoxes = StageK / 64;              // a box is 64 columns = 128 bytes wide
  static constexpr int kWeightBox = kRows * 128;
  static constexpr int kXBox = N * 128;
  static constexpr int kStageBytes = kBoxes * (kWeightBox + kXBox);
  static constexpr int kConsumers = 128 * Warpgroups;
  static constexpr int kWarps = kConsumers / 32;
  static constexpr bool kCarries = N <= kMostCarried;
  // The ring, two barriers a stage, and what skinny_norm.cuh needs.
  static constexpr int kSharedBytes =
      Stages * (kStageBytes + 16) + (kCarries ? 16 + 4 * N * (2 * kWarps + 1) : 0);
  static constexpr int kPerSm = kSharedBytes <= 113 * 1024 ? 2 : 1;
  // Behind the consumers come the producer's warp and one for norms. With an SM to itself, these
  // are a whole warpgroup, so that registers can move.
  static constexpr bool kMovesRegisters = kPerSm == 1 && Warpgroups == 2;
  static constexpr int kThreads = kConsumers + (kMovesRegisters ? 128 : 64);
  static constexpr int kFragments = Blocks * N / 8;  // of 16 weight rows by 8 rows of x, per warp
  static constexpr bool kShare = N >= 64;  // short runs finish tiles in shares, not by mail
  static constexpr int kAtOnce = std::min(N / 8, kShare ? 2 : 4);  // fragments finished together
  static constexpr int kPartial = kRows * N / 4;  // float4s of one CTA's sums for a tile
  static_assert(StageK % 64 == 0 && kStageBytes % 1024 == 0 && kRows <= 256 && N % 8 == 0);
};

struct Args {
  int m, n, k;
  int stages_per_tile;
  uint32_t stage_bytes;
  int quotient, remainder;  // of units by groups: see Cut
  Activation activation;
  bool out_is_float;
  bool long_runs;  // a run is at least as long as a tile
  const float* bias;
  const void* residual;
  void* out;
  float4* mail;        // [CTA][kPartial], zero between kernels
  float4* partials;    // [CTA][2][kPartial]: of the tiles in which its run begins and ends
  unsigned* arrivals;  // [CTA][8 warps], zero between kernels
  // For C::kCarries, as in LinearCall.
  const float* next_gain;
  void* weighted;
  float* squares_out;  // [m, parts_out]
  const float* squares;
  int parts_out, square_parts;
  float norm_eps;
};

}  // namespace octavo::cuda::skinny
