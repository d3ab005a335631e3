// Weights on the device: matrices row-major, in the dtype of the activations, as linear_call.h
// wants them; vectors in float32. All lie in one arena and are filled through one Uploader.
#pragma once

#include "backend/cuda/device_arena.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/upload.h"
#include "ops/linear.h"

namespace octavo::cuda {

struct WeightStore {
  DeviceBump* memory = nullptr;
  Uploader* uploader = nullptr;
  Launch launch;  // for what the device fills itself
};

class CudaLinearWeight final : public LinearWeight {
 public:
  // Throws std::bad_alloc. REQUIRES: linear_weight_problem(spec) is empty.
  CudaLinearWeight(const WeightStore& store, const LinearSpec& spec);
  const LinearSpec& spec() const override { return spec_; }
  void load_rows(int64_t first_row, const Tensor& src) override;
  void load_transposed(int64_t first_k, int64_t first_n, const Tensor& src) override;
  bool load_noise(int64_t first_row, int64_t rows, uint64_t key) override;
  size_t bytes() const override;
  const void* data() const { return data_; }

 private:
  std::byte* place_of(int64_t row) const;

  WeightStore store_;
  LinearSpec spec_;
  std::byte* data_;
};

class CudaVectorWeight final : public VectorWeight {
 public:
  CudaVectorWeight(const WeightStore& store, int64_t size);
  void load(int64_t first, const Tensor& src) override;
  const Tensor& tensor() const override { return tensor_; }
  const float* data() const { return static_cast<const float*>(tensor_.data); }

 private:
  WeightStore store_;
  Tensor tensor_;
};

}  // namespace octavo::cuda
