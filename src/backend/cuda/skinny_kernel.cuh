// The kernel behind skinny_linear.h: out = act(x W^T + bias) + residual for up to 256 rows of x.
//
// The weight is the 64-row operand of wgmma and the rows of x are its columns (padded with zeros, by
// the copy engine, to 8, 16, … 256), so that a weight is read from memory once and few tensor
// instructions are wasted. D is then the transposed output, [weight rows, rows of x].
//
// Work. W is cut into tiles of kRows rows, each tile into stages of kStageK columns. The stages of all
// tiles in a row are the units of work, and each CTA gets an equal run of units ("stream-K"): all SMs
// stream the same number of bytes whatever the shape. Where a run ends inside a tile, the CTAs that
// share the tile leave their sums in the workspace, and the last to arrive adds them up in the order
// of k and finishes the tile. Arrivals are counted warp by warp: a warp's fragments only ever meet
// those of the same warp of other CTAs.
//
// Threads. One producer warp keeps a ring of kStages stages full through the copy engine; one or two
// warpgroups multiply. Before the previous kernel is complete, the producer fills the ring with
// weights, which nothing writes; x follows after wait_for_previous(). Where two CTAs fit in an SM
// (about 110 KB each), memory so stays busy while the previous kernel drains.
//
// Clusters. With kCluster == 2 the CTAs of a pair own neighbouring tiles and the same units of k; each
// loads half of the rows of x for both, which halves what L2 must deliver of x.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "backend/cuda/launch.h"
#include "backend/cuda/linear_call.h"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/tensor_map.h"
#include "backend/cuda/wgmma.cuh"

namespace octavo::cuda::skinny {

template <int N, int Warpgroups, int Blocks, int StageK, int Stages, int Cluster = 1,
          bool Norm = false, int Prefetch = 4, int Trigger = 0>
struct Tile {
  static constexpr int kN = N;                    // rows of x, padded
  static constexpr int kWarpgroups = Warpgroups;  // that multiply
  static constexpr int kBlocks = Blocks;          // of 64 weight rows, per warpgroup
  static constexpr int kStageK = StageK;
  static constexpr int kStages = Stages;
  static constexpr int kCluster = Cluster;
  static constexpr bool kNorm = Norm;  // x is normalised on its way to the tensor cores
  static constexpr int kPrefetch = Prefetch;  // stages behind the ring that start on their way to L2
  static constexpr int kTrigger = Trigger;    // stages still to be loaded when the next kernel may start

  static constexpr int kRows = 64 * Blocks * Warpgroups;  // of the weight, per CTA
  static constexpr int kBoxes = StageK / 64;              // a box is 64 columns = 128 bytes wide
  static constexpr int kWeightBox = kRows * 128;
  static constexpr int kXBox = N * 128;
  static constexpr int kStageBytes = kBoxes * (kWeightBox + kXBox);
  static constexpr int kConsumers = 128 * Warpgroups;
  static constexpr int kThreads = kConsumers + 32;
  static constexpr int kWarps = kConsumers / 32;
  // The ring, two barriers a stage, and for the norm a sum per warp and row and a scale per row.
  static constexpr int kSharedBytes = Stages * (kStageBytes + 16) + (Norm ? 4 * N * (kWarps + 1) : 0);
  static constexpr int kPerSm = kSharedBytes <= 113 * 1024 ? 2 : 1;
  static constexpr int kGroups = Blocks * N / 8;  // fragments of 16 rows by 8 columns, per warp
  static constexpr int kPartial = kRows * N / 4;  // float4s of one CTA's sums for a tile
  static_assert(StageK % 64 == 0 && kStageBytes % 1024 == 0 && kRows <= 256 && N % (8 * Cluster) == 0);
};

struct Args {
  int m, n, k;
  int stages_per_tile;
  int quotient, remainder;  // of units by groups: see Cut
  Activation activation;
  bool out_is_float;
  bool long_runs;      // a run is at least as long as a tile
  bool pairs_aligned;  // two neighbours in a row of out (and residual) can be accessed as one word
  const float* bias;
  const void* residual;
  void* out;
  float4* partials;    // [CTA][2][kPartial]
  unsigned* arrivals;  // [CTA][8 warps], zero between kernels
  const void* x;       // this and the next two for kNorm
  const float* norm_weight;
  float norm_eps;
#ifdef SKINNY_TRACE
  unsigned long long* trace;
#endif
};
#ifdef SKINNY_TRACE
inline unsigned long long* next_trace = nullptr;
#define TRACE(i)                                                          \
  do {                                                                    \
    unsigned long long now;                                               \
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));               \
    args.trace[blockIdx.x * 8 + (i)] = now;                               \
  } while (0)
