#include "tensor/tensor.h"

#include <cmath>
#include <cstring>

namespace octavo {

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kI64:
      return 8;
    case DType::kU8:
      return 1;
  }
  return 0;
}

std::string_view to_string(DType dtype) {
  static constexpr std::string_view kNames[] = {"float32", "bfloat16", "float16",
                                                "int32",   "int64",    "uint8"};
  return kNames[static_cast<size_t>(dtype)];
}

StatusOr<DType> parse_dtype(std::string_view name) {
  if (name == "float32" || name == "float" || name == "F32") return DType::kF32;
  if (name == "bfloat16" || name == "BF16") return DType::kBF16;
  if (name == "float16" || name == "half" || name == "F16") return DType::kF16;
  if (name == "int32" || name == "I32") return DType::kI32;
  if (name == "int64" || name == "I64") return DType::kI64;
  if (name == "uint8" || name == "U8") return DType::kU8;
  return unimplemented("unknown dtype '" + std::string(name) + "'");
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i) text += ", ";
    text += std::to_string(dims_[i]);
  }
  return text + "]";
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  DCHECK(shape.rank() >= 1 && 0 <= begin && begin <= end && end <= shape[0]);
  const int64_t row = shape[0] == 0 ? 0 : count() / shape[0];
  Tensor t = *this;
  t.data = static_cast<std::byte*>(data) + static_cast<size_t>(begin * row) * size_of(dtype);
  Shape s{end - begin};
  for (int i = 1; i < shape.rank(); ++i) s.push_back(shape[i]);
  t.shape = s;
  return t;
}

float bf16_to_float(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float f;
  std::memcpy(&f, &wide, 4);
  return f;
}

uint16_t float_to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

float f16_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t exponent = (h >> 10) & 0x1F;
  const uint32_t mantissa = h & 0x3FF;
  if (exponent == 0) {
    const float f = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -f : f;
  }
  const uint32_t bits = exponent == 31 ? sign | 0x7F800000 | (mantissa << 13)
                                       : sign | ((exponent + 112) << 23) | (mantissa << 13);
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

uint16_t float_to_f16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return sign | 0x7E00;
  if (magnitude >= 0x477FF000) return sign | 0x7C00;  // 65520 and above round to infinity
  if (magnitude < 0x38800000) {                       // subnormal: a multiple of 2^-24
    const float scaled = std::ldexp(std::fabs(value), 24);
    return sign | static_cast<uint16_t>(std::nearbyint(scaled));
  }
  const uint32_t rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1);
  return sign | static_cast<uint16_t>((rounded - 0x38000000) >> 13);
}

float read_float(const Tensor& t, int64_t i) {
  switch (t.dtype) {
    case DType::kF32:
      return t.as<float>()[i];
    case DType::kBF16:
      return bf16_to_float(t.as<uint16_t>()[i]);
    case DType::kF16:
      return f16_to_float(t.as<uint16_t>()[i]);
    default:
      CHECK(false && "read_float of an integer tensor");
  }
}

std::vector<float> read_floats(const Tensor& t) {
  std::vector<float> values(static_cast<size_t>(t.count()));
  for (int64_t i = 0; i < t.count(); ++i) values[static_cast<size_t>(i)] = read_float(t, i);
  return values;
}

}  // namespace octavo
