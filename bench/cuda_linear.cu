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
#include <string>
#include <vector>

#include "backend/cuda/cluster_linear.h"
#include "backend/cuda/cublaslt.h"
#include "backend/cuda/large_linear.h"
#include "backend/cuda/skinny_linear.h"
#include "cuda_products.cuh"

namespace octavo::cuda {
namespace {

using bench::Model;
using bench::Product;

constexpr int kMostRows = 1024;

struct Bench {
  bench::Operands operands{size_t{1} << 30, kMostRows, 2 * bench::kWidestHead};
  bench::Memory memory;
  void* skinny_space = memory.zeroed(skinny_linear_workspace_bytes());
  void* library_space = memory.take(CublasLt::kWorkspaceBytes);
  CublasLt* library = nullptr;  // may be null
  cudaStream_t stream = nullptr;
  double milliseconds = 10;  // of a measurement
  std::string paths = "skinny,large,lt";

  LinearCall call(const Product& p, int m) { return operands.call(p, m); }
  // Microseconds of one `work`, recorded `repeats` times.
  template <typename Work>
  double time(int repeats, Work&& work) {
    return bench::repeated_us(stream, repeats, milliseconds / 1e3, work);
  }
};

// What neither memory nor tensor cores could do faster, in microseconds.
double limit_us(const Product& p, int m) {
  return std::max(2.0 * p.n * p.k / 4.55e6, 2.0 * m * p.n * p.k / 750e6);
}
int repeats_for(double limit) {
  return std::clamp(static_cast<int>(2e3 / limit), 2, 40);
}

constexpr int kWidths[] = {256, 192, 128, 64};

void print_row(Bench& b, const Product& p, int m) {
  const double limit = limit_us(p, m);
  const int repeats = repeats_for(limit);
  std::printf("%5d %-8s %7.1f |", m, p.name, limit);
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
    const Product plain = ungated(p);
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
  const double limit = limit_us(p, m);
  const int repeats = repeats_for(limit);
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
  std::printf("%5d %-8s %7.1f | chosen %3d/%d %7.1f |", m, p.name, limit, chosen.columns,
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
      const LinearCall call = b.call(model.layer[i], m);
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
  const std::vector<int> ms =
      bench::parse_rows(argc > 2 ? argv[2] : "48,64,96,128,192,256,384,512,576,640", kMostRows);

  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return 1;
  auto library = CublasLt::open();
  std::printf("%s%s\n", properties.name,
              library.ok() ? "" : (", " + library.status().to_string()).c_str());
  Bench b;
  if (argc > 3) b.milliseconds = std::atof(argv[3]);
  if (argc > 4) b.paths = argv[4];
  if (library.ok()) b.library = library->get();
  bench::check(cudaStreamCreateWithFlags(&b.stream, cudaStreamNonBlocking));
  bench::check(cudaDeviceSynchronize());
  for (const Model& model : bench::kModels) {
    if (which != model.name) continue;
    std::printf("%5s %-8s %7s | %7s |", "rows", model.name, "limit", "skinny");
    for (int columns : kWidths) std::printf(" large%-3d", columns);
    std::printf("| %7s %7s\n", "lt", "tuned");
    for (int m : ms) {
      if (b.paths == "cuts") {
        for (const Product& p : model.layer) print_cuts(b, p, m);
      } else if (b.paths == "layers") {
        for (const char* how : {"ssss", "ttst", "ttlt", "ltlt", "tllt", "ttll", "llll", "cccc"}) {
          if (m <= 128 || std::strpbrk(how, "sc") == nullptr) print_chain(b, model, m, how);
        }
      } else {
        for (const Product& p : model.layer) print_row(b, p, m);
        print_row(b, model.head, m);
      }
    }
  }
  return 0;
}
