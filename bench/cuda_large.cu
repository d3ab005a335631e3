// Large matrix products: large_linear against cuBLASLt, side by side on the same random data (x
// from N(0, 1), weights from U(±1e-3)), in graphs.
//
//   bench_cuda_large [shapes|layers|norms|all] [rows,rows,...] [seconds] [zero]
//
// shapes: each product alone, by tiles of every width, the width chosen, and the library.
// layers: the four products of a layer in turn: by our kernel with SwiGLU, by it without, and by
// the library without.
// norms: these four by our kernel with the two norms before them: left out, by rms_norm(), carried.
//
// Runs of a second or more show what the power limit leaves; with `zero` x is all zeros, which
// stays below the limit and shows the kernels themselves.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "backend/cuda/cublaslt.h"
#include "backend/cuda/elementwise.h"
#include "backend/cuda/large_linear.h"
#include "cuda_products.cuh"

namespace octavo::cuda {
namespace {

using bench::Model;
using bench::Product;

constexpr int kMostRows = 8192;
constexpr size_t kMostParts = bench::kWidestHidden / 64;

enum class Norms { kNone, kKernel, kCarried };

struct Bench {
  bench::Operands operands{size_t{384} << 20, kMostRows, bench::kWidestGateUp};
  bench::Memory memory;
  void* workspace = memory.take(CublasLt::kWorkspaceBytes);
  float* gain = memory.copy(std::vector<float>(bench::kWidestHidden, 1));
  float* squares = static_cast<float*>(memory.zeroed(sizeof(float) * kMostRows * kMostParts));
  void* normed = memory.zeroed(sizeof(__nv_bfloat16) * kMostRows * bench::kWidestHidden);
  CublasLt* library = nullptr;  // may be null
  cudaStream_t stream = nullptr;
  double seconds = 1;  // of a measurement

  void own(const Product& p, int m) { large_linear({stream}, operands.call(p, m)); }
  // With the norm before it, or for the one behind it.
  void own(const Product& p, int m, Norms norms) {
    LinearCall call = operands.call(p, m);
    if (norms == Norms::kKernel && p.normed) {
      rms_norm({stream}, {.rows = m, .width = p.k, .x = call.x, .weight = gain, .out = normed});
      call.x = normed;
    } else if (norms == Norms::kCarried && p.normed) {
      call.x = normed;
      call.squares = squares;
      call.square_parts = p.k / 256;
    } else if (norms == Norms::kCarried && p.residual) {
      call.next_gain = gain;
      call.weighted = normed;
      call.squares_out = squares;
    }
    large_linear({stream}, call);
  }
  void lt(const Product& p, int m) {
    library->run({stream}, operands.call(ungated(p), m), workspace, CublasLt::kWorkspaceBytes);
  }
  // Microseconds of one `work`, recorded `repeats` times.
  template <typename Work>
  double time(int repeats, Work&& work) {
    return bench::repeated_us(stream, repeats, seconds, work);
  }
};

double tflops(int m, const Product& p, double us) {
  return 2e-6 * m * p.n * p.k / us;
}

void shapes(Bench& b, const Model& model, const std::vector<int>& ms) {
  std::printf("%s, TFLOP/s with tiles of 256, 192, 128, 64 columns | chosen, cuBLASLt | us\n",
              model.name);
  for (int m : ms) {
    for (const Product& p : model.layer) {
      const int repeats = std::clamp(static_cast<int>(4e3 / (tflops(m, p, 1) / 600)), 2, 100);
      std::printf("%5d %-8s", m, p.name);
      for (int columns : {256, 192, 128, 64}) {
        if (p.gated && columns % 128 != 0) {
          std::printf("    -");
          continue;
        }
        const LargeTiles tiles = {columns, true};
        const double us =
            b.time(repeats, [&] { large_linear({b.stream}, b.operands.call(p, m), tiles); });
        std::printf(" %4.0f", tflops(m, p, us));
      }
      const int chosen = large_linear_tiles(b.operands.call(p, m)).columns;
      const double own = b.time(repeats, [&] { b.own(p, m); });
      const double lt = b.library ? b.time(repeats, [&] { b.lt(p, m); }) : NAN;
      std::printf(" | %3d: %4.0f %4.0f | %7.1f %7.1f\n", chosen, tflops(m, p, own),
                  tflops(m, p, lt), own, lt);
    }
  }
}

// Of a layer's products, in millions of FLOP, and how often to run them in one measurement.
struct LayerWork {
  double mflop = 0;
  int repeats = 0;
  LayerWork(const Model& model, int m) {
    for (const Product& p : model.layer) mflop += tflops(m, p, 1);
    repeats = std::clamp(static_cast<int>(1e4 / (mflop / 700)), 1, 50);
  }
};

void layers(Bench& b, const Model& model, const std::vector<int>& ms) {
  std::printf("%s layers, us and TFLOP/s: own with SwiGLU | own without | cuBLASLt without\n",
              model.name);
  for (int m : ms) {
    const LayerWork work(model, m);
    std::printf("%5d", m);
    for (bool gated : {true, false}) {
      const double us = b.time(work.repeats, [&] {
        for (const Product& p : model.layer) b.own(gated ? p : ungated(p), m);
      });
      std::printf(" | %8.1f %4.0f", us, work.mflop / us);
    }
    if (b.library != nullptr) {
      const double us = b.time(work.repeats, [&] {
        for (const Product& p : model.layer) b.lt(p, m);
      });
      std::printf(" | %8.1f %4.0f", us, work.mflop / us);
    }
    std::printf("\n");
  }
}

void norms(Bench& b, const Model& model, const std::vector<int>& ms) {
  std::printf("%s layers, us: without norms | by rms_norm | carried\n", model.name);
  for (int m : ms) {
    const LayerWork work(model, m);
    std::printf("%5d", m);
    for (Norms norms : {Norms::kNone, Norms::kKernel, Norms::kCarried}) {
      const double us = b.time(work.repeats, [&] {
        for (const Product& p : model.layer) b.own(p, m, norms);
      });
      std::printf(" | %8.1f", us);
    }
    std::printf("\n");
  }
}

}  // namespace
}  // namespace octavo::cuda

int main(int argc, char** argv) {
  using namespace octavo::cuda;
  const std::string mode = argc > 1 ? argv[1] : "all";
  const std::vector<int> ms = bench::parse_rows(argc > 2 ? argv[2] : "512,2048,8192", kMostRows);

  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return 1;
  auto library = CublasLt::open();
  std::printf("%s%s\n", properties.name,
              library.ok() ? "" : (", " + library.status().to_string()).c_str());
  Bench b;
  if (argc > 3) b.seconds = std::atof(argv[3]);
  if (argc > 4) b.operands.make_x_zero();
  if (library.ok()) b.library = library->get();
  bench::check(cudaStreamCreate(&b.stream));
  bench::check(cudaDeviceSynchronize());
  for (const Model& model : bench::kModels) {
    const auto wants = [&](const char* name) { return mode == name || mode == "all"; };
    if (wants("shapes")) shapes(b, model, ms);
    if (wants("layers")) layers(b, model, ms);
    if (wants("norms")) norms(b, model, ms);
  }
  return 0;
}
