#include "backend/cuda/tensor_map.h"

#include "backend/cuda/driver.h"
#include "backend/cuda/launch.h"

namespace octavo::cuda {

namespace {

// Sizes and box from the innermost dimension outwards; strides in bytes, without the innermost.
template <size_t kDims>
CUtensorMap encode_map(const void* data, DType dtype, const std::array<cuuint64_t, kDims>& sizes,
                       const std::array<cuuint64_t, kDims - 1>& strides,
                       const std::array<cuuint32_t, kDims>& box, bool swizzle) {
  static const auto encode =
      driver_function<decltype(&cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
  std::array<cuuint32_t, kDims> steps;
  steps.fill(1);
  CUtensorMap map = {};
  const CUresult result =
      encode == nullptr
          ? CUDA_ERROR_NOT_FOUND
          : encode(&map,
                   dtype == DType::kF16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                        : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                   kDims, const_cast<void*>(data), sizes.data(), strides.data(), box.data(),
                   steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
                   swizzle ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
                   CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) note_error("tensor map", cudaErrorInvalidValue);
  return map;
}

}  // namespace

CUtensorMap make_tensor_map(const void* data, DType dtype, int64_t rows, int64_t columns,
                            int64_t row_stride, int box_rows, int box_columns, bool swizzle) {
  return encode_map<2>(
      data, dtype, {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)},
      {static_cast<cuuint64_t>(row_stride) * size_of(dtype)},
      {static_cast<cuuint32_t>(box_columns), static_cast<cuuint32_t>(box_rows)}, swizzle);
}

CUtensorMap make_tensor_map(const void* data, DType dtype, const std::array<int64_t, 3>& sizes,
                            const std::array<int, 3>& box) {
  const auto [planes, rows, columns] = sizes;
  const auto row_bytes = static_cast<cuuint64_t>(columns) * size_of(dtype);
  return encode_map<3>(data, dtype,
                       {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows),
                        static_cast<cuuint64_t>(planes)},
                       {row_bytes, row_bytes * static_cast<cuuint64_t>(rows)},
                       {static_cast<cuuint32_t>(box[2]), static_cast<cuuint32_t>(box[1]),
                        static_cast<cuuint32_t>(box[0])},
                       /*swizzle=*/true);
}

}  // namespace octavo::cuda