#else
#define TRACE(i)
#endif

// Which units each group (CTA or cluster) has: the first `remainder` groups one more than the others.
struct Cut {
  int quotient, remainder;
  __device__ int begin(int group) const { return group * quotient + min(group, remainder); }
  __device__ int owner(int unit) const {
    const int longer = remainder * (quotient + 1);
    return unit < longer ? unit / (quotient + 1) : remainder + (unit - longer) / quotient;
  }
};

// Position in a ring: index of the stage, parity of the pass.
template <int kStages>
struct Ring {
  int stage = 0;
  uint32_t parity = 0;
  __device__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

__device__ __forceinline__ unsigned add_acq_rel(unsigned* counter, unsigned value) {
  unsigned before;
  asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(counter), "r"(value)
               : "memory");
  return before;
}

__device__ __forceinline__ unsigned load_acquire(const unsigned* counter) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(counter) : "memory");
  return value;
}

// Transposes an 8 x 8 matrix of 16-bit values held by a warp, lane l holding columns 2 (l % 4) and
// the next of row l / 4.
__device__ __forceinline__ uint32_t transpose8x8(uint32_t pair) {
  uint32_t transposed;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(pair));
  return transposed;
}

__device__ __forceinline__ float silu(float v) { return __fdividef(v, 1 + __expf(-v)); }
__device__ __forceinline__ float gelu_tanh(float v) {
  // 0.5 v (1 + tanh u) = v / (1 + e^(-2u))
  const float u = 0.7978845608f * (v + 0.044715f * v * v * v);
  return __fdividef(v, 1 + __expf(-2 * u));
}
__device__ __forceinline__ float gelu(float v) { return 0.5f * v * (1 + erff(0.7071067812f * v)); }

// Two neighbours of a row of 16-bit values; what lies at or behind `end` reads as 0, and is not written.
__device__ __forceinline__ uint32_t load_pair(const uint16_t* row, int at, int end, bool aligned) {
  if (aligned) return at < end ? __ldcg(reinterpret_cast<const uint32_t*>(row + at)) : 0;
  const uint32_t low = at < end ? __ldcg(row + at) : 0;
  const uint32_t high = at + 1 < end ? __ldcg(row + at + 1) : 0;
  return low | high << 16;
}
__device__ __forceinline__ void store_pair(uint16_t* row, int at, int end, bool aligned,
                                           uint32_t pair) {
  if (aligned) {
    if (at < end) *reinterpret_cast<uint32_t*>(row + at) = pair;
  } else {
    if (at < end) row[at] = static_cast<uint16_t>(pair);
    if (at + 1 < end) row[at + 1] = static_cast<uint16_t>(pair >> 16);
  }
}

