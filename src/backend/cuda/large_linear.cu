// The kernel of large_linear.h.
//
// A tile is out[128 rows, kColumns columns]. Tiles come in pairs, the two CTAs of a cluster work on
// one pair, and clusters stay and walk over the pairs (walk order: tile_at). The pair either shares
// its rows of weight or its rows of x: each CTA loads half of what is shared into both (multicast),
// so that a tile costs less L2 traffic. Pairs left for the last round are split when they are few:
// the two CTAs of a cluster take one tile and half of k each, then add their sums (combine).
//
// A CTA has three warpgroups:
//
//   consumers 0, 1   each multiplies 64 rows of x with the tile's rows of weight, 64 deep a step,
//                    then applies bias, activation and residual, turns the result through a buffer
//                    in shared memory, 64 columns (a chunk) at a time, and stores it; with a
//                    carried norm, each line's product with the gains and its squares as well
//   third, warp 0    loads x and weight into a ring of stages, running ahead into the next tile
//   third, warp 1, 2 (one for each consumer) loads the residual into the consumer's buffers
//
// The consumers do not wait for each other. While one finishes its tile the other one keeps the
// tensor cores busy, which hides most of the finish.
//
// Barriers, all in shared memory:
//   full[stage]      its load is complete: one arrival, and the bytes of both CTAs' copies
//   empty[stage]     it is read, by the 8 consumer warps of both CTAs, since both load into it
//   ready[w][b]      buffer b of consumer w holds the residual of its next chunk
//   taken[w][b]      the consumer's 4 warps are done with it
//   other_read       the 8 consumer warps of the other CTA have read all its stages (split tiles)
//   received         the other CTA's sums are here (split tiles)
//
// The finish is long straight code, and after other kernels and their weights its instructions are
// in no cache: reading them took 5 us at the end of the first tile. So consumers rehearse the
// finish while they wait for the kernel before this one.
#include "backend/cuda/large_linear.h"

#include <algorithm>
#include <cstdint>

#include "backend/cuda/driver.h"
#include "backend/cuda/large_epilogue.cuh"
#include "backend/cuda/large_tile.cuh"
#include "backend/cuda/ring.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/tensor_map.h"
#include "backend/cuda/wgmma.cuh"
#include "base/rounding.h"

