#include "backend/cuda/cluster_linear.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "backend/cuda/cluster_kernel.cuh"
#include "backend/cuda/driver.h"
#include "base/rounding.h"

namespace octavo::cuda {
namespace cluster {

template <typename T>
void launch_for_type(const Launch&, const LinearCall&, int columns, const Grid&, const Problem&);
extern template void launch_for_type<__nv_bfloat16>(const Launch&, const LinearCall&, int,
                                                    const Grid&, const Problem&);
extern template void launch_for_type<__half>(const Launch&, const LinearCall&, int, const Grid&,
                                             const Problem&);

}  // namespace cluster

namespace {

constexpr int kWidths[] = {64, 72, 96, 112, 128, 144, 192, 224};
constexpr int kMostSplits = 4;

// A kernel with as much shared memory as ours: one CTA fills an SM.
__global__ __launch_bounds__(cluster::kThreads, 1) void occupant() {}

// How many clusters of `size` CTAs run at once. Less than SMs / size: a cluster lives in one GPC,
// and these have 16 or 18 SMs, not all of them enabled.
int places_for(int size) {
  static const auto places = [] {
    std::array<int, kMostSplits + 1> counts = {};
    cudaLaunchConfig_t config = {};
    config.blockDim = dim3(cluster::kThreads);
    config.dynamicSmemBytes = cluster::kBufferBytes;
    allow_shared_bytes("cluster_linear", occupant, cluster::kBufferBytes);
    for (int n = 1; n < static_cast<int>(counts.size()); ++n) {
      cudaLaunchAttribute attribute = {};
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim = {static_cast<unsigned>(n), 1, 1};
      config.gridDim = dim3(static_cast<unsigned>(n * multiprocessors()));
      config.attrs = &attribute;
      config.numAttrs = 1;
      int& count = counts[static_cast<size_t>(n)];
      const cudaError_t error = cudaOccupancyMaxActiveClusters(&count, occupant, &config);
      if (error != cudaSuccess) note_error("cluster_linear", error);
      count = std::max(count, 1);
    }
    return counts;
  }();
  return places[static_cast<size_t>(size)];
}

// Microseconds on an H200, roughly, and only to compare cuts with each other: the constants fit
// what bench_cuda_linear measured. A step of all CTAs takes as long as the slowest of: tensor
// cores, what one SM can take in, memory, L2.
float cost_of(int n, int k, bool gated, const ClusterTiles& tiles) {
  constexpr float kTensorColumn = 4 * 1.2f / 1750;  // of 128 rows, 64 deep
  constexpr float kSmBytes = 95e3f, kMemoryBytes = 4.4e6f, kL2Bytes = 11e6f;
  const int places = places_for(tiles.splits), count = divide_up(n, tiles.columns);
  const auto rounds = static_cast<float>(divide_up(count, places));
  const auto steps = static_cast<float>(divide_up(divide_up(k, cluster::kDepth), tiles.splits));
  const auto active = static_cast<float>(tiles.splits * std::min(count, places));
  const auto columns = static_cast<float>(tiles.columns);
  const float weight = columns * cluster::kLineBytes;
  const float stage = weight + cluster::kRows * cluster::kLineBytes;
  const float step = std::max({columns * kTensorColumn, stage / kSmBytes,
                               active * weight / kMemoryBytes, active * stage / kL2Bytes});
  const float finish = tiles.splits > 1 ? 1.5f + columns / 24 : columns / (gated ? 34 : 40);
  return rounds * steps * step + finish;
}

ClusterTiles tiles_for(int n, int k, bool gated) {
  const int steps = divide_up(k, cluster::kDepth);
  ClusterTiles best;
  float least = 0;
  for (int columns : kWidths) {
    if (gated && columns % 16 != 0) continue;
    for (int splits = 1; splits <= std::min(kMostSplits, steps); ++splits) {
      // Only SwiGLU without splits can go on to another tile.
      if ((!gated || splits > 1) && divide_up(n, columns) > places_for(splits)) continue;
      const float cost = cost_of(n, k, gated, {columns, splits});
      if (least == 0 || cost < least) {
        least = cost;
        best = {columns, splits};
      }
    }
  }
  return best;
}

}  // namespace

bool cluster_linear_takes(const LinearCall& call) {
  if (call.dtype != DType::kBF16 && call.dtype != DType::kF16) return false;
  if (call.m < 1 || call.m > cluster::kRows || call.n < 1 || call.k < 1) return false;
  if (call.n % 8 != 0 || call.k % 8 != 0) return false;
  if (!norms_fit(call)) return false;
  if (call.activation == Activation::kSwiGlu) {
    return call.n % 16 == 0 && call.residual == nullptr && call.bias == nullptr &&
           !call.out_is_float;
  }
  return call.activation == Activation::kNone && call.n <= places_for(1) * std::end(kWidths)[-1];
}

ClusterTiles cluster_linear_tiles(const LinearCall& call) {
  return tiles_for(call.n, call.k, call.activation == Activation::kSwiGlu);
}

int cluster_linear_square_parts(const LinearCall& call, const ClusterTiles& tiles) {
  return round_up(divide_up(call.n, tiles.columns) * tiles.splits, 4);
}

int cluster_linear_square_parts(const LinearCall& call) {
  return cluster_linear_square_parts(call, cluster_linear_tiles(call));
}

void cluster_linear(const Launch& on, const LinearCall& call, const ClusterTiles& tiles) {
  cluster::Problem p = {};
  p.m = call.m;
  p.n = call.n;
  p.steps = divide_up(call.k, cluster::kDepth);
  p.splits = tiles.splits;
  p.share = divide_up(tiles.columns / 8, tiles.splits);
  if (call.activation == Activation::kSwiGlu) p.share += p.share % 2;  // gate and up stay together
  p.tiles = divide_up(call.n, tiles.columns);
  p.x_rows = round_up(call.m, 8);
  p.activation = call.activation;
  p.bias = call.bias;
  p.residual = call.residual;
  p.out = call.out;
  p.out_is_float = call.out_is_float;
  p.norm = norm_of(call, cluster_linear_square_parts(call, tiles));

  const bool walks = call.activation == Activation::kSwiGlu && tiles.splits == 1;
  const int clusters = walks ? std::min(p.tiles, places_for(1)) : p.tiles;
  Grid grid;
  grid.blocks = dim3(static_cast<unsigned>(tiles.splits * clusters));
  grid.threads = dim3(cluster::kThreads);
  grid.cluster = tiles.splits;
  if (call.dtype == DType::kF16) {
    cluster::launch_for_type<__half>(on, call, tiles.columns, grid, p);
  } else {
    cluster::launch_for_type<__nv_bfloat16>(on, call, tiles.columns, grid, p);
  }
}

void cluster_linear(const Launch& on, const LinearCall& call) {
  cluster_linear(on, call, cluster_linear_tiles(call));
}

}  // namespace octavo::cuda
