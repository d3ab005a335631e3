// The kernel of cluster_linear.h. Included by cluster_bf16.cu and cluster_f16.cu only: two files,
// for the sake of compile time.
//
// A tile is out[up to 128 rows, kColumns columns]. The CTAs of a cluster work on one tile, each on
// its part of k ("splits"), then add their sums. Clusters of one CTA stay and walk over the tiles;
// larger ones have one tile each.
//
// A CTA has two consumer warpgroups, 64 rows of x each, and a producer thread that keeps a ring of
// stages full; the warps beside it prepare what a carried norm wants (cluster_norm.cuh). x is the
// 64-row operand of wgmma and the weights are its columns, so a tile's width is free in steps of
// eight columns and can be chosen such that the tiles just fill the device: a cluster lives in one
// GPC, so how many there are places for is no power of two.
//
// The finish goes through shared memory. A thread writes each of its fragments (8 columns of a
// tile: a "group", four sums) to the CTA that finishes that group, and the same thread there reads
// those of all splits, in the order of k. They lie over the rings, which are free once every warp
// has read its last stage (drained); what has come is counted by a barrier (received). From there
// on it is a loop: straight code for all fragments of a thread would be 50 KB, which nothing has
// read before at the end of a kernel of 15 us. Only SwiGLU without splits, whose CTAs go on to
// another tile, is finished straight from registers.
#pragma once

#include <cstdint>

#include "backend/cuda/activation.cuh"
#include "backend/cuda/cluster_linear.h"
#include "backend/cuda/cluster_norm.cuh"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/ring.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/tensor_map.h"
#include "backend/cuda/wgmma.cuh"

namespace octavo::cuda::cluster {

constexpr int kRows = 128;         // of x
constexpr int kDepth = 64;         // of k in a stage: 128 bytes, one line of the swizzle
constexpr int kLineBytes = 128;    // of a stage
constexpr int kConsumerRows = 64;  // of a warpgroup
constexpr int kConsumers = 256;    // threads
constexpr int kWarps = kConsumers / 32;
constexpr int kThreads = kConsumers + 128;  // the producer's: a warpgroup, to move registers
constexpr int kHelpers = 96;                // the others of that warpgroup, for a carried norm
constexpr int kConsumersMeet = 1, kScalesReady = 2;  // named barriers
constexpr int kBatch = 4;                            // groups that a thread finishes together
constexpr int kGroupBytes = kConsumers * sizeof(float4);
constexpr int kMostStages = 8;
constexpr int kBufferBytes = 212 << 10;  // the ring, at most

struct Problem {
  int m, n;
  int steps;   // of kDepth through k
  int splits;  // and CTAs of a cluster
  int share;   // groups of a tile that a CTA finishes
  int tiles;
  int x_rows;  // that are loaded: m rounded up to 8, as lines beyond would take time and fill zeros
  Activation activation;
  const float* bias;     // [n] or null
  const void* residual;  // [m, n] or null
  void* out;             // [m, n], or [m, n / 2] with kSwiGlu
  bool out_is_float;
  Norm norm;
};

template <int kColumns>
struct Tile {
  static constexpr int kGroups = kColumns / 8;
  static constexpr int kWeightBytes = kColumns * kLineBytes;
  static constexpr int kStageBytes = kWeightBytes + kRows * kLineBytes;
  static constexpr int kStages =
      kBufferBytes / kStageBytes < kMostStages ? kBufferBytes / kStageBytes : kMostStages;
};

struct Shared {
  uint8_t buffer[kBufferBytes];  // the ring: stages of weight, then x; over it, in the end, sums
  float gain[kMostColumns];      // of the next norm, for the columns of the tile
  float scale[kRows];            // of the norm that x carries
  uint64_t full[kMostStages], empty[kMostStages];
  uint64_t drained, received;
};

// What a CTA does.
struct Work {
  int split;
  int first_step, steps;  // its part of k
  int first_tile, stride;
  __device__ explicit Work(const Problem& p)
      : split(p.splits == 1 ? 0 : static_cast<int>(sm90::cluster_rank())),
        first_step(p.steps * split / p.splits),
        steps(p.steps * (split + 1) / p.splits - first_step),
        first_tile(static_cast<int>(blockIdx.x) / p.splits),
        stride(static_cast<int>(gridDim.x) / p.splits) {}
};

template <int kColumns>
struct Producer {
  using T = Tile<kColumns>;

