// Matrix products with many rows (prefill): a persistent kernel whose tiles are 128 rows of x by up
// to 256 rows of weight, loaded by the copy engine and multiplied by warpgroup products, with bias,
// activation (SwiGLU included) and residual in its last step. Any m; made for m > 128.
#pragma once

#include "backend/cuda/launch.h"
#include "backend/cuda/linear_call.h"

namespace octavo::cuda {

// Everything but norm_weight and SwiGLU to float32.
bool large_linear_takes(const LinearCall& call);

// REQUIRES: large_linear_takes(call). Sums run over k in order, 16 at a time, whatever m and n are:
// a row's result does not depend on the other rows. `out` may be `residual`.
void large_linear(const Launch& on, const LinearCall& call);

// The same with tiles of `columns` rows of weight: 256, 192 or 128; no 192 with SwiGLU. For tests
// and benchmarks; large_linear chooses by itself.
void large_linear(const Launch& on, const LinearCall& call, int columns);
// The choice.
int large_linear_columns(const LinearCall& call);

}  // namespace octavo::cuda