// Bias, activation, residual and the store of one fragment: 16 weight rows from `row` - lane / 4 by 8
// rows of x from `x_row`. v holds sums at weight rows `row` (v[0], v[1]) and `row` + 8.
template <typename T>
__device__ __forceinline__ void finish(const Args& args, float (&v)[4], int row, int x_row) {
  const int lane = threadIdx.x % 32, group = lane / 4, pair = 2 * (lane % 4);
  if (args.bias != nullptr) {
    const float upper = row < args.n ? __ldg(args.bias + row) : 0;
    const float lower = row + 8 < args.n ? __ldg(args.bias + row + 8) : 0;
    v[0] += upper;
    v[1] += upper;
    v[2] += lower;
    v[3] += lower;
  }
  const bool gated = args.activation == Activation::kSwiGlu;
  if (gated) {
    v[0] = silu(v[0]) * v[2];
    v[1] = silu(v[1]) * v[3];
  } else if (args.activation == Activation::kGelu) {
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = gelu(v[i]);
  } else if (args.activation == Activation::kGeluTanh) {
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = gelu_tanh(v[i]);
  }

  const int n = gated ? args.n / 2 : args.n;
  const int column = gated ? (row - group) / 2 : row - group;  // of the fragment in out
  const int halves = gated ? 1 : 2;                            // of 8 columns
  const int across = x_row + group;  // the row of x that this lane has after a transposition
  const bool inside = across < args.m;
  const int64_t at = static_cast<int64_t>(across) * n;
  if (args.residual != nullptr) {
    const auto* const residual = static_cast<const uint16_t*>(args.residual) + at;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t loaded =
          inside ? load_pair(residual, column + 8 * half + pair, n, args.pairs_aligned) : 0;
      const float2 added = unpack2<T>(transpose8x8(loaded));
      v[2 * half] += added.x;
      v[2 * half + 1] += added.y;
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (half == halves) break;
    if (args.out_is_float) {
      const int to = column + 8 * half + group;
      float* const out = static_cast<float*>(args.out) + static_cast<int64_t>(x_row + pair) * n + to;
      if (to < n && x_row + pair < args.m) out[0] = v[2 * half];
      if (to < n && x_row + pair + 1 < args.m) out[n] = v[2 * half + 1];
    } else {
      const uint32_t packed = transpose8x8(pack2<T>(v[2 * half], v[2 * half + 1]));
      auto* const out = static_cast<uint16_t*>(args.out) + at;
      if (inside) store_pair(out, column + 8 * half + pair, n, args.pairs_aligned, packed);
    }
  }
}

// scale[kN] = 1 / rms of each row of x, by all consumers together; 0 for rows that are padding.
// `sums` [warps][kN] is scratch.
template <typename T, typename C>
__device__ void inverse_rms(const Args& args, float* sums, float* scale) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int words = args.k / 8;
  const auto* const x = static_cast<const uint4*>(args.x);
  for (int row = 0; row < args.m; ++row) {
    float sum = 0;
#pragma unroll 4
    for (int i = threadIdx.x; i < words; i += C::kConsumers) {
      float v[8];
      unpack8<T>(__ldcg(x + static_cast<int64_t>(row) * words + i), v);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum += v[e] * v[e];
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (lane == 0) sums[warp * C::kN + row] = sum;
  }
  sm90::named_barrier(1, C::kConsumers);
  if (threadIdx.x < C::kN) {
    float sum = 0;
    for (int w = 0; w < C::kWarps; ++w) sum += sums[w * C::kN + threadIdx.x];
    scale[threadIdx.x] =
        threadIdx.x < args.m ? rsqrtf(sum / static_cast<float>(args.k) + args.norm_eps) : 0;
  }
  sm90::named_barrier(1, C::kConsumers);
}

// Normalises the stage's piece of x in place. It lies as the copy engine left it: rows of 128 bytes,
// the 16-byte words of row r permuted by XOR with r % 8. `gain` was loaded ahead by load_gain().
template <typename C>
inline constexpr int kNormWords = (C::kBoxes * C::kN * 8 + C::kConsumers - 1) / C::kConsumers;

