// Matrix products with a middling number of rows of x (65 to 128, as in decode of many sequences):
// the time is still that of streaming the weight once, but the sums of a tile are too many to be
// passed around through memory. Here the CTAs that share a tile form a cluster and add their sums
// through each other's shared memory.
#pragma once

#include "backend/cuda/launch.h"
#include "backend/cuda/linear_call.h"

namespace octavo::cuda {

// m up to 128, n a multiple of 8 (of 16 with SwiGLU) and up to about 29,000 unless there is SwiGLU;
// no activation but SwiGLU, and with it no bias and no float32. A norm is carried in bfloat16.
bool cluster_linear_takes(const LinearCall& call);

// How the kernel cuts a product.
struct ClusterTiles {
  int columns = 0;  // rows of weight in a tile: 64, 72, 96, 112, 128, 144, 192 or 224
  int splits = 1;   // CTAs that share a tile, each with its part of k: 1 to 4
};
// The one that costs the least by a model of the device. Depends on n, k and the activation alone:
// a row's result is the same for every m.
ClusterTiles cluster_linear_tiles(const LinearCall& call);

// How many parts of a row's squares the kernel writes, for a call with next_gain: a multiple of 4.
int cluster_linear_square_parts(const LinearCall& call);
int cluster_linear_square_parts(const LinearCall& call, const ClusterTiles& tiles);

// REQUIRES: cluster_linear_takes(call); out, weighted and residual are 4-byte aligned, bias and an
// out of float32 8-byte aligned. `out` may be `residual`.
void cluster_linear(const Launch& on, const LinearCall& call);
// With the caller's choice.
void cluster_linear(const Launch& on, const LinearCall& call, const ClusterTiles& tiles);

}  // namespace octavo::cuda
