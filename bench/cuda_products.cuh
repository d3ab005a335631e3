// The matrix products of two models, and operands for them, for the benchmarks of linear kernels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "backend/cuda/linear_call.h"
#include "cuda_bench.cuh"

namespace bench {

struct Product {
  const char* name;
  int n, k;
  bool gated = false;         // by SwiGLU
  bool residual = false;      // adds one
  bool normed = false;        // has a norm before it
  bool out_is_float = false;  // logits
};
inline Product ungated(Product p) {
  p.gated = false;
  return p;
}

struct Model {
  const char* name;
  int layers;
  std::vector<Product> layer;  // qkv, o, gate_up, down
  Product head;

  int64_t weights() const {
    int64_t sum = 0;
    for (const Product& p : layer) sum += int64_t{p.n} * p.k;
    return sum * layers + int64_t{head.n} * head.k;
  }
};
// Grouped-query attention, then a gated MLP.
inline Model make_model(const char* name, int layers, int hidden, int qkv, int attention,
                        int intermediate, int vocab) {
  return {name,
          layers,
          {{.name = "qkv", .n = qkv, .k = hidden, .normed = true},
           {.name = "o", .n = hidden, .k = attention, .residual = true},
           {.name = "gate_up", .n = 2 * intermediate, .k = hidden, .gated = true, .normed = true},
           {.name = "down", .n = hidden, .k = intermediate, .residual = true}},
          {.name = "head", .n = vocab, .k = hidden, .normed = true, .out_is_float = true}};
}
inline const Model kModels[] = {
    make_model("8b", 32, 4096, 6144, 4096, 14336, 128256),
    make_model("0.6b", 28, 1024, 4096, 2048, 3072, 151936),
};
constexpr int kWidestIn = 14336, kWidestHidden = 4096, kWidestGateUp = 28672, kWidestHead = 151936;

// Operands of any of these products, x and residuals from N(0, 1), weights from U(±1e-3). Each call
// gets weights of its own until the pool of them wraps, so that they come from memory.
class Operands {
 public:
  // Room for `weights` elements, and for outputs of `out_width` elements of two bytes a row.
  Operands(size_t weights, int most_rows, int out_width)
      : most_rows_(most_rows),
        pool_(weights),
        weights_(memory_.random(weights, Spread::kUniform, 1e-3f)),
        x_(memory_.random(size_t(most_rows) * kWidestIn, Spread::kNormal, 1)),
        residual_(memory_.random(size_t(most_rows) * kWidestHidden, Spread::kNormal, 1)),
        out_(memory_.random(size_t(most_rows) * out_width, Spread::kNormal, 1)) {}

  void make_x_zero() { check(cudaMemset(x_, 0, size_t(most_rows_) * kWidestIn * sizeof *x_)); }

  octavo::cuda::LinearCall call(const Product& p, int m) {
    const size_t size = size_t(p.n) * p.k;
    if (next_ + size > pool_) next_ = 0;
    octavo::cuda::LinearCall c;
    c.m = m;
    c.n = p.n;
    c.k = p.k;
    c.x = x_;
    c.weight = weights_ + next_;
    c.residual = p.residual ? residual_ : nullptr;
    c.activation = p.gated ? octavo::Activation::kSwiGlu : octavo::Activation::kNone;
    c.out = out_;
    c.out_is_float = p.out_is_float;
    next_ += size;
    return c;
  }

 private:
  Memory memory_;
  const int most_rows_;
  const size_t pool_;  // elements of weights_
  __nv_bfloat16 *weights_, *x_, *residual_, *out_;
  size_t next_ = 0;  // of weights_
};

// Microseconds of one `work`, which is done once and then recorded `repeats` times and replayed for
// about `seconds`. A launch that fails ends the program.
template <typename Work>
double repeated_us(cudaStream_t stream, int repeats, double seconds, Work&& work) {
  work();
  const Recording recording(stream, [&] {
    for (int i = 0; i < repeats; ++i) work();
  });
  const double us = recording.mean_us(seconds) / repeats;
  if (!launches_ok()) std::exit(1);
  return us;
}

// "64,128" as numbers of rows, from 1 to `most`.
inline std::vector<int> parse_rows(const char* list, int most) {
  std::vector<int> rows;
  for (const char* at = list; at != nullptr; at = std::strchr(at, ',')) {
    if (*at == ',') ++at;
    rows.push_back(std::clamp(std::atoi(at), 1, most));
  }
  return rows;
}

}  // namespace bench
