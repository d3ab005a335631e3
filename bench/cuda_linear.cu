// Which kernel serves a matrix product best? Every path of the CUDA backend at the shapes of two
// models, for many numbers of rows: the rule in cuda_backend.cc and the model of cost in
// cluster_linear.cu come from these tables.
//
//   bench_cuda_linear [8b|0.6b] [rows,rows,...] [milliseconds a cell] [skinny,large,lt|cuts|layers]
//
// Microseconds of one product among many in a graph; weights come from memory (each launch has its
// own, until the pool of 2 GB wraps) and are U(±1e-3), x is N(0, 1). "lt" is cuBLASLt's own first
// guess, "tuned" the fastest of its first eight. cuts: all ways to cut a product for
// cluster_linear. layers: the four products of a layer in turn.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "backend/cuda/cluster_linear.h"
#include "backend/cuda/cublaslt.h"
#include "backend/cuda/large_linear.h"
#include "backend/cuda/skinny_linear.h"
#include "cuda_fill.cuh"

namespace octavo::cuda {
namespace {

using bench::filled;

constexpr size_t kPool = size_t{1} << 30;  // weights, elements
constexpr int kMostRows = 1024;

struct Product {
  const char* name;
  int n, k;
  bool gated, residual, out_is_float;
};
struct Model {
  const char* name;
  int layers;
  std::vector<Product> products;  // of a layer; the last one is the head
};
const Model kModels[] = {
    {"8b",
     32,
     {{"qkv", 6144, 4096, false, false, false},
      {"o", 4096, 4096, false, true, false},
      {"gate_up", 28672, 4096, true, false, false},
      {"down", 4096, 14336, false, true, false},
      {"head", 128256, 4096, false, false, true}}},
    {"0.6b",
     28,
     {{"qkv", 4096, 1024, false, false, false},
      {"o", 1024, 2048, false, true, false},
      {"gate_up", 6144, 1024, true, false, false},
      {"down", 1024, 3072, false, true, false},
      {"head", 151936, 1024, false, false, true}}},
};

struct Bench {
  cudaStream_t stream = nullptr;
  __nv_bfloat16 *weights, *x, *residual, *out;
  void *skinny_space, *library_space;
  std::unique_ptr<CublasLt> library;  // may be null
  double milliseconds = 10;
  std::string paths = "skinny,large,lt";
  size_t at = 0;  // next weight

  LinearCall call(const Product& p, int m) {
    const size_t size = size_t(p.n) * p.k;
    if (at + size > kPool) at = 0;
    LinearCall c;
    c.m = m;
    c.n = p.n;
    c.k = p.k;
    c.x = x;
    c.weight = weights + at;
    c.residual = p.residual ? residual : nullptr;
    c.activation = p.gated ? Activation::kSwiGlu : Activation::kNone;
    c.out = out;
    c.out_is_float = p.out_is_float;
    at += size;
    return c;
  }

