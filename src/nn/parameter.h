// Parameter: one tensor of a checkpoint and where it goes. The loader, dummy weights, live updates
// and export all walk the same list, and write in place at fixed addresses.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace octavo {

struct Parameter {
  std::string name;  // in the checkpoint: "model.layers.0.self_attn.q_proj.weight"
  Shape shape;       // in the checkpoint; anything else is an error
  // Writes rows [first_row, first_row + src.dim(0)) of dimension 0. `src` is in host memory, of any
  // float dtype. Disjoint rows may be written from several threads at once, cut at multiples of 64
  // rows.
  std::function<void(int64_t first_row, const Tensor& src)> load_rows;
  // LinearWeight::load_noise of the whole parameter; may be null.
  std::function<bool(uint64_t key)> load_noise;
  bool constant = false;  // norm weights and biases: dummy weights are `fill` instead of noise
  float fill = 0;
  std::string alias;  // another name that checkpoints use; empty: none
};

using ParameterVisitor = std::function<void(const Parameter&)>;

}  // namespace octavo