  const Problem& p;
  const CUtensorMap *x_map, *weight_map;
  Shared& s;
  const Work& work;

  __device__ __forceinline__ void load_weight(int stage, int tile, int step) const {
    sm90::arrive_expecting(&s.full[stage],
                           static_cast<uint32_t>(T::kWeightBytes + p.x_rows * kLineBytes));
    sm90::load_box(s.buffer + stage * T::kStageBytes, weight_map, (work.first_step + step) * kDepth,
                   tile * kColumns, &s.full[stage], sm90::kEvictFirst);
  }
  __device__ __forceinline__ void load_x(int stage, int step) const {
    sm90::load_box(s.buffer + stage * T::kStageBytes + T::kWeightBytes, x_map,
                   (work.first_step + step) * kDepth, 0, &s.full[stage]);
  }
  // The first weights are on their way before the kernel before this one is complete, as they do
  // not depend on it.
  __device__ __forceinline__ void run() const {
    const int ahead = min(T::kStages, work.steps);
    for (int step = 0; step < ahead; ++step) load_weight(step, work.first_tile, step);
    sm90::wait_for_previous();
    RingPlace place;
    for (int tile = work.first_tile; tile < p.tiles; tile += work.stride) {
      for (int step = 0; step < work.steps; ++step, place.advance(T::kStages)) {
        if (tile != work.first_tile || step >= ahead) {
          sm90::wait(&s.empty[place.stage], place.parity ^ 1);
          load_weight(place.stage, tile, step);
        }
        load_x(place.stage, step);
      }
    }
  }
};

template <typename T>
__device__ bool is_scaled(const Problem& p) {
  return kMayCarry<T> && p.norm.squares != nullptr;
}

// The warps beside the producer's, where x carries a norm.
__device__ __forceinline__ void help(const Problem& p, Shared& s) {
  sm90::wait_for_previous();
  compute_scales(p.norm, p.m, static_cast<int>(threadIdx.x) - (kThreads - kHelpers), kHelpers,
                 s.scale);
  __syncwarp();
  sm90::named_arrive(kScalesReady, kConsumers + kHelpers);
}

// One consumer thread. Of each group it holds the sums d[4 group ...] of wgmma.cuh, in the rows
// row() and row() + 8 and in two neighbouring columns.
template <typename T, int kColumns>
struct Consumer {
  static constexpr int kGroups = Tile<kColumns>::kGroups;
  using Sums = float[kColumns / 2];
  using Residual = uint32_t[kBatch][2];

  const Problem& p;
  Shared& s;
  const Work& work;

  __device__ static int lane() { return threadIdx.x % 32; }
  __device__ static int row() { return threadIdx.x / 32 * 16 + lane() / 4; }
  // The groups that this CTA finishes.
  __device__ int begin() const { return work.split * p.share; }
  __device__ int count() const { return max(0, min(p.share, kGroups - begin())); }

  __device__ bool carries() const { return kMayCarry<T> && p.norm.next_gain != nullptr; }

  // The next norm's gain of column threadIdx.x of the tile. No kernel writes it, so this need not
  // wait for the previous one.
  __device__ __forceinline__ float load_gain() const {
    const int column = work.first_tile * kColumns + static_cast<int>(threadIdx.x);
    return threadIdx.x < kColumns && column < p.n ? __ldg(p.norm.next_gain + column) : 0;
  }

  // What the sums of this thread's two rows are multiplied by. Once a kernel.
  __device__ __forceinline__ float2 scales() const {
    if (!is_scaled<T>(p)) return {1, 1};
    sm90::named_barrier(kScalesReady, kConsumers + kHelpers);
    return {s.scale[row()], s.scale[row() + 8]};
  }