template <typename C>
__device__ __forceinline__ void load_gain(const Args& args, int k,
                                          float4 (&gain)[kNormWords<C>][2]) {
#pragma unroll
  for (int i = 0; i < kNormWords<C>; ++i) {
    const int word = i * C::kConsumers + threadIdx.x;
    const int column = k + 64 * (word / (8 * C::kN)) + 8 * (word % 8);
    const auto* const from = reinterpret_cast<const float4*>(args.norm_weight + column);
    const bool inside = column < args.k;  // k is a multiple of 8
    gain[i][0] = inside ? __ldg(from) : float4{};
    gain[i][1] = inside ? __ldg(from + 1) : float4{};
  }
}
template <typename T, typename C>
__device__ __forceinline__ void normalise(unsigned char* x, const float* scale,
                                          const float4 (&gain)[kNormWords<C>][2]) {
#pragma unroll
  for (int i = 0; i < kNormWords<C>; ++i) {
    const int word = i * C::kConsumers + threadIdx.x;
    const int box = word / (8 * C::kN), row = word / 8 % C::kN, column = word % 8;
    auto* const at =
        reinterpret_cast<uint4*>(x + box * C::kXBox + row * 128 + 16 * (column ^ (row % 8)));
    if (box >= C::kBoxes) break;
    float v[8];
    unpack8<T>(*at, v);
    const float s = scale[row];
    const float* const g = reinterpret_cast<const float*>(gain[i]);
#pragma unroll
    for (int e = 0; e < 8; ++e) v[e] = v[e] * s * g[e];
    *at = pack8<T>(v);
  }
  sm90::fence_shared_for_async();
  sm90::named_barrier(1, C::kConsumers);
}

