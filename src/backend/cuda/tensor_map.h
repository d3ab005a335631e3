// Tensor maps: what the bulk copy engine needs to know of a matrix in device memory.
#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>

#include "tensor/tensor.h"

namespace octavo::cuda {

// A row-major matrix [rows, columns] of bf16 or f16 at `data` (16-byte aligned), whose rows are
// `row_stride` elements apart (a multiple of 8), copied in boxes of [box_rows, box_columns]. With
// 128-byte swizzle (box_columns 64), as wgmma reads it: sm90::swizzled_tile. Elements outside the
// matrix arrive as 0. Costs about a microsecond of CPU time; any thread.
CUtensorMap make_tensor_map(const void* data, DType dtype, int64_t rows, int64_t columns,
                            int64_t row_stride, int box_rows, int box_columns = 64,
                            bool swizzle = true);

// The same for a dense array [planes, rows, columns] in boxes of as many of each, swizzled (64
// columns a box).
CUtensorMap make_tensor_map(const void* data, DType dtype, const std::array<int64_t, 3>& sizes,
                            const std::array<int, 3>& box);

}  // namespace octavo::cuda
