// embedding:    out[t, :] = table[tokens[t], :] (+ position_table[positions[t], :])
// gather_rows:  out[i, :] = x[rows[i], :]
//
// tokens, positions, rows: int32. The tables are LinearWeights, so that a tied head shares the
// embedding's memory. Ids are within the table: the engine checks requests, the scheduler pads with
// valid ids.
#pragma once

#include "ops/linear.h"
#include "tensor/tensor.h"

namespace octavo {

struct EmbeddingArgs {
  Tensor tokens;                                 // [T] int32
  const LinearWeight* table = nullptr;           // [V, H]
  Tensor positions;                              // [T] int32, with position_table
  const LinearWeight* position_table = nullptr;  // optional
  Tensor out;                                    // [T, H] activation dtype
};

struct GatherRowsArgs {
  Tensor x;     // [T, H]
  Tensor rows;  // [R] int32
  Tensor out;   // [R, H]
};

}  // namespace octavo