namespace octavo::cuda {
namespace large {
namespace {

// What CTA `rank` of a cluster does of an item.
struct Work {
  Tile tile;
  int first_step, steps;
  bool split;
};
template <int kColumns>
__device__ __forceinline__ Work work_at(const Problem& p, int item, int rank) {
  if (item < p.whole_pairs) return {tile_at<kColumns>(p, item, rank), 0, p.steps, false};
  const int i = item - p.whole_pairs;
  const int half = (p.steps + 1) / 2;  // a step beyond k adds zeros
  return {tile_at<kColumns>(p, p.whole_pairs + i / 2, i % 2), rank * half, half, true};
}

// Fills the ring, one thread. Waits for the kernel before only once the first weights are on their
// way, since these do not depend on it.
template <int kColumns>
__device__ __forceinline__ void load_stages(const Problem& p, const CUtensorMap* x_map,
                                            const CUtensorMap* weight_map, Shared<kColumns>& s,
                                            int rank, int first_item, int clusters) {
  constexpr int kHalf = kColumns / 2;
  constexpr uint16_t kBoth = 3;
  auto load_weight = [&](int stage, const Work& work, int step) {
    const int k = (work.first_step + step) * kDepth;
    sm90::arrive_expecting(&s.full[stage], Shared<kColumns>::kStageBytes);
    if (p.shares_weight && !work.split) {
      sm90::load_box_multicast(s.weight[stage] + rank * kHalf * kLineBytes, weight_map, k,
                               work.tile.column + rank * kHalf, &s.full[stage], kBoth);
    } else {
      for (int half = 0; half < 2; ++half) {
        sm90::load_box(s.weight[stage] + half * kHalf * kLineBytes, weight_map, k,
                       work.tile.column + half * kHalf, &s.full[stage]);
      }
    }
  };
  auto load_x = [&](int stage, const Work& work, int step) {
    const int k = (work.first_step + step) * kDepth;
    if (p.shares_weight || work.split) {
      for (int half = 0; half < 2; ++half) {
        sm90::load_box(s.x[stage] + half * kConsumerRows * kLineBytes, x_map, k,
                       work.tile.row + half * kConsumerRows, &s.full[stage]);
      }
    } else {
      sm90::load_box_multicast(s.x[stage] + rank * kConsumerRows * kLineBytes, x_map, k,
                               work.tile.row + rank * kConsumerRows, &s.full[stage], kBoth);
    }
  };

  Work work = work_at<kColumns>(p, first_item, rank);
  const int ahead = min(4, work.steps);
  for (int step = 0; step < ahead; ++step) load_weight(step, work, step);
  sm90::wait_for_previous();

  RingPlace place = {0, 1};
  for (int item = first_item;;) {
    for (int step = 0; step < work.steps; ++step) {
      if (item != first_item || step >= ahead) {
        sm90::wait(&s.empty[place.stage], place.parity);
        load_weight(place.stage, work, step);
      }
      load_x(place.stage, work, step);
      place.advance(Shared<kColumns>::kStages);
    }
    item += clusters;
    if (item >= p.items) break;
    work = work_at<kColumns>(p, item, rank);
  }
}

// Loads residuals into the buffers of consumer `w`, one thread.
template <int kColumns>
__device__ __forceinline__ void load_residuals(const Problem& p, const CUtensorMap* residual_map,
                                               Shared<kColumns>& s, int w, int rank, int first_item,
                                               int clusters) {
  int chunk = 0;
  sm90::wait_for_previous();
  for (int item = first_item; item < p.items; item += clusters) {
    const Work work = work_at<kColumns>(p, item, rank);
    if (work.split && w != rank) break;  // the other CTA finishes these rows
    for (int c = 0; c < kColumns / kChunkColumns; ++c, ++chunk) {
      const int b = chunk % kBuffers;
      sm90::wait(&s.taken[w][b], (chunk / kBuffers & 1) ^ 1);  // by the chunk in it before
      sm90::arrive_expecting(&s.ready[w][b], kChunkBytes);
      sm90::load_box(s.chunk[w][b], residual_map, work.tile.column + c * kChunkColumns,
                     work.tile.row + w * kConsumerRows, &s.ready[w][b]);
    }
  }
}

// Of a split tile each CTA holds the sums over half of k. Consumer `rank` of each CTA finishes its
// rows: it adds what consumer `rank` of the other CTA sends, thread by thread, into the stages,
// which nothing uses any more since a split tile is the last work of a cluster. False for a sender.
template <int kColumns>
__device__ __forceinline__ bool combine(Shared<kColumns>& s, int w, int rank,
                                        float (&d)[kColumns / 2]) {
  constexpr int kSumBytes = sizeof(float) * kConsumerRows * kColumns;
  static_assert(sizeof s.x + sizeof s.weight >= kSumBytes);
  const int thread = threadIdx.x % 128;
  auto* sums = reinterpret_cast<float4*>(&s) + thread;
  if (thread % 32 == 0) sm90::arrive_at(&s.other_read, rank ^ 1);
  if (w != rank) {
    sm90::wait(&s.other_read, 0);
#pragma unroll
    for (int i = 0; i < kColumns / 8; ++i) {
      sm90::store_at(sums + i * 128, {d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]},
                     &s.received, rank ^ 1);
    }
    return false;
  }
  if (thread == 0) sm90::arrive_expecting(&s.received, kSumBytes);
  sm90::wait(&s.received, 0);
#pragma unroll
  for (int i = 0; i < kColumns / 8; ++i) {
    const float4 other = sums[i * 128];
    d[4 * i] += other.x;
    d[4 * i + 1] += other.y;
    d[4 * i + 2] += other.z;
    d[4 * i + 3] += other.w;
  }
  return true;
}

// d = the sums of `steps` stages, for consumer `w`. A stage is released once the products of the
// next one are under way, so that the tensor cores never wait for this warpgroup; meanwhile() is
// called while those of the last one are.
template <typename T, int kColumns, typename Meanwhile>
__device__ __forceinline__ void multiply(Shared<kColumns>& s, int w, int steps, RingPlace& place,
                                         float (&d)[kColumns / 2], const Meanwhile& meanwhile) {
  const uint64_t x_tile = sm90::swizzled_tile(s.x[0] + w * kConsumerRows * kLineBytes);
  const uint64_t weight_tile = sm90::swizzled_tile(s.weight[0]);
  const int lane = threadIdx.x % 32;
  auto release = [&](int stage) {
    if (lane < 2) sm90::arrive_at(&s.empty[stage], lane);  // of both CTAs
  };
  int last = 0;
  for (int step = 0; step < steps; ++step) {
    sm90::wait(&s.full[place.stage], place.parity);
    sm90::fence_products();
#pragma unroll
    for (int i = 0; i < kDepth / 16; ++i) {  // 16 deep each: 32 bytes, 2 in the descriptor
      sm90::Wgmma<kColumns, T>::shared_a(
          d, x_tile + place.stage * (kRows * kLineBytes / 16) + 2 * i,
          weight_tile + place.stage * (kColumns * kLineBytes / 16) + 2 * i, step + i != 0);
    }
    sm90::commit_products();
    if (step != 0) {
      sm90::wait_products<1>();
      release(last);
    }
    last = place.stage;
    place.advance(Shared<kColumns>::kStages);
  }
  meanwhile();
  sm90::wait_products<0>();
  sm90::pin_registers(d);
  if (steps > 0) release(last);
}

// Consumer `w`: its half of each tile, after a rehearsal.
template <typename T, int kColumns>
__device__ __forceinline__ void consume(const Problem& p, Shared<kColumns>& s, int w, int rank,
                                        int first_item, int clusters) {
  float d[kColumns / 2] = {};
  RingPlace place;
  int chunks = 0;
  int item = -1;                  // the rehearsal
  asm volatile("" : "+r"(item));  // keeps the compiler from giving it code of its own
  for (;;) {
    const bool live = item >= 0;
    const Work work = live ? work_at<kColumns>(p, item, rank) : Work{};
    float2 scale;
    multiply<T>(s, w, work.steps, place, d, [&] {
      if (is_scaled<T>(p)) scale = row_scales(p, live, work.tile, w);
    });
    if (work.split && !combine(s, w, rank, d)) break;
    if (is_scaled<T>(p)) scale_rows(d, scale);
    add_bias_and_gelu(p, d, work.tile.column);
    if (!p.whole_units) {
      if (live) store_directly<T>(p, s.chunk[w][0], d, work.tile, w);
    } else if (p.activation != Activation::kSwiGlu) {
      store_tile<T, false>(p, live, s, w, d, work.tile, chunks);
    } else if constexpr (kColumns % (2 * kChunkColumns) == 0) {
      store_tile<T, true>(p, live, s, w, d, work.tile, chunks);
    }
    if (!live) sm90::wait_for_previous();
    item = live ? item + clusters : first_item;
    if (item >= p.items) break;
  }
}

template <typename T, int kColumns>
__global__ __launch_bounds__(kThreads, 1) void large_linear_kernel(
    const __grid_constant__ CUtensorMap x_map,         // [m, k] in boxes of 64 rows
    const __grid_constant__ CUtensorMap weight_map,    // [n, k] in boxes of kColumns / 2 rows
    const __grid_constant__ CUtensorMap residual_map,  // [m, n] in boxes of a chunk
    const __grid_constant__ Problem p) {
  sm90::let_next_start();
  extern __shared__ uint8_t unaligned[];
  auto& s = *reinterpret_cast<Shared<kColumns>*>(
      unaligned + (-sm90::shared_address(unaligned) & 1023));  // the swizzle's pattern
  const int rank = static_cast<int>(sm90::cluster_rank());
  const int first_item = blockIdx.x / 2, clusters = gridDim.x / 2;

  if (threadIdx.x == 0) {
    sm90::prefetch_map(&x_map);
    sm90::prefetch_map(&weight_map);
    for (int i = 0; i < Shared<kColumns>::kStages; ++i) {
      sm90::init_barrier(&s.full[i], 1);
      sm90::init_barrier(&s.empty[i], 2 * kConsumers * 4);
    }
    for (int w = 0; w < kConsumers; ++w) {
      for (int b = 0; b < kBuffers; ++b) {
        sm90::init_barrier(&s.ready[w][b], 1);
        sm90::init_barrier(&s.taken[w][b], 4);
      }
    }
    sm90::init_barrier(&s.other_read, kConsumers * 4);
    sm90::init_barrier(&s.received, 1);
    sm90::fence_barrier_init();
  }
  __syncthreads();
  sm90::cluster_arrive();
  sm90::cluster_wait();

  const int warpgroup = threadIdx.x / 128;
  if (warpgroup == kConsumers) {
    sm90::give_registers<40>();
    const int warp = threadIdx.x % 128 / 32;
    if (threadIdx.x % 32 == 0) {
      if (warp == 0) {
        load_stages(p, &x_map, &weight_map, s, rank, first_item, clusters);
      } else if (warp <= kConsumers && p.whole_units && p.residual != nullptr) {
        load_residuals(p, &residual_map, s, warp - 1, rank, first_item, clusters);
      }
    }
  } else {
    sm90::take_registers<232>();
    consume<T>(p, s, warpgroup, rank, first_item, clusters);
  }
  // The other CTA may still arrive at this one's barriers.
  __syncwarp();
  sm90::cluster_arrive();
  sm90::cluster_wait();
}

int most_clusters() {
  return multiprocessors() / 2;
}

// The pairs and items of a product, as Problem has them.
struct Cut {
  bool shares_weight;
  int pair_rows, pair_columns;
  int whole_pairs, items;
};
Cut cut_of(const LinearCall& call, const LargeTiles& tiles) {
  const int rows = divide_up(call.m, kRows), columns = divide_up(call.n, tiles.columns);
  const int down = divide_up(rows, 2) * columns, along = rows * divide_up(columns, 2);
  Cut cut;
  cut.shares_weight = down <= along;  // it saves more traffic than sharing x
  cut.pair_rows = cut.shares_weight ? divide_up(rows, 2) : rows;
  cut.pair_columns = cut.shares_weight ? columns : divide_up(columns, 2);
  const int pairs = cut.pair_rows * cut.pair_columns, left = pairs % most_clusters();
  const bool split = tiles.split && left > 0 && 2 * left <= most_clusters();
  cut.whole_pairs = split ? pairs - left : pairs;
  cut.items = split ? pairs + left : pairs;
  return cut;
}

template <typename T, int kColumns>
void start(const Launch& on, const LinearCall& call, bool split) {
  constexpr size_t kBytes = sizeof(Shared<kColumns>) + 1024;
  static_assert(kBytes <= 232448);
  auto* kernel = large_linear_kernel<T, kColumns>;
  static const bool allowed [[maybe_unused]] = allow_shared_bytes("large_linear", kernel, kBytes);

  const Cut cut = cut_of(call, {kColumns, split});
  Problem p = {};
  p.m = call.m;
  p.n = call.n;
  p.steps = divide_up(call.k, kDepth);
  p.shares_weight = cut.shares_weight;
  p.pair_rows = cut.pair_rows;
  p.pair_columns = cut.pair_columns;
  p.group = kGroupRows / kRows / (cut.shares_weight ? 2 : 1);
  p.items = cut.items;
  p.whole_pairs = cut.whole_pairs;
  p.activation = call.activation;
  p.bias = call.bias;
  p.residual = call.residual;
  p.out = call.out;
  p.out_is_float = call.out_is_float;
  p.out_columns = call.activation == Activation::kSwiGlu ? call.n / 2 : call.n;
  p.whole_units = !call.out_is_float && call.n % 8 == 0;
  p.norm = norm_of(call, divide_up(call.n, kColumns));

  const CUtensorMap x = make_tensor_map(call.x, call.dtype, call.m, call.k, call.k, kConsumerRows);
  const CUtensorMap weight =
      make_tensor_map(call.weight, call.dtype, call.n, call.k, call.k, kColumns / 2);
  CUtensorMap residual = {};
  if (call.residual != nullptr && p.whole_units)
    residual = make_tensor_map(call.residual, call.dtype, call.m, call.n, call.n, kConsumerRows);
  Grid grid;
  grid.blocks = 2 * std::min(cut.items, most_clusters());
  grid.threads = kThreads;
  grid.shared_bytes = kBytes;
  grid.cluster = 2;
  launch("large_linear", on, grid, kernel, x, weight, residual, p);
}

template <typename T>
void start(const Launch& on, const LinearCall& call, const LargeTiles& tiles) {
  switch (tiles.columns) {
    case 256:
      return start<T, 256>(on, call, tiles.split);
    case 192:
      return start<T, 192>(on, call, tiles.split);
    case 128:
      return start<T, 128>(on, call, tiles.split);
    default:
      return start<T, 64>(on, call, tiles.split);
  }
}

}  // namespace
}  // namespace large