template <typename T, typename C>
__global__ void __launch_bounds__(C::kThreads, C::kPerSm)
    skinny_kernel(const __grid_constant__ CUtensorMap weight_map,
                  const __grid_constant__ CUtensorMap x_map, const Args args) {
  extern __shared__ __align__(1024) unsigned char shared[];
  auto* const full = reinterpret_cast<uint64_t*>(shared + C::kStages * C::kStageBytes);
  uint64_t* const empty = full + C::kStages;

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const uint32_t rank = C::kCluster == 1 ? 0 : sm90::cluster_rank();
  const int group = static_cast<int>(blockIdx.x) / C::kCluster;
  const Cut cut{args.quotient, args.remainder};
  const int begin = cut.begin(group), end = cut.begin(group + 1);
  const auto first_row = [&](int tile) {
    return (tile * C::kCluster + static_cast<int>(rank)) * C::kRows;
  };

  if (threadIdx.x == C::kConsumers) {
    sm90::prefetch_map(&weight_map);
    sm90::prefetch_map(&x_map);
    for (int s = 0; s < C::kStages; ++s) {
      sm90::init_barrier(full + s, 1);
      sm90::init_barrier(empty + s, C::kCluster * C::kWarps);
    }
    sm90::fence_barrier_init();
  }
  __syncthreads();
  if constexpr (C::kCluster > 1) sm90::cluster_arrive();

  if (warp == C::kWarps) {
    // The producer.
    const auto load_weight = [&](int stage, int unit) {
      const int tile = unit / args.stages_per_tile;
      const int k = (unit - tile * args.stages_per_tile) * C::kStageK;
      sm90::arrive_expecting(full + stage, C::kStageBytes);
      unsigned char* const to = shared + stage * C::kStageBytes;
#pragma unroll
      for (int box = 0; box < C::kBoxes; ++box) {
        sm90::load_box(to + box * C::kWeightBox, &weight_map, k + 64 * box, first_row(tile),
                       full + stage, sm90::kEvictFirst);
      }
    };
    const auto load_x = [&](int stage, int unit) {
      const int k = unit % args.stages_per_tile * C::kStageK;
      unsigned char* const to = shared + stage * C::kStageBytes + C::kBoxes * C::kWeightBox;
#pragma unroll
      for (int box = 0; box < C::kBoxes; ++box) {
        if constexpr (C::kCluster == 1) {
          sm90::load_box(to + box * C::kXBox, &x_map, k + 64 * box, 0, full + stage);
        } else {
          constexpr int kShare = C::kN / C::kCluster;
          sm90::load_box_multicast(to + box * C::kXBox + rank * kShare * 128, &x_map, k + 64 * box,
                                   static_cast<int>(rank) * kShare, full + stage,
                                   (1 << C::kCluster) - 1);
        }
      }
    };
    const int ahead = min(C::kStages, end - begin);
    const int trigger = max(end - C::kTrigger, begin + ahead);
    if (lane == 0) {
      TRACE(0);
      for (int i = 0; i < ahead; ++i) load_weight(i, begin + i);
      for (int unit = begin + ahead; unit < min(begin + ahead + C::kPrefetch, end); ++unit) {
        const int tile = unit / args.stages_per_tile;
        const int k = (unit - tile * args.stages_per_tile) * C::kStageK;
#pragma unroll
        for (int box = 0; box < C::kBoxes; ++box) {
          sm90::prefetch_box_to_l2(&weight_map, k + 64 * box, first_row(tile));
        }
      }
      if (trigger == begin + ahead) sm90::let_next_start();
    }
    __syncwarp();
    if constexpr (C::kCluster > 1) sm90::cluster_wait();  // the other CTA's barriers exist
    if (lane == 0) {
      sm90::wait_for_previous();
      for (int i = 0; i < ahead; ++i) load_x(i, begin + i);
      Ring<C::kStages> ring;
      for (int unit = begin + ahead; unit < end; ++unit, ring.next()) {
        sm90::wait(empty + ring.stage, ring.parity);
        load_weight(ring.stage, unit);
        load_x(ring.stage, unit);
        if (unit + 1 == trigger) sm90::let_next_start();
      }
      TRACE(1);
    }
    __syncwarp();
  } else {
    // A consumer.
    if constexpr (C::kCluster > 1) sm90::cluster_wait();
    sm90::wait_for_previous();
    if (threadIdx.x == 0) TRACE(2);
    auto* const norm_scale = reinterpret_cast<float*>(empty + C::kStages);  // [kN]
    if constexpr (C::kNorm) inverse_rms<T, C>(args, norm_scale + C::kN, norm_scale);

    const int block_row = (threadIdx.x / 128) * 64 * C::kBlocks + warp % 4 * 16 + lane / 4;
    const auto release = [&](int stage) {
      if constexpr (C::kCluster == 1) {
        if (lane == 0) sm90::arrive(empty + stage);
      } else {
        if (lane < C::kCluster) sm90::arrive_at(empty + stage, lane);
      }
    };
    Ring<C::kStages> ring;
    float d[C::kBlocks][C::kN / 2];
    for (int unit = begin; unit < end;) {
      const int tile = unit / args.stages_per_tile;
      const int tile_begin = tile * args.stages_per_tile;
      const int stop = min(end, tile_begin + args.stages_per_tile);
      int previous = -1;
      for (bool fresh = true; unit < stop; ++unit) {
        unsigned char* const weight = shared + ring.stage * C::kStageBytes;
        unsigned char* const x = weight + C::kBoxes * C::kWeightBox;
        if constexpr (C::kNorm) {
          float4 gain[kNormWords<C>][2];
          load_gain<C>(args, (unit - tile_begin) * C::kStageK, gain);
          sm90::wait(full + ring.stage, ring.parity);
          normalise<T, C>(x, norm_scale, gain);
        } else {
          sm90::wait(full + ring.stage, ring.parity);
        }
        const uint64_t a = sm90::swizzled_tile(weight + threadIdx.x / 128 * C::kBlocks * 8192);
        const uint64_t b = sm90::swizzled_tile(x);
        sm90::fence_products();
#pragma unroll
        for (int step = 0; step < C::kStageK / 16; ++step) {
          // In 16-byte units: 32 bytes a step inside a box, then the next box.
          const int a_at = step / 4 * (C::kWeightBox / 16) + step % 4 * 2;
          const int b_at = step / 4 * (C::kXBox / 16) + step % 4 * 2;
#pragma unroll
          for (int block = 0; block < C::kBlocks; ++block) {
            sm90::Wgmma<C::kN, T>::shared_a(d[block], a + a_at + block * 512, b + b_at,
                                            !(fresh && step == 0));
          }
        }
        sm90::commit_products();
        fresh = false;
        sm90::wait_products<1>();  // the stage before this one has been read
        if (previous >= 0) release(previous);
        previous = ring.stage;
        ring.next();
      }
      sm90::wait_products<0>();
      release(previous);
#pragma unroll
      for (int block = 0; block < C::kBlocks; ++block) sm90::pin_registers(d[block]);

      if (threadIdx.x == 0) TRACE(3);

      const int row = first_row(tile) + block_row;
      const int first = cut.owner(tile_begin);
      const int last = cut.owner(tile_begin + args.stages_per_tile - 1);
      // A run has at most two shared tiles: one it begins inside (slot 0), one it ends inside.
      const auto partial = [&](int of_group, int i) {
        const int cta = of_group * C::kCluster + static_cast<int>(rank);
        return args.partials + (2 * static_cast<int64_t>(cta) + (of_group == first)) * C::kPartial +
               i * C::kConsumers + threadIdx.x;
      };
      unsigned* const arrivals =
          args.arrivals + (first * C::kCluster + static_cast<int>(rank)) * 8 + warp;

      bool complete = first == last;
      if (args.long_runs && group == first && last == first + 1) {
        // The other group began its run with its part, so it is probably there already.
        const unsigned arrived = lane == 0 ? load_acquire(arrivals) : 0;
        if (__shfl_sync(~0u, arrived, 0) == 1) {
          if (lane == 0) *arrivals = 0;
          complete = true;
#pragma unroll
          for (int i = 0; i < C::kGroups; ++i) {
            if (i % (C::kN / 8) * 8 >= args.m) continue;
            float* const v = d[i / (C::kN / 8)] + i % (C::kN / 8) * 4;
            const float4 p = __ldcg(partial(last, i));
            v[0] = 0.f + v[0] + p.x;  // 0 + -0 is 0, as in the sums below
            v[1] = 0.f + v[1] + p.y;
            v[2] = 0.f + v[2] + p.z;
            v[3] = 0.f + v[3] + p.w;
          }
        }
      }
      if (complete) {
#pragma unroll
        for (int i = 0; i < C::kGroups; ++i) {
          const int x_row = i % (C::kN / 8) * 8;
          if (x_row >= args.m) continue;
          const float* const v = d[i / (C::kN / 8)] + x_row / 2;
          float sums[4] = {v[0], v[1], v[2], v[3]};
          finish<T>(args, sums, row + i / (C::kN / 8) * 64, x_row);
        }
        continue;
      }

#pragma unroll
      for (int i = 0; i < C::kGroups; ++i) {
        if (i % (C::kN / 8) * 8 >= args.m) continue;
        const float* const v = d[i / (C::kN / 8)] + i % (C::kN / 8) * 4;
        __stcg(partial(group, i), float4{v[0], v[1], v[2], v[3]});
      }
      __syncwarp();
      unsigned arrived = lane == 0 ? add_acq_rel(arrivals, 1) : 0;
      arrived = __shfl_sync(~0u, arrived, 0);
      if (arrived != static_cast<unsigned>(last - first)) continue;
      if (lane == 0) *arrivals = 0;
      // Many loads at once: a few fragments, each from four CTAs.
      constexpr int kAtOnce = std::min(C::kN / 8, C::kPerSm == 1 ? 8 : 4);
#pragma unroll 1
      for (int at = 0; at < C::kGroups; at += kAtOnce) {
        const int x_row = at % (C::kN / 8) * 8;
        if (x_row >= args.m) continue;
        float sums[kAtOnce][4] = {};
#pragma unroll 1
        for (int from = first; from <= last; from += 4) {
          float4 loaded[4][kAtOnce];
#pragma unroll
          for (int f = 0; f < 4; ++f) {
#pragma unroll
            for (int i = 0; i < kAtOnce; ++i) {
              loaded[f][i] = from + f <= last ? __ldcg(partial(from + f, at + i)) : float4{};
            }
          }
#pragma unroll
          for (int f = 0; f < 4; ++f) {
#pragma unroll
            for (int i = 0; i < kAtOnce; ++i) {
              sums[i][0] += loaded[f][i].x;
              sums[i][1] += loaded[f][i].y;
              sums[i][2] += loaded[f][i].z;
              sums[i][3] += loaded[f][i].w;
            }
          }
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          if (x_row + 8 * i >= args.m) continue;
          finish<T>(args, sums[i], row + at / (C::kN / 8) * 64, x_row + 8 * i);
        }
      }
    }
    if (threadIdx.x == 0) TRACE(4);
  }
  if constexpr (C::kCluster > 1) {
    // The other CTA may still write to this one's memory and barriers.
    __syncwarp();
    sm90::cluster_arrive();
    sm90::cluster_wait();
  }
}

