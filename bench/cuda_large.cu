// Large matrix products: large_linear against cuBLASLt, side by side on the same random data (x
// from N(0, 1), weights from U(±1e-3)), in graphs.
//
//   bench_cuda_large [shapes|layers|all] [rows,rows,...] [seconds] [zero]
//
// shapes: each product alone, by tiles of every width, the width chosen, and the library.
// layers: the four products of a layer in turn: by our kernel with SwiGLU, by it without, and by
// the library without. Runs of a second or more show what the power limit leaves; with `zero` x is
// all zeros, which stays below the limit and shows the kernels themselves.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "backend/cuda/cublaslt.h"
#include "backend/cuda/large_linear.h"
#include "cuda_fill.cuh"

namespace octavo::cuda {
namespace {

using bench::filled;

constexpr size_t kPool = size_t{768} << 20;  // bytes of weights
constexpr int kMostRows = 8192;

struct Linear {
  const char* name;
  int n, k;
  bool gated, residual;
};
struct Model {
  const char* name;
  std::vector<Linear> shapes;  // one layer
};
const Model kModels[] = {
    {"8B",
     {{"qkv", 6144, 4096, false, false},
      {"o", 4096, 4096, false, true},
      {"gate_up", 28672, 4096, true, false},
      {"down", 4096, 14336, false, true}}},
    {"0.6B",
     {{"qkv", 4096, 1024, false, false},
      {"o", 1024, 2048, false, true},
      {"gate_up", 6144, 1024, true, false},
      {"down", 1024, 3072, false, true}}},
};

struct Bench {
  cudaStream_t stream;
  __nv_bfloat16 *weights, *x, *residual, *out;
  void* workspace;
  CublasLt* library;  // may be null
  size_t at = 0;      // next weight

  LinearCall call(const Linear& s, int m, bool gated) {
    const size_t size = size_t(s.n) * s.k;
    if (at + size > kPool / 2) at = 0;
    LinearCall c;
    c.m = m;
    c.n = s.n;
    c.k = s.k;
    c.x = x;
    c.weight = weights + at;
    c.residual = s.residual ? residual : nullptr;
    c.activation = gated ? Activation::kSwiGlu : Activation::kNone;
    c.out = out;
    at += size;
    return c;
  }
  void own(const Linear& s, int m, bool gated) { large_linear({stream}, call(s, m, gated)); }
  void lt(const Linear& s, int m) {
    library->run({stream}, call(s, m, false), workspace, CublasLt::kWorkspaceBytes);
  }