  // d = the sums of the next stages. A stage is released once the products of the next one are
  // under way, so that the tensor cores never wait for this warpgroup.
  __device__ __forceinline__ void multiply(RingPlace& place, Sums& d) const {
    constexpr int kStageUnits = Tile<kColumns>::kStageBytes / 16;
    const uint64_t weight_tile = sm90::swizzled_tile(s.buffer);
    const uint64_t x_tile = sm90::swizzled_tile(s.buffer + Tile<kColumns>::kWeightBytes +
                                                threadIdx.x / 128 * kConsumerRows * kLineBytes);
    int last = 0;
    for (int step = 0; step < work.steps; ++step) {
      sm90::wait(&s.full[place.stage], place.parity);
      sm90::fence_products();
#pragma unroll
      for (int i = 0; i < kDepth / 16; ++i) {  // 16 deep each: 32 bytes, 2 in the descriptor
        sm90::Wgmma<kColumns, T>::shared_a(d, x_tile + place.stage * kStageUnits + 2 * i,
                                           weight_tile + place.stage * kStageUnits + 2 * i,
                                           step + i != 0);
      }
      sm90::commit_products();
      if (step != 0) {
        sm90::wait_products<1>();
        if (lane() == 0) sm90::arrive(&s.empty[last]);
      }
      last = place.stage;
      place.advance(Tile<kColumns>::kStages);
    }
    sm90::wait_products<0>();
    sm90::pin_registers(d);
    if (lane() == 0) sm90::arrive(&s.empty[last]);
  }

  // This thread's sums, where it finds them again: [split][group of the share].
  __device__ __forceinline__ float4* sums() const {
    return reinterpret_cast<float4*>(s.buffer) + threadIdx.x;
  }

  // Where there are no others to add.
  __device__ __forceinline__ void keep(const Sums& d) const {
    sm90::named_barrier(kConsumersMeet, kConsumers);  // all have read their last stage
    float4* const to = sums();
#pragma unroll
    for (int i = 0; i < kGroups; ++i)
      to[i * kConsumers] = {d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]};
  }

