// Matrix products with many rows (prefill): a persistent kernel whose tiles are 128 rows of x by up
// to 256 rows of weight, loaded by the copy engine and multiplied by warpgroup products, with bias,
// activation (SwiGLU included), residual and carried norms in its last step. Any m; made for m >
// 128.
#pragma once

#include "backend/cuda/launch.h"
#include "backend/cuda/linear_call.h"

namespace octavo::cuda {

// Everything but SwiGLU to float32. Norms are carried in bfloat16, from rows of multiples of 8.
bool large_linear_takes(const LinearCall& call);

// REQUIRES: large_linear_takes(call); out, if of 16-bit values, weighted and next_gain are 16-byte
// aligned. `out` may be `residual`.
void large_linear(const Launch& on, const LinearCall& call);

// How the kernel cuts a product.
struct LargeTiles {
  int columns = 256;  // rows of weight in a tile: 256, 192, 128 or 64; with SwiGLU 256 or 128
  // The tiles left for a last round of few may be computed as two sums over half of k each. Without
  // it a row's sums run over k in order, 16 at a time, whatever m, n and columns are: its result
  // does not depend on the other rows.
  bool split = true;
};
LargeTiles large_linear_tiles(const LinearCall& call, bool may_split = true);

// How many parts of a row's squares the kernel writes, for a call with next_gain.
int large_linear_square_parts(const LinearCall& call);
int large_linear_square_parts(const LinearCall& call, const LargeTiles& tiles);

// With the caller's choice; large_linear(on, call) is the one above.
void large_linear(const Launch& on, const LinearCall& call, const LargeTiles& tiles);

}  // namespace octavo::cuda