// Multiprocessors of the current device (one device a process).
inline int multiprocessors() {
  static const int count = [] {
    int device = 0, value = 0;
    const cudaError_t error =
        cudaGetDevice(&device) == cudaSuccess
            ? cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device)
            : cudaErrorNoDevice;
    if (error != cudaSuccess) note_error("skinny_linear", error);
    return value;
  }();
  return count;
}

// The workspace: arrivals, then partial sums.
inline constexpr size_t kArrivalBytes = 16384;  // 512 CTAs
inline constexpr size_t kMaxPartial = 128 * 256;

template <typename T, typename C>
void launch_skinny(const Launch& on, const LinearCall& call, void* workspace) {
  static_assert(C::kRows * C::kN <= kMaxPartial);
  static const bool allowed =
      allow_shared_bytes("skinny_linear", skinny_kernel<T, C>, C::kSharedBytes);
  if (!allowed) return;
  const int tiles = (call.n + C::kRows * C::kCluster - 1) / (C::kRows * C::kCluster);
  const int stages = (call.k + C::kStageK - 1) / C::kStageK;
  const int units = tiles * stages;
  const int groups = std::min(multiprocessors() / C::kCluster, units);
  auto* const bytes = static_cast<unsigned char*>(workspace);
  const int out_columns = call.activation == Activation::kSwiGlu ? call.n / 2 : call.n;
  Args args = {};
  args.m = call.m;
  args.n = call.n;
  args.k = call.k;
  args.stages_per_tile = stages;
  args.quotient = units / groups;
  args.remainder = units % groups;
  args.long_runs = args.quotient >= stages;
  args.activation = call.activation;
  args.out_is_float = call.out_is_float;
  args.pairs_aligned = out_columns % 2 == 0 && reinterpret_cast<uintptr_t>(call.out) % 4 == 0;
  args.bias = call.bias;
  args.residual = call.residual;
  args.out = call.out;
  args.arrivals = reinterpret_cast<unsigned*>(bytes);
  args.partials = reinterpret_cast<float4*>(bytes + kArrivalBytes);
  args.x = call.x;
  args.norm_weight = call.norm_weight;
  args.norm_eps = call.norm_eps;
  const CUtensorMap weight_map =
      make_tensor_map(call.weight, call.dtype, call.n, call.k, call.k, C::kRows);
  const CUtensorMap x_map =
      make_tensor_map(call.x, call.dtype, call.m, call.k, call.k, C::kN / C::kCluster);
#ifdef SKINNY_TRACE
  args.trace = next_trace;
  next_trace += 132 * 8;
#endif
  Grid grid;
  grid.blocks = dim3(static_cast<unsigned>(groups * C::kCluster));
  grid.threads = dim3(C::kThreads);
  grid.shared_bytes = C::kSharedBytes;
  grid.cluster = C::kCluster;
  launch("skinny_linear", on, grid, skinny_kernel<T, C>, weight_map, x_map, args);
}

}  // namespace octavo::cuda::skinny