  // Sends each group to the CTA that finishes it, which may be this one.
  __device__ __forceinline__ void send(const Sums& d) const {
    if (lane() < p.splits) sm90::arrive_at(&s.drained, static_cast<uint32_t>(lane()));
    sm90::wait(&s.drained, 0);
    const float4* const mine = sums() + work.split * p.share * kConsumers;
    int owner = 0, within = 0;
    uint32_t to = sm90::peer_address(mine, 0), barrier = sm90::peer_address(&s.received, 0);
#pragma unroll
    for (int i = 0; i < kGroups; ++i) {
      sm90::store_to_peer(to, float4{d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]}, barrier);
      to += kGroupBytes;
      if (++within == p.share && owner + 1 < p.splits) {
        within = 0;
        ++owner;
        to = sm90::peer_address(mine, owner);
        barrier = sm90::peer_address(&s.received, owner);
      }
    }
  }

  // Two pairs of neighbours in each of a batch's groups, of which there are `groups`.
  __device__ __forceinline__ void load_residual(Residual& residual, int column, int groups) const {
    const T* const from = static_cast<const T*>(p.residual) + int64_t{row()} * p.n + column;
#pragma unroll
    for (int i = 0; i < 2 * kBatch; ++i) {
      const int group = i / 2, half = i % 2;
      const bool inside = group < groups && column + group * 8 < p.n && row() + half * 8 < p.m;
      residual[group][half] = inside ? __ldcg(reinterpret_cast<const uint32_t*>(
                                           from + int64_t{half} * 8 * p.n + group * 8))
                                     : 0;
    }
  }

  // The sums over all of k of a batch from group `first` of the share, scaled.
  __device__ __forceinline__ void add_up(int first, const float2& scale,
                                         float4 (&v)[kBatch]) const {
    const float4* from = sums() + first * kConsumers;
#pragma unroll
    for (int i = 0; i < kBatch; ++i) v[i] = from[i * kConsumers];
#pragma unroll 1
    for (int split = 1; split < p.splits; ++split) {
      from += p.share * kConsumers;
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const float4 more = from[i * kConsumers];
        v[i].x += more.x;
        v[i].y += more.y;
        v[i].z += more.z;
        v[i].w += more.w;
      }
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      v[i] = {v[i].x * scale.x, v[i].y * scale.x, v[i].z * scale.y, v[i].w * scale.y};
    }
  }

  __device__ __forceinline__ void add_bias(float4 (&v)[kBatch], int column) const {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int c = column + i * 8;
      const float2 bias =
          c < p.n ? __ldg(reinterpret_cast<const float2*>(p.bias + c)) : float2{0, 0};
      v[i].x += bias.x;
      v[i].y += bias.y;
      v[i].z += bias.x;
      v[i].w += bias.y;
    }
  }

  // Stores a result of this thread's two rows: two neighbours of each.
  __device__ __forceinline__ void store(const float4& v, int column, int columns) const {
    if (column >= columns) return;
    const int64_t at = int64_t{row()} * columns + column, below = at + int64_t{8} * columns;
    const bool has_upper = row() < p.m, has_lower = row() + 8 < p.m;
    if (p.out_is_float) {
      auto* const out = static_cast<float*>(p.out);
      if (has_upper) *reinterpret_cast<float2*>(out + at) = {v.x, v.y};
      if (has_lower) *reinterpret_cast<float2*>(out + below) = {v.z, v.w};
    } else {
      auto* const out = static_cast<T*>(p.out);
      if (has_upper) *reinterpret_cast<uint32_t*>(out + at) = pack2<T>(v.x, v.y);
      if (has_lower) *reinterpret_cast<uint32_t*>(out + below) = pack2<T>(v.z, v.w);
    }
  }

  // Two neighbours of out, the first at `at`, and of weighted. The sum of their squares.
  __device__ __forceinline__ float store_carrying(float2 v, float2 gain, int64_t at) const {
    const uint32_t rounded = pack2<T>(v.x, v.y);
    const float2 y = unpack2<T>(rounded);
    *reinterpret_cast<uint32_t*>(static_cast<T*>(p.out) + at) = rounded;
    *reinterpret_cast<uint32_t*>(static_cast<T*>(p.norm.weighted) + at) =
        pack2<T>(y.x * gain.x, y.y * gain.y);
    return y.x * y.x + y.y * y.y;
  }
  // As store(), for a product that carries a norm: adds to the squares of the two rows.
  __device__ __forceinline__ void store_carrying(const float4& v, int column,
                                                 float2& squares) const {
    if (column >= p.n) return;
    const float2 gain =
        *reinterpret_cast<const float2*>(s.gain + column - work.first_tile * kColumns);
    const int64_t at = int64_t{row()} * p.n + column;
    if (row() < p.m) squares.x += store_carrying({v.x, v.y}, gain, at);
    if (row() + 8 < p.m) squares.y += store_carrying({v.z, v.w}, gain, at + int64_t{8} * p.n);
  }

  // A batch whose first group begins at `column`, for this thread; `groups` of it are this CTA's.
  // Adds to the squares of a carried norm.
  __device__ __forceinline__ void finish_batch(float4 (&v)[kBatch], const Residual& residual,
                                               int column, int groups, float2& squares) const {
    if (p.bias != nullptr) add_bias(v, column);
    if (p.activation == Activation::kSwiGlu) {  // gate and up take turns, a group each
      const int pair = 2 * (lane() % 4), first = (column - pair) / 2 + pair;
#pragma unroll
      for (int i = 0; i < kBatch; i += 2) {
        if (i >= groups) break;
        const float4 &gate = v[i], &up = v[i + 1];
        store({silu(gate.x) * up.x, silu(gate.y) * up.y, silu(gate.z) * up.z, silu(gate.w) * up.w},
              first + i * 4, p.n / 2);
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (i >= groups) break;
      const float2 upper = unpack2<T>(residual[i][0]), lower = unpack2<T>(residual[i][1]);
      v[i] = {v[i].x + upper.x, v[i].y + upper.y, v[i].z + lower.x, v[i].w + lower.y};
      if (carries()) {
        store_carrying(v[i], column + i * 8, squares);
      } else {
        store(v[i], column + i * 8, p.n);
      }
    }
  }

  // This CTA's groups of a tile. The residual is on its way a batch ahead, the first one while the
  // other CTAs' sums come.
  __device__ __forceinline__ void finish(int tile, float gain) const {
    const int column = tile * kColumns + begin() * 8 + 2 * (lane() % 4), groups = count();
    Residual ahead = {}, residual;
    float2 scale = {}, squares = {};
    if (carries() && threadIdx.x < kColumns) s.gain[threadIdx.x] = gain;
#pragma unroll 1
    for (int first = -kBatch; first < groups; first += kBatch) {
#pragma unroll
      for (int i = 0; i < 2 * kBatch; ++i) residual[i / 2][i % 2] = ahead[i / 2][i % 2];
      const int next = first + kBatch;
      if (p.residual != nullptr) load_residual(ahead, column + next * 8, groups - next);
      if (first < 0) {
        scale = scales();
        if (carries()) sm90::named_barrier(kConsumersMeet, kConsumers);
        if (p.splits > 1) sm90::wait(&s.received, 0);
        continue;
      }
      float4 v[kBatch];
      add_up(first, scale, v);
      finish_batch(v, residual, column + first * 8, groups - first, squares);
    }
    if (carries()) {
      const int part = tile * p.splits + work.split;
      store_squares(p.norm, squares, part, part == p.tiles * p.splits - 1, row(), p.m);
    }
  }

  // A whole tile with SwiGLU, straight from registers.
  __device__ __forceinline__ void finish_gated(const Sums& d, int tile, const float2& scale) const {
    const int columns = p.n / 2, column = tile * (kColumns / 2) + 2 * (lane() % 4);
    auto* const upper = static_cast<T*>(p.out) + int64_t{row()} * columns + column;
    auto* const lower = upper + int64_t{8} * columns;
    const bool has_upper = row() < p.m, has_lower = row() + 8 < p.m;
#pragma unroll
    for (int i = 0; i < kGroups / 2; ++i) {
      if (column + 8 * i >= columns) break;
      float gated[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float factor = e < 2 ? scale.x : scale.y;
        gated[e] = silu(d[8 * i + e] * factor) * (d[8 * i + 4 + e] * factor);
      }
      const uint32_t above = pack2<T>(gated[0], gated[1]), below = pack2<T>(gated[2], gated[3]);
      if (has_upper) *reinterpret_cast<uint32_t*>(upper + 8 * i) = above;
      if (has_lower) *reinterpret_cast<uint32_t*>(lower + 8 * i) = below;
    }
  }

  __device__ __forceinline__ void run() const {
    const float gain = carries() ? load_gain() : 0;
    sm90::wait_for_previous();
    float2 gated_scale;
    RingPlace place;
    for (int tile = work.first_tile; tile < p.tiles; tile += work.stride) {
      Sums d;
      multiply(place, d);
      if (p.splits == 1 && p.activation == Activation::kSwiGlu) {
        if (tile == work.first_tile) gated_scale = scales();
        finish_gated(d, tile, gated_scale);
        continue;
      }
      if (p.splits > 1) {
        send(d);
      } else {
        keep(d);
      }
      finish(tile, gain);  // the only one
    }
  }
};

