// The kernel behind skinny_linear.h: out = act(x W^T + bias) + residual for up to 128 rows of x.
//
// The weight is the 64-row operand of wgmma and the rows of x are its columns (padded
// to 8, 16, … 128), so that a weight is read from memory once and few tensor
// instructions are wasted. D is then the transposed output, [weight rows, rows of x].
//
// Work. W is cut into tiles of kRows rows, each tile into stages of kStageK columns. The stages of
// all tiles in a row are the units of work, and each CTA gets an equal run of units ("stream-K"):
// all SMs stream the same number of bytes whatever the shape. Tiles in which runs begin and end are
// shared, and their sums are put together in the order of k, in one of two ways:
//  - by mail: all but the first of the sharers send their sums to the first, which finishes the
//    tile. The data is its own flag, so this costs one trip through L2: best for few rows of x, and
//    for runs longer than a tile (then the mail was sent long before it is needed).
//  - in shares: for wide tiles and short runs one CTA would read too much. All leave their sums,
//    wait for each other, and each finishes a part of the tile.
// In both a warp deals only with the same warp of other CTAs, as those hold the same fragments.
//
// Waiting for other CTAs. Mail comes from CTAs that are started before the one that waits. Shares
// need all CTAs of the grid in place at once: there are no more than SMs, and the kernel after this
// one starts only when all are. Two such kernels on two streams could still block each other, hence
// the rule in skinny_linear.h.
//
// Threads. One producer warp keeps a ring of kStages stages full through the copy engine; one or
// two warpgroups multiply. Before the previous kernel is complete, the producer fills the ring with
// weights, which nothing writes; x follows after wait_for_previous(). Where two CTAs fit in an SM
// (up to 113 KB each), memory so stays busy while the previous kernel drains. A further warp adds
// up squares for a norm (skinny_norm.cuh) meanwhile.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "backend/cuda/driver.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/linear_call.h"
#include "backend/cuda/mail.cuh"
#include "backend/cuda/ring.cuh"
#include "backend/cuda/skinny_epilogue.cuh"
#include "backend/cuda/skinny_norm.cuh"
#include "backend/cuda/skinny_tile.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/tensor_map.h"
#include "backend/cuda/wgmma.cuh"
#include "base/rounding.h"

namespace octavo::cuda::skinny {

// Which units each CTA has: the first `remainder` of them one more than the others.
struct Cut {
  int quotient, remainder;
  __device__ int begin(int cta) const { return cta * quotient + min(cta, remainder); }
  __device__ int owner(int unit) const {
    const int longer = remainder * (quotient + 1);
    return unit < longer ? unit / (quotient + 1) : remainder + (unit - longer) / quotient;
  }
};

// The CTAs whose runs have units of a tile.
struct Sharers {
  int first, last;
  __device__ Sharers(const Cut& cut, int tile_begin, int tile_end)
      : first(cut.owner(tile_begin)), last(cut.owner(tile_end - 1)) {}
  __device__ int count() const { return last - first + 1; }
};

// What a CTA works on, and with what.
template <typename C>
struct Work {
  const Args& args;
  unsigned char* ring;  // stages: boxes of the weight, then boxes of x
  uint64_t *full, *empty;
  Cut cut;
  int cta;
  int begin, end;  // the run

  __device__ int first_row(int tile) const { return tile * C::kRows; }
  __device__ unsigned char* weight(int stage) const { return ring + stage * C::kStageBytes; }
  __device__ unsigned char* x(int stage) const { return weight(stage) + C::kBoxes * C::kWeightBox; }
  __device__ Sharers sharers(int tile) const {
    return {cut, tile * args.stages_per_tile, (tile + 1) * args.stages_per_tile};
  }
};

// The producer: one thread.
template <typename C>
__device__ __forceinline__ void load_weight(const Work<C>& work, const CUtensorMap* map, int stage,
                                            int unit) {
  const int tile = unit / work.args.stages_per_tile;
  const int k = (unit - tile * work.args.stages_per_tile) * C::kStageK;
  sm90::arrive_expecting(work.full + stage, work.args.stage_bytes);
#pragma unroll
  for (int box = 0; box < C::kBoxes; ++box) {
    sm90::load_box(work.weight(stage) + box * C::kWeightBox, map, k + 64 * box,
                   work.first_row(tile), work.full + stage, sm90::kEvictFirst);
  }
}
template <typename C>
__device__ __forceinline__ void load_x(const Work<C>& work, const CUtensorMap* map, int stage,
                                       int unit) {
  const int k = unit % work.args.stages_per_tile * C::kStageK;
#pragma unroll
  for (int box = 0; box < C::kBoxes; ++box) {
    unsigned char* const to = work.x(stage) + box * C::kXBox;
    sm90::load_box(to, map, k + 64 * box, 0, work.full + stage);
  }
}

// A consumer thread. Fragment i of its sums is d[i / (kN / 8)][4 (i % (kN / 8)) …]: 64-row block,
// then 8 rows of x.
template <typename T, typename C, bool kGelu>
struct Consumer {
  static constexpr int kPerBlock = C::kN / 8;  // fragments
  using Sums = float[C::kBlocks][C::kN / 2];