  // Microseconds of one `body`, of which a graph has `repeats`.
  double time(int repeats, const std::function<void()>& body) {
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
    float passed = 0;
    int launches = 1;
    for (int pass = 0; pass < 2; ++pass) {
      cudaEventRecord(begin, stream);
      for (int i = 0; i < launches; ++i) cudaGraphLaunch(ready, stream);
      cudaEventRecord(end, stream);
      cudaEventSynchronize(end);
      cudaEventElapsedTime(&passed, begin, end);
      if (pass == 0) launches = std::max(1, static_cast<int>(milliseconds / passed));
    }
    if (cudaGetLastError() != cudaSuccess || take_error().code != cudaSuccess) {
      std::printf("failed\n");
      std::exit(1);
    }
    cudaGraphExecDestroy(ready);
    cudaGraphDestroy(graph);
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return passed * 1e3 / launches / repeats;
  }
};

constexpr int kWidths[] = {256, 192, 128, 64};

void print_row(Bench& b, const Product& p, int m) {
  const double floor = std::max(2.0 * p.n * p.k / 4.55e6, 2.0 * m * p.n * p.k / 750e6);
  const int repeats = std::clamp(static_cast<int>(2e3 / floor), 2, 40);
  std::printf("%5d %-8s %7.1f |", m, p.name, floor);
  const auto wanted = [&](const char* path) { return b.paths.find(path) != std::string::npos; };
  if (m <= 128 && wanted("skinny")) {
    std::printf(" %7.1f |",
                b.time(repeats, [&] { skinny_linear({b.stream}, b.call(p, m), b.skinny_space); }));
  } else {
    std::printf("       - |");
  }
  const int chosen = large_linear_tiles(b.call(p, m)).columns;
  for (int columns : kWidths) {
    if ((p.gated && columns % 128 != 0) || !wanted("large")) {
      std::printf("       - ");
      continue;
    }
    const LargeTiles tiles = {columns, true};
    std::printf(" %7.1f%c", b.time(repeats, [&] { large_linear({b.stream}, b.call(p, m), tiles); }),
                columns == chosen ? '*' : ' ');
  }
  if (b.library != nullptr && wanted("lt")) {
    Product plain = p;
    plain.gated = false;
    const auto run = [&] {
      b.library->run({b.stream}, b.call(plain, m), b.library_space, CublasLt::kWorkspaceBytes);
    };
    std::printf("| %7.1f", b.time(repeats, run));
    const Status tuned =
        b.library->tune({b.stream}, b.call(plain, m), b.library_space, CublasLt::kWorkspaceBytes);
    if (tuned.ok()) std::printf(" %7.1f", b.time(repeats, run));
  }
  std::printf("\n");
  std::fflush(stdout);
}

// Every cut of cluster_linear: the best ones, and the one it would choose.
void print_cuts(Bench& b, const Product& p, int m) {
  struct Timed {
    double us;
    ClusterTiles tiles;
  };
  std::vector<Timed> all;
  const ClusterTiles chosen = cluster_linear_tiles(b.call(p, m));
  double chosen_us = 0;
  const double floor = std::max(2.0 * p.n * p.k / 4.55e6, 2.0 * m * p.n * p.k / 750e6);
  const int repeats = std::clamp(static_cast<int>(2e3 / floor), 2, 40);
  for (int columns : {64, 72, 96, 112, 128, 144, 192, 224}) {
    if (p.gated && columns % 16 != 0) continue;
    for (int splits = 1; splits <= 4; ++splits) {
      const ClusterTiles tiles = {columns, splits};
      const int ctas = (p.n + columns - 1) / columns * splits;
      if (ctas < 60 || ((splits > 1 || !p.gated) && ctas > 132)) continue;
      const double us = b.time(repeats, [&] { cluster_linear({b.stream}, b.call(p, m), tiles); });
      all.push_back({us, tiles});
      if (columns == chosen.columns && splits == chosen.splits) chosen_us = us;
    }
  }
  std::sort(all.begin(), all.end(), [](const Timed& x, const Timed& y) { return x.us < y.us; });
  std::printf("%5d %-8s %7.1f | chosen %3d/%d %7.1f |", m, p.name, floor, chosen.columns,
              chosen.splits, chosen_us);
  for (size_t i = 0; i < all.size() && i < 7; ++i)
    std::printf(" %d/%d %.1f,", all[i].tiles.columns, all[i].tiles.splits, all[i].us);
  std::printf("\n");
  std::fflush(stdout);
}

// The products of a layer in turn, each by the path that `how` names: s(kinny), c(luster), l(arge)
// or t (lt).
void print_chain(Bench& b, const Model& model, int m, const char* how) {
  const double us = b.time(8, [&] {
    for (size_t i = 0; i < 4; ++i) {
      const LinearCall call = b.call(model.products[i], m);
      if (how[i] == 's') skinny_linear({b.stream}, call, b.skinny_space);
      if (how[i] == 'c') cluster_linear({b.stream}, call);
      if (how[i] == 'l') large_linear({b.stream}, call);
      if (how[i] == 't')
        b.library->run({b.stream}, call, b.library_space, CublasLt::kWorkspaceBytes);
    }
  });
  std::printf("%5d layer by %s %8.1f us, %d layers %6.2f ms\n", m, how, us, model.layers,
              us * model.layers / 1e3);
}

}  // namespace
}  // namespace octavo::cuda

int main(int argc, char** argv) {
  using namespace octavo::cuda;
  const std::string which = argc > 1 ? argv[1] : "8b";
  std::vector<int> ms;
  for (const char* at = argc > 2 ? argv[2] : "48,64,96,128,192,256,384,512,576,640"; at != nullptr;
       at = std::strchr(at, ',')) {
    if (*at == ',') ++at;
    ms.push_back(std::clamp(std::atoi(at), 1, kMostRows));
  }
  Bench b;
  if (argc > 3) b.milliseconds = std::atof(argv[3]);
  if (argc > 4) b.paths = argv[4];

  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return 1;
  auto library = CublasLt::open();
  std::printf("%s%s\n", properties.name,
              library.ok() ? "" : (", " + library.status().to_string()).c_str());
  cudaStreamCreateWithFlags(&b.stream, cudaStreamNonBlocking);
  b.weights = filled(kPool, false);
  b.x = filled(size_t{kMostRows} * 14336, true);
  b.residual = filled(size_t{kMostRows} * 4096, true);
  b.out = filled(size_t{kMostRows} * 2 * 151936, true);
  cudaMalloc(&b.library_space, CublasLt::kWorkspaceBytes);
  cudaMalloc(&b.skinny_space, skinny_linear_workspace_bytes());
  cudaMemset(b.skinny_space, 0, skinny_linear_workspace_bytes());
  if (library.ok()) b.library = std::move(*library);
  cudaDeviceSynchronize();
  for (const Model& model : kModels) {
    if (which != model.name) continue;
    std::printf("%5s %-8s %7s | %7s |", "rows", model.name, "limit", "skinny");
    for (int columns : kWidths) std::printf(" large%-3d", columns);
    std::printf("| %7s %7s\n", "lt", "tuned");
    for (int m : ms) {
      if (b.paths == "cuts") {
        for (const Product& p : model.products) {
          if (!p.out_is_float) print_cuts(b, p, m);
        }
        continue;
      }
      if (b.paths != "layers") {
        for (const Product& p : model.products) print_row(b, p, m);
        continue;
      }
      for (const char* how : {"ssss", "ttst", "ttlt", "llll", "cccc"}) {
        if ((m <= 128 || std::strchr(how, 's') == nullptr) &&
            (m <= 128 || std::strchr(how, 'c') == nullptr))
          print_chain(b, model, m, how);
      }
    }
  }
  return 0;
}
