// Decode GEMMs (src/backend/cuda/skinny_linear.h) at the shapes of two models: each shape alone in
// a row of launches, and all products of a decode step in one graph, as the engine runs them.
// Weights are distinct for every layer, so they come from memory.
//   cuda_skinny [8b|0.6b|ROWS]...
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "backend/cuda/launch.h"
#include "backend/cuda/skinny_linear.h"
#include "cuda_products.cuh"

namespace {

using bench::check;
using bench::Model;
using bench::Product;
using bench::Spread;
using octavo::Activation;
using octavo::cuda::Launch;
using octavo::cuda::LinearCall;
using Linear = std::function<void(const Launch&, const LinearCall&, void*)>;

class Bench {
 public:
  explicit Bench(const Model& model) : model_(model) {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    weights_ = memory_.random(static_cast<size_t>(model.weights()), Spread::kUniform, 1e-3f);
    for (auto& activation : activations_) activation = random(size_t{128} * 28672);
    logits_ = random(size_t{128} * 2 * model.head.n);
    weighted_ = random(size_t{64} * 4096);
    gain_ = about_0_747(4096);
    squares_ = about_0_747(size_t{64} * 64);
    workspace_ = memory_.zeroed(octavo::cuda::skinny_linear_workspace_bytes());
    check(cudaDeviceSynchronize());
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() { cudaStreamDestroy(stream_); }

  // Microseconds of one launch among many of this product in a row.
  double product(const Linear& linear, const Product& p, int m) {
    const int64_t size = int64_t{p.n} * p.k;
    const int64_t available = model_.weights() / size;
    const int launches = static_cast<int>(std::min<int64_t>(std::max<int64_t>(available, 4), 64));
    const double us = graph_us([&] {
      for (int i = 0; i < launches; ++i) {
        linear({stream_, i > 0}, call(p, m, weights_ + i % available * size, 0, 1, 2), workspace_);
      }
    });
    return us / launches;
  }
  // Microseconds of all products of a decode step.
  double step(const Linear& linear, int m) {
    return graph_us([&] {
      const __nv_bfloat16* weight = weights_;
      bool overlap = false;
      // hidden 0, qkv 1, attention 2, hidden after attention 3, gated 4
      const int from[] = {0, 2, 3, 4}, to[] = {1, 3, 4, 0}, add[] = {0, 0, 0, 3};
      for (int layer = 0; layer < model_.layers; ++layer) {
        for (size_t i = 0; i < model_.layer.size(); ++i) {
          const Product& p = model_.layer[i];
          linear({stream_, overlap}, call(p, m, weight, from[i], to[i], add[i]), workspace_);
          overlap = true;
          weight += int64_t{p.n} * p.k;
        }
      }
      linear({stream_, true}, call(model_.head, m, weight, 0, 0, 0), workspace_);
    });
  }
  const Model& model() const { return model_; }
  // From now on products carry the norms between them.
  void set_carry(bool on) { carry_ = on; }

 private:
  __nv_bfloat16* random(size_t count) { return memory_.random(count, Spread::kUniform, 1); }
  float* about_0_747(size_t count) {
    void* const block = memory_.take(count * sizeof(float));
    check(cudaMemset(block, 0x3F, count * sizeof(float)));
    return static_cast<float*>(block);
  }
  LinearCall call(const Product& p, int m, const __nv_bfloat16* weight, int from, int to, int add) {
    LinearCall c;
    c.m = m;
    c.n = p.n;
    c.k = p.k;
    c.x = activations_[from];
    c.weight = weight;
    if (p.residual) c.residual = activations_[add];
    c.activation = p.gated ? Activation::kSwiGlu : Activation::kNone;
    c.out = p.out_is_float ? logits_ : activations_[to];
    c.out_is_float = p.out_is_float;
    if (carry_ && p.normed && !p.out_is_float) {
      c.x = weighted_;
      c.squares = squares_;
      c.square_parts = p.k / 64;
    } else if (carry_ && p.residual) {
      c.next_gain = gain_;
      c.weighted = weighted_;
      c.squares_out = squares_;
    }
    return c;
  }
  template <typename Work>
  double graph_us(Work&& work) {
    const double us = bench::Recording(stream_, work).median_us(5, 5);
    bench::launches_ok();
    return us;
  }

  const Model& model_;
  cudaStream_t stream_ = nullptr;
  bench::Memory memory_;
  __nv_bfloat16* weights_ = nullptr;
  __nv_bfloat16* activations_[5] = {};
  __nv_bfloat16* logits_ = nullptr;
  float *gain_ = nullptr, *squares_ = nullptr;
  __nv_bfloat16* weighted_ = nullptr;
  void* workspace_ = nullptr;
  bool carry_ = false;
};

// Microseconds per product, then the step; TB/s counts weights alone.
void print_head(const Model& model) {
  std::printf("%-28s %4s", model.name, "M");
  for (const Product& p : model.layer) std::printf(" %8s", p.name);
  std::printf(" %8s %9s %6s %6s\n", "head us", "step ms", "TB/s", "TF");
}
void print_row(Bench& bench, const char* label, const Linear& linear, int m) {
  std::printf("%-28s %4d", label, m);
  for (const Product& p : bench.model().layer) {
    std::printf(" %8.2f", bench.product(linear, p, m));
  }
  std::printf(" %8.1f", bench.product(linear, bench.model().head, m));
  const double us = bench.step(linear, m);
  const double weights = static_cast<double>(bench.model().weights());
  std::printf(" %9.3f %6.2f %6.0f\n", us / 1e3, 2 * weights / us / 1e6, 2 * weights * m / us / 1e6);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> models;
  std::vector<int> rows;
  for (int i = 1; i < argc; ++i) {
    const int number = std::atoi(argv[i]);
    if (std::string(argv[i]) == std::to_string(number)) {
      rows.push_back(number);
    } else {
      models.emplace_back(argv[i]);
    }
  }
  if (rows.empty()) rows = {1, 2, 8, 16, 32, 64, 128};
  for (const Model& model : bench::kModels) {
    if (!models.empty() && std::find(models.begin(), models.end(), model.name) == models.end()) {
      continue;
    }
    Bench bench(model);
    print_head(model);
    for (int m : rows) {
      print_row(bench, "skinny_linear", octavo::cuda::skinny_linear, m);
      if (m > 64) continue;
      bench.set_carry(true);
      print_row(bench, "  with norms", octavo::cuda::skinny_linear, m);
      bench.set_carry(false);
    }
  }
}
