// Loading converts to the weight's dtype where the source has another, and packs 16 whole rows at
// a time through the kernels of the instruction set. Rows of a panel that is not loaded whole go
// in value by value, touching only their own bytes, so that threads may load neighbouring rows at
// once.
#include "backend/cpu/linear_weight.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <vector>

#include "base/rounding.h"

namespace octavo::cpu {
namespace {

WeightFormat format_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return WeightFormat::kF32;
    case DType::kBF16:
      return WeightFormat::kBF16;
    case DType::kF16:
      return WeightFormat::kF16;
    default:
      CHECK(false && "a weight is float32, bfloat16 or float16");
  }
}

PackPanel pack_panel_of(Isa isa) {
  switch (vector_isa(isa)) {
    case Isa::kAvx512:
      return avx512::pack_panel;
    case Isa::kAvx2:
      return avx2::pack_panel;
    default:
      return portable::pack_panel;
  }
}

// bf16_to_float and float_to_bf16 of tensor.h, inline, because all of a model may pass through
// them.
float float_of_bf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
uint16_t bf16_of(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>(value == value ? rounded : (bits >> 16) | 0x40);
}

const char* row_start(const Tensor& t, int64_t row) {
  return static_cast<const char*>(t.data) + static_cast<size_t>(row * t.dim(1)) * size_of(t.dtype);
}

// Reads values with `read` and writes them as `dtype`, to contiguous memory.
template <typename Source, typename Read>
void convert_values(const Source* from, Read read, int64_t count, DType dtype, char* to) {
  const auto write = [&](auto make) {
    for (int64_t i = 0; i < count; ++i) {
      const auto value = make(read(from[i]));
      std::memcpy(to + i * static_cast<int64_t>(sizeof value), &value, sizeof value);
    }
  };
  if (dtype == DType::kF32) write([](float v) { return v; });
  if (dtype == DType::kBF16) write(bf16_of);
  if (dtype == DType::kF16) write(float_to_f16);
}

// Writes `count` values of src from `first` on as `dtype`, to contiguous memory.
void convert(const Tensor& src, int64_t first, int64_t count, DType dtype, char* to) {
  switch (src.dtype) {
    case DType::kF32:
      return convert_values(
          src.as<float>() + first, [](float v) { return v; }, count, dtype, to);
    case DType::kBF16:
      return convert_values(src.as<uint16_t>() + first, float_of_bf16, count, dtype, to);
    case DType::kF16:
      return convert_values(src.as<uint16_t>() + first, f16_to_float, count, dtype, to);
    default:
      CHECK(false && "weights are loaded from floats");
  }
}

// Index, in values, of row `row`, input feature k within a panel.
int64_t index_in_panel(WeightFormat format, int row, int64_t k) {
  return format == WeightFormat::kBF16 ? (k / 2 * kPanel + row) * 2 + k % 2 : k * kPanel + row;
}

}  // namespace

CpuLinearWeight::CpuLinearWeight(Isa isa, WeightMemory& memory, const LinearSpec& spec)
    : spec_(spec), pack_panel_(pack_panel_of(isa)) {
  CHECK(spec.out_features > 0 && spec.in_features > 0 &&
        (!spec.gated || spec.out_features % 2 == 0));
  packed_.format = format_of(spec.dtype);
  packed_.k = spec.in_features;
  packed_.padded_k = round_up<int64_t>(spec.in_features, kTileK);
  packed_.pairs = spec.gated ? divide_up<int64_t>(spec.out_features / 2, kPanel)
                             : divide_up<int64_t>(spec.out_features, kPairColumns);
  packed_.panel_bytes = packed_.padded_k * kPanel * static_cast<int64_t>(size_of(spec.dtype));
  bytes_ = static_cast<size_t>(2 * packed_.pairs * packed_.panel_bytes);
  auto allocated = memory.allocate(bytes_);
  if (!allocated.ok()) throw std::bad_alloc();
  memory_ = *std::move(allocated);
  packed_.data = reinterpret_cast<const char*>(memory_.get());
}

CpuLinearWeight::Place CpuLinearWeight::place_of(int64_t n) const {
  int64_t panel = n / kPanel;
  if (spec_.gated) {
    const int64_t half = spec_.out_features / 2, up = n >= half;
    n -= up * half;
    panel = n / kPanel * 2 + up;
  }
  return {reinterpret_cast<char*>(memory_.get()) + panel * packed_.panel_bytes,
          static_cast<int>(n % kPanel)};
}