template <typename T, int kColumns>
__global__ __launch_bounds__(kThreads, 1) void cluster_linear_kernel(
    const __grid_constant__ CUtensorMap x_map,       // [m, k] in boxes of x_rows rows
    const __grid_constant__ CUtensorMap weight_map,  // [n, k] in boxes of kColumns rows
    const __grid_constant__ Problem p) {
  extern __shared__ uint8_t unaligned[];
  auto& s = *reinterpret_cast<Shared*>(
      unaligned + (-sm90::shared_address(unaligned) & 1023));  // the swizzle's pattern
  const Work work(p);
  const Consumer<T, kColumns> consumer{p, s, work};

  if (threadIdx.x == kConsumers) {
    sm90::prefetch_map(&weight_map);
    sm90::prefetch_map(&x_map);
    for (int i = 0; i < Tile<kColumns>::kStages; ++i) {
      sm90::init_barrier(&s.full[i], 1);
      sm90::init_barrier(&s.empty[i], kWarps);
    }
    if (p.splits > 1) {
      sm90::init_barrier(&s.drained, static_cast<uint32_t>(kWarps * p.splits));
      sm90::init_barrier(&s.received, 1);
    }
    sm90::fence_barrier_init();
    if (p.splits > 1) {
      sm90::arrive_expecting(&s.received,
                             static_cast<uint32_t>(p.splits * consumer.count() * kGroupBytes));
    }
  }
  __syncthreads();
  if (p.splits > 1) sm90::cluster_arrive();  // this CTA's barriers exist
  sm90::let_next_start();

  if (threadIdx.x >= kConsumers) {
    sm90::give_registers<56>();
    if (threadIdx.x == kConsumers) Producer<kColumns>{p, &x_map, &weight_map, s, work}.run();
    if (is_scaled<T>(p) && threadIdx.x >= kThreads - kHelpers) help(p, s);
    __syncwarp();
    if (p.splits > 1) sm90::cluster_wait();
  } else {
    sm90::take_registers<224>();
    if (p.splits > 1) sm90::cluster_wait();
    consumer.run();
  }
  if (p.splits > 1) {  // the other CTAs may still write to this one's memory and barriers
    __syncwarp();
    sm90::cluster_arrive();
    sm90::cluster_wait();
  }
}

}  // namespace octavo::cuda::cluster