  const Work<C>& work;
  const Args& args;
  const CarriedNorm<C> norm;
  const int warp, lane;
  int finished = 0;  // tiles, or shares of them

  __device__ static float* fragment(Sums& d, int i) { return d[i / kPerBlock] + i % kPerBlock * 4; }
  __device__ static int x_row(int i) { return i % kPerBlock * 8; }
  __device__ bool is_padding(int i) const { return x_row(i) >= args.m; }
  // The first weight row of this thread in fragment i of a tile.
  __device__ int row(int tile, int i) const {
    return work.first_row(tile) + (warp / 4 * C::kBlocks + i / kPerBlock) * 64 + warp % 4 * 16 +
           lane / 4;
  }
  __device__ float4* mail(int from, int i) const {
    return args.mail + from * C::kPartial + i * C::kConsumers + threadIdx.x;
  }
  __device__ float4* partial(const Sharers& sharers, int of, int i) const {
    return args.partials + (2 * int64_t{of} + (of == sharers.first)) * C::kPartial +
           i * C::kConsumers + threadIdx.x;
  }
  __device__ unsigned* arrivals(const Sharers& sharers) const {
    return args.arrivals + sharers.first * 8 + warp;
  }
  __device__ void release(int stage) const {
    if (lane == 0) sm90::arrive(work.empty + stage);
  }

  // d = the products of the run's next `count` units, which are of one tile.
  __device__ __forceinline__ void multiply(Sums& d, RingPlace& place, int count) const {
    int previous = -1;
    for (int i = 0; i < count; ++i) {
      sm90::wait(work.full + place.stage, place.parity);
      const uint64_t a =
          sm90::swizzled_tile(work.weight(place.stage) + warp / 4 * C::kBlocks * 8192);
      const uint64_t b = sm90::swizzled_tile(work.x(place.stage));
      sm90::fence_products();
#pragma unroll
      for (int step = 0; step < C::kStageK / 16; ++step) {
        // In 16-byte units: 32 bytes a step inside a box, then the next box.
        const int a_at = step / 4 * (C::kWeightBox / 16) + step % 4 * 2;
        const int b_at = step / 4 * (C::kXBox / 16) + step % 4 * 2;
#pragma unroll
        for (int block = 0; block < C::kBlocks; ++block) {
          sm90::Wgmma<C::kN, T>::shared_a(d[block], a + a_at + block * 512, b + b_at,
                                          i > 0 || step > 0);
        }
      }
      sm90::commit_products();
      sm90::wait_products<1>();  // the stage before this one has been read
      if (previous >= 0) release(previous);
      previous = place.stage;
      place.advance(C::kStages);
    }
    sm90::wait_products<0>();
    release(previous);
#pragma unroll
    for (int block = 0; block < C::kBlocks; ++block) sm90::pin_registers(d[block]);
  }

