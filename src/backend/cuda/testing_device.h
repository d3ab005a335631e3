// For the tests and benchmarks of this folder: arrays on the device, poisoned before use, and
// float32 references beside them. A test that needs a GPU begins with SKIP_WITHOUT_GPU().
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "backend/cuda/launch.h"
#include "tensor/tensor.h"

namespace octavo::cuda::testing {

inline bool has_hopper() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major == 9;
}

#define SKIP_WITHOUT_GPU()                      \
  if (!::octavo::cuda::testing::has_hopper()) { \
    GTEST_SKIP() << "needs a Hopper GPU";       \
  }                                             \
  static_assert(true)

// For a tool that makes a test take a thousand times as long. Then every 23rd trial is made, which
// has no common factor with what tests count through, and some shapes are a quarter as long.
inline bool trials_are_few() {
  static const bool few = std::getenv("OCTAVO_FEW_TRIALS") != nullptr;
  return few;
}
inline bool wants_trial(int i) {
  return !trials_are_few() || i % 23 == 0;
}
inline int trials(int all) {
  return trials_are_few() ? (all + 22) / 23 : all;
}
inline int length(int all) {
  return trials_are_few() ? all / 4 : all;
}

inline float round_to(DType dtype, float value) {
  if (dtype == DType::kBF16) return bf16_to_float(float_to_bf16(value));
  if (dtype == DType::kF16) return f16_to_float(float_to_f16(value));
  return value;
}

// Memory on the device, every byte 0xFF at first (NaN as any float, -1 as any integer).
class DeviceArray {
 public:
  DeviceArray(DType dtype, Shape shape) : dtype_(dtype), shape_(shape) {
    EXPECT_EQ(cudaMalloc(&data_, bytes() + kGuard), cudaSuccess);
    poison();
  }
  // Holds `values`, rounded to dtype.
  DeviceArray(DType dtype, Shape shape, const std::vector<float>& values)
      : DeviceArray(dtype, shape) {
    write(values);
  }
  template <typename Int>
  static DeviceArray of_integers(DType dtype, const std::vector<Int>& values) {
    DeviceArray a(dtype, {static_cast<int64_t>(values.size())});
    EXPECT_EQ(sizeof(Int), size_of(dtype));
    cudaMemcpy(a.data_, values.data(), a.bytes(), cudaMemcpyHostToDevice);
    return a;
  }
  DeviceArray(DeviceArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), dtype_(other.dtype_), shape_(other.shape_) {}
  ~DeviceArray() { cudaFree(data_); }

  Tensor tensor() const { return {data_, dtype_, shape_, DeviceKind::kCuda}; }
  void* data() const { return data_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return static_cast<size_t>(shape_.count()) * size_of(dtype_); }
  void poison() { cudaMemset(data_, 0xFF, bytes() + kGuard); }

  void write(const std::vector<float>& values) {
    std::vector<std::byte> raw(bytes());
    for (size_t i = 0; i < values.size(); ++i) {
      if (dtype_ == DType::kF32) {
        std::memcpy(raw.data() + 4 * i, &values[i], 4);
      } else {
        const uint16_t bits =
            dtype_ == DType::kBF16 ? float_to_bf16(values[i]) : float_to_f16(values[i]);
        std::memcpy(raw.data() + 2 * i, &bits, 2);
      }
    }
    cudaMemcpy(data_, raw.data(), raw.size(), cudaMemcpyHostToDevice);
  }
  // Waits for the device.
  std::vector<float> read() const {
    std::vector<std::byte> raw(bytes());
    EXPECT_EQ(cudaMemcpy(raw.data(), data_, raw.size(), cudaMemcpyDeviceToHost), cudaSuccess);
    return read_floats({raw.data(), dtype_, shape_});
  }
  // True if nothing was written behind the end.
  bool guard_intact() const {
    std::vector<unsigned char> guard(kGuard);
    cudaMemcpy(guard.data(), static_cast<char*>(data_) + bytes(), kGuard, cudaMemcpyDeviceToHost);
    for (unsigned char byte : guard) {
      if (byte != 0xFF) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kGuard = 256;
  void* data_ = nullptr;
  DType dtype_;
  Shape shape_;
};

// Standard normal values times `scale`, rounded to dtype, so that reference and device see the
// same.
inline std::vector<float> random_values(std::mt19937& random, int64_t count, DType dtype,
                                        float scale = 1) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = round_to(dtype, scale * normal(random));
  return values;
}

// |out - ref| / |ref| over all elements; NaN anywhere gives NaN.
inline double relative_error(const std::vector<float>& out, const std::vector<float>& reference) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    difference += std::pow(double{out[i]} - reference[i], 2);
    norm += std::pow(double{reference[i]}, 2);
  }
  return std::sqrt(difference / std::max(norm, 1e-30));
}

}  // namespace octavo::cuda::testing
