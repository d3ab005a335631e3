// Tensor: a view of a dense row-major array somewhere in a device's memory. It owns nothing;
// Storage and Workspace do. Trivially cheap to copy; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "octavo/status.h"

namespace octavo {

enum class DType : uint8_t { kF32, kBF16, kF16, kI32, kI64, kU8 };
size_t size_of(DType dtype);
// "float32", "bfloat16", "float16", "int32", "int64", "uint8".
std::string_view to_string(DType dtype);
// Reads the names above, and "F32", "BF16", "F16" as safetensors writes them.
StatusOr<DType> parse_dtype(std::string_view name);

enum class DeviceKind : uint8_t { kCpu, kCuda };

// Up to four dimensions.
class Shape {
 public:
  static constexpr int kMaxRank = 4;
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    for (int64_t d : dims) push_back(d);
  }
  void push_back(int64_t d) {
    CHECK(rank_ < kMaxRank);
    dims_[rank_++] = d;
  }
  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i]; }
  int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[i];
    return n;
  }
  std::string to_string() const;  // "[2, 3]"
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i) {
      if (a.dims_[i] != b.dims_[i]) return false;
    }
    return true;
  }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;
  DeviceKind device = DeviceKind::kCpu;

  bool defined() const { return data != nullptr; }
  int64_t count() const { return shape.count(); }
  size_t bytes() const { return static_cast<size_t>(count()) * size_of(dtype); }
  int64_t dim(int i) const { return shape[i]; }

  // REQUIRES: T is the C++ type of dtype (uint16_t for bf16 and f16), on the CPU.
  template <typename T>
  T* as() const {
    DCHECK(sizeof(T) == size_of(dtype));
    return static_cast<T*>(data);
  }
  // Rows [begin, end) of the first dimension.
  Tensor rows(int64_t begin, int64_t end) const;
};

float bf16_to_float(uint16_t bits);
uint16_t float_to_bf16(float value);  // round to nearest even; NaN stays NaN
float f16_to_float(uint16_t bits);
uint16_t float_to_f16(float value);  // round to nearest even, overflow to infinity
// Element i of a float tensor of any dtype, on the CPU. For tests and loading, not for kernels.
float read_float(const Tensor& t, int64_t i);
// All of them, in order.
std::vector<float> read_floats(const Tensor& t);

}  // namespace octavo
