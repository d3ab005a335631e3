// CpuLinearWeight: a weight matrix in the packed layout of linear_problem.h, one copy for the
// matrix product and for embedding lookups. VectorWeight's CPU form is here too.
#pragma once

#include <memory>

#include "backend/cpu/isa.h"
#include "backend/cpu/linear_problem.h"
#include "backend/cpu/weight_memory.h"
#include "ops/linear.h"

namespace octavo::cpu {

class CpuLinearWeight final : public LinearWeight {
 public:
  // Throws std::bad_alloc when there is no address space left.
  CpuLinearWeight(Isa isa, WeightMemory& memory, const LinearSpec& spec);

  const LinearSpec& spec() const override { return spec_; }
  void load_rows(int64_t first_row, const Tensor& src) override;
  void load_transposed(int64_t first_k, int64_t first_n, const Tensor& src) override;
  size_t bytes() const override { return bytes_; }

  const PackedWeight& packed() const { return packed_; }
  // Logical row n as float32: written to, or added to, out [K].
  void read_row(int64_t n, float* out) const;
  void add_row(int64_t n, float* out) const;

 private:
  // The panel of logical row n, and the row's place in it.
  struct Place {
    char* panel;
    int row;
  };
  Place place_of(int64_t n) const;
  void load_panel(int64_t first_row, const Tensor& src);
  void load_row(int64_t n, const Tensor& src, int64_t src_row);

  LinearSpec spec_;
  PackPanel pack_panel_;
  PackedWeight packed_;
  size_t bytes_;
  std::shared_ptr<std::byte> memory_;
};

class CpuVectorWeight final : public VectorWeight {
 public:
  explicit CpuVectorWeight(int64_t size);
  void load(int64_t first, const Tensor& src) override;
  const Tensor& tensor() const override { return tensor_; }

 private:
  std::unique_ptr<float[]> values_;
  Tensor tensor_;
};

}  // namespace octavo::cpu
