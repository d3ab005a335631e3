#include "backend/cuda/weights.h"

#include <vector>

#include "backend/cuda/elementwise.h"

namespace octavo::cuda {
namespace {

constexpr int64_t kGateBlock = 8;  // rows of gate, then as many of up

}  // namespace

CudaLinearWeight::CudaLinearWeight(const WeightStore& store, const LinearSpec& spec)
    : store_(store), spec_(spec) {
  data_ = static_cast<std::byte*>(store.memory->allocate(bytes()));
}

size_t CudaLinearWeight::bytes() const {
  return static_cast<size_t>(spec_.out_features * spec_.in_features) * size_of(spec_.dtype);
}

// Where logical row `row` begins.
std::byte* CudaLinearWeight::place_of(int64_t row) const {
  if (spec_.gated) {
    const int64_t half = spec_.out_features / 2, within = row % half;
    row =
        within / kGateBlock * 2 * kGateBlock + (row >= half ? kGateBlock : 0) + within % kGateBlock;
  }
  return data_ + static_cast<size_t>(row * spec_.in_features) * size_of(spec_.dtype);
}

void CudaLinearWeight::load_rows(int64_t first_row, const Tensor& src) {
  const size_t row_bytes = static_cast<size_t>(spec_.in_features) * size_of(spec_.dtype);
  const int64_t rows = src.dim(0);
  if (!spec_.gated) {
    store_.uploader->send(src, spec_.dtype, place_of(first_row), 1, 0);
    return;
  }
  // Up to the next block of eight, whole blocks of one half, and so on.
  const int64_t half = spec_.out_features / 2;
  for (int64_t done = 0; done < rows;) {
    const int64_t row = first_row + done;
    const int64_t left = std::min(rows - done, (row < half ? half : 2 * half) - row);
    const int64_t in_block = kGateBlock - row % half % kGateBlock;
    const bool whole = in_block == kGateBlock && left >= kGateBlock;
    const int64_t count = whole ? left / kGateBlock * kGateBlock : std::min(in_block, left);
    const int64_t blocks = whole ? count / kGateBlock : 1;
    store_.uploader->send(src.rows(done, done + count), spec_.dtype, place_of(row), blocks,
                          2 * kGateBlock * row_bytes);
    done += count;
  }
}

void CudaLinearWeight::load_transposed(int64_t first_k, int64_t first_n, const Tensor& src) {
  const int64_t depth = src.dim(0), columns = src.dim(1);
  std::vector<float> turned(static_cast<size_t>(depth * columns));
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t n = 0; n < columns; ++n)
      turned[static_cast<size_t>(n * depth + k)] = read_float(src, k * columns + n);
  }
  const size_t element = size_of(spec_.dtype);
  const size_t row_bytes = static_cast<size_t>(spec_.in_features) * element;
  if (!spec_.gated) {
    store_.uploader->send({turned.data(), DType::kF32, {columns, depth}}, spec_.dtype,
                          place_of(first_n) + static_cast<size_t>(first_k) * element, columns,
                          row_bytes);
    return;
  }
  for (int64_t n = 0; n < columns; ++n) {
    store_.uploader->send({turned.data() + n * depth, DType::kF32, {1, depth}}, spec_.dtype,
                          place_of(first_n + n) + static_cast<size_t>(first_k) * element, 1, 0);
  }
}

bool CudaLinearWeight::load_noise(int64_t first_row, int64_t rows, uint64_t key) {
  fill_noise(store_.launch, {.dtype = spec_.dtype,
                             .key = key,
                             .first_row = first_row,
                             .rows = rows,
                             .width = spec_.in_features,
                             .gated_rows = spec_.gated ? spec_.out_features : 0,
                             .out = data_});
  return true;
}

CudaVectorWeight::CudaVectorWeight(const WeightStore& store, int64_t size) : store_(store) {
  tensor_ = {store.memory->allocate(static_cast<size_t>(size) * sizeof(float)),
             DType::kF32,
             {size},
             DeviceKind::kCuda};
}

void CudaVectorWeight::load(int64_t first, const Tensor& src) {
  store_.uploader->send(src, DType::kF32,
                        static_cast<std::byte*>(tensor_.data) + sizeof(float) * first, 1, 0);
}

}  // namespace octavo::cuda