bool large_linear_takes(const LinearCall& call) {
  const bool gated = call.activation == Activation::kSwiGlu;
  if (call.m < 1 || call.n < 1 || call.k < 1 || call.k % 8 != 0) return false;
  if (!norms_fit(call) || (call.next_gain != nullptr && call.n % 8 != 0)) return false;
  return !(gated && (call.out_is_float || call.n % 16 != 0 || call.residual != nullptr));
}

LargeTiles large_linear_tiles(const LinearCall& call, bool may_split) {
  // Clock cycles of a step through k, as measured: more than the tensor cores need where the limit
  // is shared memory, which is read for every 64 rows and written by the loads, or L2 (64).
  struct Width {
    int columns, step;
  };
  constexpr Width kWidths[] = {{256, 1024}, {192, 828}, {128, 660}, {64, 580}};
  constexpr int kFinish = 2000;        // cycles
  constexpr int kCombineAColumn = 20;  // of a split tile
  constexpr float kUnshared = 1.05f;   // a split tile's steps take longer: nothing is multicast
  const bool gated = call.activation == Activation::kSwiGlu;
  const int steps = divide_up(call.k, large::kDepth);
  LargeTiles best;
  float least = 0;
  for (const Width& w : kWidths) {
    if (gated && w.columns % 128 != 0) continue;
    const large::Cut cut = large::cut_of(call, {w.columns, may_split});
    const int rounds = divide_up(cut.whole_pairs, large::most_clusters());
    float cost = static_cast<float>(rounds) * static_cast<float>(steps * w.step + kFinish);
    if (cut.items > cut.whole_pairs) {
      cost += kUnshared * static_cast<float>(divide_up(steps, 2) * w.step) +
              static_cast<float>(kFinish + kCombineAColumn * w.columns);
    }
    if (least == 0 || cost < least) {
      least = cost;
      best = {w.columns, may_split};
    }
  }
  return best;
}

int large_linear_square_parts(const LinearCall& call, const LargeTiles& tiles) {
  return divide_up(call.n, tiles.columns);
}

int large_linear_square_parts(const LinearCall& call) {
  return large_linear_square_parts(call, large_linear_tiles(call));
}

void large_linear(const Launch& on, const LinearCall& call, const LargeTiles& tiles) {
  if (call.dtype == DType::kF16) {
    large::start<__half>(on, call, tiles);
  } else {
    large::start<__nv_bfloat16>(on, call, tiles);
  }
}

void large_linear(const Launch& on, const LinearCall& call) {
  large_linear(on, call, large_linear_tiles(call));
}

}  // namespace octavo::cuda