  // Microseconds of one run of `body`, captured `repeats` times, replayed for `seconds`.
  double time(int repeats, double seconds, const std::function<void()>& body) {
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    cudaEvent_t begin, end;
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    body();
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    for (int i = 0; i < repeats; ++i) body();
    cudaStreamEndCapture(stream, &graph);
    cudaGraphInstantiate(&ready, graph, 0);
    float milliseconds = 0;
    int launches = 1;
    for (int pass = 0; pass < 2; ++pass) {
      cudaEventRecord(begin, stream);
      for (int i = 0; i < launches; ++i) cudaGraphLaunch(ready, stream);
      cudaEventRecord(end, stream);
      cudaEventSynchronize(end);
      cudaEventElapsedTime(&milliseconds, begin, end);
      if (pass == 0) launches = std::max(1, static_cast<int>(seconds * 1e3 / milliseconds));
    }
    if (cudaGetLastError() != cudaSuccess || take_error().code != cudaSuccess) {
      std::printf("failed\n");
      std::exit(1);
    }
    cudaGraphExecDestroy(ready);
    cudaGraphDestroy(graph);
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return milliseconds * 1e3 / launches / repeats;
  }
};

double tflops(int m, const Linear& s, double us) {
  return 2e-6 * m * s.n * s.k / us;
}

void shapes(Bench& b, const Model& model, const std::vector<int>& ms, double seconds) {
  std::printf("%s, TFLOP/s with tiles of 256, 192, 128, 64 columns | chosen, cuBLASLt | us\n",
              model.name);
  for (int m : ms) {
    for (const Linear& s : model.shapes) {
      const int repeats = std::clamp(static_cast<int>(4e3 / (tflops(m, s, 1) / 600)), 2, 100);
      std::printf("%5d %-8s", m, s.name);
      for (int columns : {256, 192, 128, 64}) {
        if (s.gated && columns % 128 != 0) {
          std::printf("    -");
          continue;
        }
        const LargeTiles tiles = {columns, true};
        const double us = b.time(repeats, seconds,
                                 [&] { large_linear({b.stream}, b.call(s, m, s.gated), tiles); });
        std::printf(" %4.0f", tflops(m, s, us));
      }
      const int chosen = large_linear_tiles(b.call(s, m, s.gated)).columns;
      const double own = b.time(repeats, seconds, [&] { b.own(s, m, s.gated); });
      const double lt = b.library ? b.time(repeats, seconds, [&] { b.lt(s, m); }) : NAN;
      std::printf(" | %3d: %4.0f %4.0f | %7.1f %7.1f\n", chosen, tflops(m, s, own),
                  tflops(m, s, lt), own, lt);
    }
  }
}

void layers(Bench& b, const Model& model, const std::vector<int>& ms, double seconds) {
  std::printf("%s layers, us and TFLOP/s: own with SwiGLU | own without | cuBLASLt without\n",
              model.name);
  for (int m : ms) {
    double work = 0;
    for (const Linear& s : model.shapes) work += tflops(m, s, 1);
    const int repeats = std::clamp(static_cast<int>(1e4 / (work / 700)), 1, 50);
    std::printf("%5d", m);
    for (bool gated : {true, false}) {
      const double us = b.time(repeats, seconds, [&] {
        for (const Linear& s : model.shapes) b.own(s, m, gated && s.gated);
      });
      std::printf(" | %8.1f %4.0f", us, work / us);
    }
    if (b.library != nullptr) {
      const double us = b.time(repeats, seconds, [&] {
        for (const Linear& s : model.shapes) b.lt(s, m);
      });
      std::printf(" | %8.1f %4.0f", us, work / us);
    }
    std::printf("\n");
  }
}

}  // namespace
}  // namespace octavo::cuda

int main(int argc, char** argv) {
  using namespace octavo::cuda;
  const std::string mode = argc > 1 ? argv[1] : "all";
  std::vector<int> ms;
  for (const char* at = argc > 2 ? argv[2] : "512,2048,8192"; at != nullptr;
       at = std::strchr(at, ',')) {
    if (*at == ',') ++at;
    ms.push_back(std::clamp(std::atoi(at), 1, kMostRows));
  }
  const double seconds = argc > 3 ? std::atof(argv[3]) : 1;
  const bool zero = argc > 4;

  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return 1;
  auto library = CublasLt::open();
  std::printf("%s%s\n", properties.name,
              library.ok() ? "" : (", " + library.status().to_string()).c_str());
  Bench b;
  cudaStreamCreate(&b.stream);
  b.weights = filled(kPool / 2, false);
  b.x = filled(size_t{kMostRows} * 14336, true);
  b.residual = filled(size_t{kMostRows} * 4096, true);
  b.out = filled(size_t{kMostRows} * 28672, true);
  if (zero) cudaMemset(b.x, 0, size_t{kMostRows} * 14336 * 2);
  cudaMalloc(&b.workspace, CublasLt::kWorkspaceBytes);
  b.library = library.ok() ? library->get() : nullptr;
  cudaDeviceSynchronize();
  for (const Model& model : kModels) {
    if (mode != "layers") shapes(b, model, ms, seconds);
    if (mode != "shapes") layers(b, model, ms, seconds);
  }
  return 0;
}