  // d += what the other sharers sent. kAhead senders and kBatch fragments are looked at together,
  // to wait once for all.
  __device__ __forceinline__ void collect_mail(Sums& d, const Sharers& sharers) const {
    constexpr int kBatch = std::min(C::kFragments, 8);
    constexpr int kAhead = std::min(8 / kBatch, 4);
#pragma unroll 1
    for (int first = sharers.first + 1; first <= sharers.last; first += kAhead) {
#pragma unroll
      for (int batch = 0; batch < C::kFragments; batch += kBatch) {
        if (is_padding(batch)) continue;
        float4 sums[kAhead][kBatch];
#pragma unroll
        for (int i = 0; i < kAhead * kBatch; ++i) {
          const int sender = min(first + i / kBatch, sharers.last);
          sums[i / kBatch][i % kBatch] = peek_mail(mail(sender, batch + i % kBatch));
        }
#pragma unroll
        for (int i = 0; i < kAhead * kBatch; ++i) {
          const int sender = first + i / kBatch, at = batch + i % kBatch;
          if (sender > sharers.last || is_padding(at)) continue;
          float4& sum = sums[i / kBatch][i % kBatch];
          while (!has_arrived(sum)) sum = peek_mail(mail(sender, at));
          *mail(sender, at) = float4{};
          float* const v = fragment(d, at);
          v[0] += sum.x;
          v[1] += sum.y;
          v[2] += sum.z;
          v[3] += sum.w;
        }
      }
    }
    __syncwarp();  // lanes may have waited differently long
  }

  // Finishes a tile from registers, with what the mail brings.
  __device__ __forceinline__ void finish_tile(Sums& d, int tile, const Sharers& sharers) {
    constexpr bool kOnce = C::kFragments == C::kAtOnce;
    uint32_t residual[C::kAtOnce][2];
    Gain gain;
    if constexpr (kOnce) load_residual(args, residual, row(tile, 0), 0);
    load_gain(args, gain, row(tile, 0));
    collect_mail(d, sharers);
    // Not unrolled: this runs once a tile, and fetching the code would take longer than running it.
#pragma unroll 1
    for (int at = 0; at < C::kFragments; at += C::kAtOnce) {
      if (is_padding(at)) continue;
      float sums[C::kAtOnce][4];
#pragma unroll
      for (int i = 0; i < C::kFragments; ++i) {
        if (at != i / C::kAtOnce * C::kAtOnce) continue;
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[i % C::kAtOnce][e] = fragment(d, i)[e];
      }
      if constexpr (!kOnce) load_residual(args, residual, row(tile, at), x_row(at));
      finish<T, kGelu>(args, sums, residual, gain, row(tile, at), x_row(at), norm.scale(),
                       norm.sums_of(finished));
    }
    norm.publish(args, finished++, row(tile, 0) / kPartColumns * kPartColumns, 0, C::kN);
  }

  // Waits for the sums of all sharers of a tile and finishes this CTA's part of it.
  __device__ __forceinline__ void finish_share(int tile) {
    const Sharers sharers = work.sharers(tile);
    Gain gain;
    load_gain(args, gain, row(tile, 0));
    const auto everybody = static_cast<unsigned>(sharers.count());
    if (lane == 0) {
      unsigned* const counter = arrivals(sharers);
      while (sm90::load_acquire(counter) < everybody) {
      }
      // Everybody counts twice; who finds that all have stopped looking resets the counter.
      if (sm90::add_acq_rel(counter, 1) == 2 * everybody - 1) *counter = 0;
    }
    __syncwarp();
    constexpr int kParts = C::kFragments / C::kAtOnce;
    const int me = work.cta - sharers.first;
    const int from = me * kParts / sharers.count() * C::kAtOnce;
    const int to = (me + 1) * kParts / sharers.count() * C::kAtOnce;
#pragma unroll 1
    for (int at = from; at < to; at += C::kAtOnce) {
      if (is_padding(at)) continue;
      uint32_t residual[C::kAtOnce][2];
      load_residual(args, residual, row(tile, at), x_row(at));
      float sums[C::kAtOnce][4] = {};
#pragma unroll 1
      for (int source = sharers.first; source <= sharers.last; source += 4) {
        float4 loaded[4][C::kAtOnce];  // many loads at once
#pragma unroll
        for (int i = 0; i < 4 * C::kAtOnce; ++i) {
          const int of = source + i / C::kAtOnce;
          loaded[i / C::kAtOnce][i % C::kAtOnce] =
              of <= sharers.last ? __ldcg(partial(sharers, of, at + i % C::kAtOnce)) : float4{};
        }
#pragma unroll
        for (int i = 0; i < 4 * C::kAtOnce; ++i) {
          const float4& sum = loaded[i / C::kAtOnce][i % C::kAtOnce];
          float* const v = sums[i % C::kAtOnce];
          v[0] += sum.x;
          v[1] += sum.y;
          v[2] += sum.z;
          v[3] += sum.w;
        }
      }
      finish<T, kGelu>(args, sums, residual, gain, row(tile, at), x_row(at), norm.scale(),
                       norm.sums_of(finished));
    }
    norm.publish(args, finished++, row(tile, 0) / kPartColumns * kPartColumns, 8 * from, 8 * to);
  }