void CpuLinearWeight::load_rows(int64_t first_row, const Tensor& src) {
  CHECK(src.shape.rank() == 2 && src.dim(1) == spec_.in_features && first_row >= 0 &&
        first_row + src.dim(0) <= spec_.out_features);
  std::vector<char> buffer;
  for (int64_t i = 0; i < src.dim(0);) {
    const int64_t n = first_row + i;
    const int64_t end_of_part =
        spec_.gated && n < spec_.out_features / 2 ? spec_.out_features / 2 : spec_.out_features;
    const bool whole =
        place_of(n).row == 0 && i + kPanel <= src.dim(0) && n + kPanel <= end_of_part;
    const int64_t count = whole ? kPanel : 1;
    Tensor rows = src.rows(i, i + count);
    if (src.dtype != spec_.dtype) {
      buffer.resize(static_cast<size_t>(rows.count()) * size_of(spec_.dtype));
      convert(rows, 0, rows.count(), spec_.dtype, buffer.data());
      rows.data = buffer.data();
      rows.dtype = spec_.dtype;
    }
    if (whole) {
      load_panel(n, rows);
    } else {
      load_row(n, rows, 0);
    }
    i += count;
  }
}

void CpuLinearWeight::load_panel(int64_t first_row, const Tensor& src) {
  const char* rows[kPanel];
  for (int i = 0; i < kPanel; ++i) rows[i] = row_start(src, i);
  pack_panel_(packed_.format, rows, spec_.in_features, place_of(first_row).panel);
}

void CpuLinearWeight::load_row(int64_t n, const Tensor& src, int64_t src_row) {
  const Place place = place_of(n);
  const size_t size = size_of(spec_.dtype);
  const char* from = row_start(src, src_row);
  for (int64_t k = 0; k < spec_.in_features; ++k) {
    std::memcpy(
        place.panel + static_cast<size_t>(index_in_panel(packed_.format, place.row, k)) * size,
        from + static_cast<size_t>(k) * size, size);
  }
}

void CpuLinearWeight::load_transposed(int64_t first_k, int64_t first_n, const Tensor& src) {
  CHECK(src.shape.rank() == 2 && first_k >= 0 && first_n >= 0 &&
        first_k + src.dim(0) <= spec_.in_features && first_n + src.dim(1) <= spec_.out_features);
  const size_t size = size_of(spec_.dtype);
  const int64_t columns = src.dim(1);
  std::vector<char> row(static_cast<size_t>(columns) * size);
  std::vector<Place> places;
  for (int64_t i = 0; i < columns; ++i) places.push_back(place_of(first_n + i));
  for (int64_t i = 0; i < src.dim(0); ++i) {
    convert(src, i * columns, columns, spec_.dtype, row.data());
    for (int64_t j = 0; j < columns; ++j) {
      const Place& p = places[static_cast<size_t>(j)];
      std::memcpy(
          p.panel + static_cast<size_t>(index_in_panel(packed_.format, p.row, first_k + i)) * size,
          row.data() + static_cast<size_t>(j) * size, size);
    }
  }
}

void CpuLinearWeight::read_row(int64_t n, float* out) const {
  const Place place = place_of(n);
  const int64_t k_end = spec_.in_features;
  if (packed_.format == WeightFormat::kF32) {
    const float* from = reinterpret_cast<const float*>(place.panel) + place.row;
    for (int64_t k = 0; k < k_end; ++k) out[k] = from[k * kPanel];
  } else if (packed_.format == WeightFormat::kF16) {
    const uint16_t* from = reinterpret_cast<const uint16_t*>(place.panel) + place.row;
    for (int64_t k = 0; k < k_end; ++k) out[k] = f16_to_float(from[k * kPanel]);
  } else {
    const uint16_t* from = reinterpret_cast<const uint16_t*>(place.panel) + 2 * place.row;
    for (int64_t k = 0; k < k_end; ++k) {
      const uint32_t bits = static_cast<uint32_t>(from[k / 2 * kPairColumns + k % 2]) << 16;
      std::memcpy(out + k, &bits, 4);
    }
  }
}

void CpuLinearWeight::add_row(int64_t n, float* out) const {
  std::vector<float> row(static_cast<size_t>(spec_.in_features));
  read_row(n, row.data());
  for (size_t k = 0; k < row.size(); ++k) out[k] += row[k];
}

CpuVectorWeight::CpuVectorWeight(int64_t size)
    : values_(new float[static_cast<size_t>(size)]()),
      tensor_{values_.get(), DType::kF32, {size}} {}

void CpuVectorWeight::load(int64_t first, const Tensor& src) {
  CHECK(first >= 0 && first + src.count() <= tensor_.count());
  for (int64_t i = 0; i < src.count(); ++i)
    values_[static_cast<size_t>(first + i)] = read_float(src, i);
}

}  // namespace octavo::cpu