  __device__ __forceinline__ void run() {
    const int per_tile = args.stages_per_tile;
    const bool by_mail = !C::kShare || args.long_runs;
    bool shares_first = false, shares_last = false;
    RingPlace place;
    Sums d;
    for (int unit = work.begin; unit < work.end;) {
      const int tile = unit / per_tile, stop = min(work.end, (tile + 1) * per_tile);
      multiply(d, place, stop - unit);
      unit = stop;
      const Sharers sharers = work.sharers(tile);
      if (by_mail || sharers.count() == 1) {
        if (work.cta == sharers.first) {
          finish_tile(d, tile, sharers);
          continue;
        }
#pragma unroll
        for (int i = 0; i < C::kFragments; ++i) {
          if (is_padding(i)) continue;
          const float* const v = fragment(d, i);
          send_mail(mail(work.cta, i), float4{v[0], v[1], v[2], v[3]});
        }
        continue;
      }
      if constexpr (C::kShare) {
#pragma unroll
        for (int i = 0; i < C::kFragments; ++i) {
          if (is_padding(i)) continue;
          const float* const v = fragment(d, i);
          __stcg(partial(sharers, work.cta, i), float4{v[0], v[1], v[2], v[3]});
        }
        __syncwarp();
        if (lane == 0) sm90::add_acq_rel(arrivals(sharers), 1);
        if (tile == work.begin / per_tile) {
          shares_first = true;
        } else {
          shares_last = true;
        }
      }
    }
    // Only now, as nobody may wait for a CTA that itself waits in the middle of its run.
    if constexpr (C::kShare) {
#pragma unroll 1
      for (int which = 0; which < 2; ++which) {
        if (which == 0 ? shares_first : shares_last) {
          finish_share((which == 0 ? work.begin : work.end - 1) / per_tile);
        }
      }
    }
  }
};

template <typename T, typename C, bool kGelu>
__global__ void __launch_bounds__(C::kThreads, C::kPerSm)
    skinny_kernel(const __grid_constant__ CUtensorMap weight_map,
                  const __grid_constant__ CUtensorMap x_map, const __grid_constant__ Args args) {
  extern __shared__ __align__(1024) unsigned char shared[];
  auto* const barriers = reinterpret_cast<uint64_t*>(shared + C::kStages * C::kStageBytes);
  auto* const norm_memory = reinterpret_cast<NormMemory<C>*>(barriers + 2 * C::kStages);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  // Mail goes from later runs to earlier ones, and must come from CTAs that were started first.
  const int cta = static_cast<int>(gridDim.x - 1 - blockIdx.x);
  const Cut cut{args.quotient, args.remainder};
  const Work<C> work{args, shared, barriers,       barriers + C::kStages,
                     cut,  cta,    cut.begin(cta), cut.begin(cta + 1)};

  if (threadIdx.x == C::kConsumers) {
    sm90::prefetch_map(&weight_map);
    sm90::prefetch_map(&x_map);
    for (int s = 0; s < C::kStages; ++s) {
      sm90::init_barrier(work.full + s, 1);
      sm90::init_barrier(work.empty + s, C::kWarps);
    }
    if constexpr (C::kCarries) sm90::init_barrier(&norm_memory->scaled, 32);
    sm90::fence_barrier_init();
  }
  __syncthreads();
  sm90::let_next_start();

  if (warp >= C::kWarps) {
    if constexpr (C::kMovesRegisters) sm90::give_registers<40>();
    const bool chosen = threadIdx.x == C::kConsumers;
    const int ahead = min(C::kStages, work.end - work.begin);
    if (chosen) {
      for (int i = 0; i < ahead; ++i) load_weight(work, &weight_map, i, work.begin + i);
    }
    __syncwarp();
    if (chosen) {
      sm90::wait_for_previous();
      for (int i = 0; i < ahead; ++i) load_x(work, &x_map, i, work.begin + i);
      RingPlace place;  // the first round is over
      for (int unit = work.begin + ahead; unit < work.end; ++unit, place.advance(C::kStages)) {
        sm90::wait(work.empty + place.stage, place.parity);
        load_weight(work, &weight_map, place.stage, unit);
        load_x(work, &x_map, place.stage, unit);
      }
    }
    __syncwarp();
    if constexpr (C::kCarries) {
      if (warp == C::kWarps + 1 && args.squares != nullptr) {
        sm90::wait_for_previous();
        compute_scales(args, *norm_memory);
      }
    }
  } else {
    if constexpr (C::kMovesRegisters) sm90::take_registers<232>();
    sm90::wait_for_previous();
    Consumer<T, C, kGelu>{work, args, {args, norm_memory}, warp, lane}.run();
  }
}

// The workspace: arrivals, mail, partial sums.
inline constexpr size_t kArrivalBytes = 16384;  // 512 CTAs
inline constexpr size_t kMaxPartial = 128 * 128;
inline size_t mail_bytes() {
  return multiprocessors() * kMaxPartial * sizeof(float);
}

template <typename T, typename C, bool kGelu>
void launch_skinny_as(const Launch& on, const LinearCall& call, void* workspace) {
  static_assert(C::kRows * C::kN <= kMaxPartial);
  static const bool allowed [[maybe_unused]] =
      allow_shared_bytes("skinny_linear", skinny_kernel<T, C, kGelu>, C::kSharedBytes);
  const int tiles = divide_up(call.n, C::kRows);
  const int stages = divide_up(call.k, C::kStageK);
  const int units = tiles * stages;
  const int places = multiprocessors();
  int ctas = std::min(places, units);
  // With wide tiles, passing sums on costs more than some idle SMs do: cut every tile into the same
  // number of runs.
  const int even = places / tiles * tiles;
  if (C::kShare && even <= units && even * 10 >= places * 7) ctas = even;
  auto* const bytes = static_cast<unsigned char*>(workspace);
  Args args = {};
  args.m = call.m;
  args.n = call.n;
  args.k = call.k;
  args.stages_per_tile = stages;
  args.stage_bytes = C::kBoxes * (C::kWeightBox + call.m * 128);
  args.quotient = units / ctas;
  args.remainder = units % ctas;
  args.long_runs = args.quotient >= stages;
  args.activation = call.activation;
  args.out_is_float = call.out_is_float;
  args.bias = call.bias;
  args.residual = call.residual;
  args.out = call.out;
  args.arrivals = reinterpret_cast<unsigned*>(bytes);
  args.mail = reinterpret_cast<float4*>(bytes + kArrivalBytes);
  args.partials = reinterpret_cast<float4*>(bytes + kArrivalBytes + mail_bytes());
  args.next_gain = call.next_gain;
  args.weighted = call.weighted;
  args.squares_out = call.squares_out;
  args.parts_out = divide_up(call.n, kPartColumns);
  args.squares = call.squares;
  args.square_parts = call.square_parts;
  args.norm_eps = call.norm_eps;
  const CUtensorMap weight_map =
      make_tensor_map(call.weight, call.dtype, call.n, call.k, call.k, C::kRows);
  // Boxes of m rows, not C::kN: filling lines with zeros takes the copy engine longer than copying
  // them. What lies behind them, anything, only meets columns that nobody reads.
  const CUtensorMap x_map = make_tensor_map(call.x, call.dtype, call.m, call.k, call.k, call.m);
  Grid grid;
  grid.blocks = dim3(static_cast<unsigned>(ctas));
  grid.threads = dim3(C::kThreads);
  grid.shared_bytes = C::kSharedBytes;
  launch("skinny_linear", on, grid, skinny_kernel<T, C, kGelu>, weight_map, x_map, args);
}

template <typename T, typename C>
void launch_skinny(const Launch& on, const LinearCall& call, void* workspace) {
  if (call.activation == Activation::kGelu || call.activation == Activation::kGeluTanh) {
    launch_skinny_as<T, C, true>(on, call, workspace);
  } else {
    launch_skinny_as<T, C, false>(on, call, workspace);
  }
}

}  // namespace octavo::cuda::skinny
