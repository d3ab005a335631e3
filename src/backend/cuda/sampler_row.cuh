// What the sampler's kernels share: one row of logits, worked on by the CTAs of a cluster.
//
//   Part          the tokens of this CTA; scan() visits them four at a time
//   Cluster       merge(): every thread's partial result into the whole row's, in every thread
//   select()      the k-th greatest key of the row, exactly
//
// All decisions are taken by all threads from the same bits: sums are made in a fixed order, or in
// one that cannot be seen (a + b on one side of a shuffle, b + a on the other). So no thread waits
// at a barrier that another one skips.
#pragma once

#include <cstdint>
#include <cstring>

#include "backend/cuda/numeric.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/warp.cuh"
#include "base/rounding.h"
#include "ops/philox.h"

namespace octavo::cuda {

// CTAs of a row; always this many where sums are rounded, so that a row's do not depend on the
// batch.
inline constexpr int kClusterSize = 8;
inline constexpr int kThreads = 512, kCtasPerSm = 1024 / kThreads;
inline constexpr int kWarps = kThreads / 32;
inline constexpr float kInfinity = __builtin_huge_valf();
inline constexpr float kLowest = -3.402823466e38f;

// --- Passes over the row.

struct Part {
  const float* row;
  int begin, end;  // tokens; begin is a multiple of 4
  bool in_fours;   // aligned to 16 bytes, and end is a multiple of 4
};

template <int kCtas = kClusterSize>
__device__ __forceinline__ Part part_of(const float* row, int vocab) {
  const int size = round_up(divide_up(vocab, kCtas), 4);
  const int begin = min(static_cast<int>(sm90::cluster_rank()) * size, vocab);
  const bool in_fours = reinterpret_cast<uintptr_t>(row) % 16 == 0 && vocab % 4 == 0;
  return {row, begin, min(begin + size, vocab), in_fours};
}

// Logits of kCount times four tokens, kStride apart; -inf past the end of the part.
inline constexpr int kStride = 4 * kThreads;
template <int kCount>
__device__ __forceinline__ void load_fours(const Part& part, int first, float4 (&x)[kCount]) {
  if (part.in_fours) {
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      const int i = first + u * kStride;
      x[u] = {-kInfinity, -kInfinity, -kInfinity, -kInfinity};
      if (i < part.end) x[u] = *reinterpret_cast<const float4*>(part.row + i);
    }
  } else {
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      const int i = first + u * kStride;
      x[u].x = i < part.end ? part.row[i] : -kInfinity;
      x[u].y = i + 1 < part.end ? part.row[i + 1] : -kInfinity;
      x[u].z = i + 2 < part.end ? part.row[i + 2] : -kInfinity;
      x[u].w = i + 3 < part.end ? part.row[i + 3] : -kInfinity;
    }
  }
}

// visit(i, x) for tokens [i, i + 4) with logits x, by whole warps. A thread sees ascending tokens,
// and has kInFlight loads under way.
template <int kInFlight, typename Visit>
__device__ __forceinline__ void scan(const Part& part, Visit&& visit) {
  for (int base = part.begin; base < part.end; base += kInFlight * kStride) {
    const int first = base + 4 * static_cast<int>(threadIdx.x);
    float4 x[kInFlight];
    load_fours(part, first, x);
#pragma unroll
    for (int u = 0; u < kInFlight; ++u) {
      if (base + u * kStride < part.end) visit(first + u * kStride, x[u]);
    }
  }
}

// For long visits: visit(i, x) has x[0] of tokens [i, i + 4) and x[1] of those kStride after them.
template <typename Visit>
__device__ __forceinline__ void scan_pairs(const Part& part, Visit&& visit) {
  int i = part.begin + 4 * static_cast<int>(threadIdx.x);
  float4 x[2];
  load_fours(part, i, x);
  for (int base = part.begin; base < part.end; base += 2 * kStride, i += 2 * kStride) {
    float4 next[2];
    load_fours(part, i + 2 * kStride, next);
    visit(i, x);
    x[0] = next[0];
    x[1] = next[1];
  }
}

// --- The order of floats as integers; -0 is +0.
__device__ __forceinline__ uint32_t key_of(float x) {
  const uint32_t bits = __float_as_uint(__fadd_rn(x, 0.0f));
  return bits ^ (bits >> 31 ? 0xFFFFFFFF : 0x80000000);
}
__device__ __forceinline__ float value_of(uint32_t key) {
  return __uint_as_float(key ^ (key >> 31 ? 0x80000000 : 0xFFFFFFFF));
}

// --- Partial results: T::merge() takes in another one, T::reduce() all of the warp's. Every lane
// ends up with the same bits.

inline constexpr unsigned kAllLanes = 0xFFFFFFFF;

__device__ __forceinline__ float warp_max(float x) {
  return value_of(__reduce_max_sync(kAllLanes, key_of(x)));
}
__device__ __forceinline__ float warp_min(float x) {
  return value_of(__reduce_min_sync(kAllLanes, key_of(x)));
}

// In shared memory: where the peers put their warps' partial results, and how one knows that all
// have come.
struct Exchange {
  static constexpr int kPartials = kClusterSize * kWarps, kBytes = 32;
  alignas(16) unsigned char partials[2][kPartials][kBytes];
  uint64_t arrived[2];
};

// The CTA's side of the exchanges. Not by barriers of the cluster: waiting at one empties the L1
// cache, from which the later passes over the row are read. The two buffers alternate: a warp
// writes to a peer's buffer again only after an exchange to which the peer's warps contributed when
// they had read what was there.
template <int kCtas = kClusterSize>
class Cluster {
 public:
  // By all threads.
  __device__ explicit Cluster(Exchange& shared) : shared_(shared) {
    if (threadIdx.x == 0) {
      sm90::init_barrier(&shared.arrived[0], 1);
      sm90::init_barrier(&shared.arrived[1], 1);
      sm90::fence_barrier_init();
    }
    __syncwarp();
    sm90::cluster_arrive_relaxed();
    sm90::cluster_wait();
  }

  // Returns once all warps of the cluster have called it.
  template <typename T>
  __device__ T merge(T mine) {
    constexpr int kPieces = (sizeof(T) + 7) / 8;
    static_assert(8 * kPieces <= Exchange::kBytes && alignof(T) <= 8);
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    auto* buffer = shared_.partials[exchanges_ % 2];
    uint64_t* arrived = &shared_.arrived[exchanges_ % 2];
    const uint32_t parity = exchanges_ / 2 % 2;
    ++exchanges_;
    mine.reduce();
    if (threadIdx.x == 0) sm90::arrive_expecting(arrived, kCtas * kWarps * kPieces * 8);
    if (lane < kCtas) {
      uint2 pieces[kPieces] = {};
      memcpy(pieces, &mine, sizeof(T));
      const uint32_t barrier = sm90::peer_address(arrived, lane);
      const uint32_t to = sm90::peer_address(buffer[sm90::cluster_rank() * kWarps + warp], lane);
#pragma unroll
      for (int i = 0; i < kPieces; ++i) sm90::store_to_peer(to + 8 * i, pieces[i], barrier);
    }
    sm90::wait(arrived, parity);
    __syncwarp();
    T all = *reinterpret_cast<const T*>(buffer[lane]);
    static_assert(kCtas * kWarps >= 32);
#pragma unroll
    for (int i = 32; i < kCtas * kWarps; i += 32) {
      all.merge(*reinterpret_cast<const T*>(buffer[lane + i]));
    }
    all.reduce();
    return all;
  }
  // All that the CTAs wrote to each other's shared memory is visible.
  __device__ void sync() {
    __syncwarp();
    sm90::cluster_arrive();
    sm90::cluster_wait();
  }

 private:
  Exchange& shared_;
  uint32_t exchanges_ = 0;
};

inline constexpr float kLog2e = 1.44269504f;
__device__ __forceinline__ float exp_of(float x) {
  return exp2_fast(__fmul_rn(x, kLog2e));
}

// Sum of exp(x - max).
struct SumOfExp {
  float max = kLowest, sum = 0;

  __device__ void add(const float4& x) {
    const float most = fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w));
    if (most > max) {
      sum *= exp_of(max - most);
      max = most;
    }
    sum += (exp_of(x.x - max) + exp_of(x.y - max)) + (exp_of(x.z - max) + exp_of(x.w - max));
  }
  __device__ void merge(const SumOfExp& other) {
    const float most = fmaxf(max, other.max);
    sum = sum * exp_of(max - most) + other.sum * exp_of(other.max - most);
    max = most;
  }
  __device__ void reduce() {
    const float most = warp_max(max);
    sum = warp_sum(__fmul_rn(sum, exp_of(max - most)));  // rounded before it is added
    max = most;
  }
};

// --- Selection by counting: the range of keys is cut into up to 2048 bins of equal width, the bin
// that holds the wanted key is the next range, until one key is left.

struct Histogram {
  static constexpr int kBins = 2048, kGroup = 32, kGroups = kBins / kGroup;
  alignas(16) uint32_t bins[kBins];
  uint32_t groups[kGroups];  // sums of kGroup bins
  uint32_t chosen, above, count;
};

struct Selected {
  bool found = false;  // false: there are fewer than `wanted` keys
  uint32_t key = 0;
  int among = 0;  // which of the equal ones it is, from 1
  int equal = 0;  // how many equal it
};

__device__ __forceinline__ void sum_groups(Histogram& histogram) {
  constexpr int kOwn = Histogram::kBins / kThreads, kShare = Histogram::kGroup / kOwn;  // threads
  static_assert(kOwn % 4 == 0 && kShare <= 32);
  uint32_t sum = 0;
#pragma unroll
  for (int i = 0; i < kOwn; i += 4) {
    const uint4 four = *reinterpret_cast<const uint4*>(&histogram.bins[threadIdx.x * kOwn + i]);
    sum += four.x + four.y + four.z + four.w;
  }
#pragma unroll
  for (int mask = 1; mask < kShare; mask *= 2) sum += __shfl_xor_sync(kAllLanes, sum, mask);
  if (threadIdx.x % kShare == 0) histogram.groups[threadIdx.x / kShare] = sum;
}

// Lane 0 has the highest entries. Finds the lane in whose entry the wanted-th is counted from
// there; all lanes return the same.
struct Found {
  int lane;  // -1: the sum of all is less
  uint32_t above;
};
__device__ __forceinline__ Found find_in_warp(uint32_t entry, uint32_t wanted) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  uint32_t running = entry;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const uint32_t higher = __shfl_up_sync(kAllLanes, running, step);
    if (lane >= step) running += higher;
  }
  const unsigned reached = __ballot_sync(kAllLanes, running >= wanted);
  const int first = __ffs(static_cast<int>(reached)) - 1;
  const uint32_t above = __shfl_sync(kAllLanes, running - entry, max(first, 0));
  return {first, above};
}

// Warp 0 of each CTA, once all bins of the cluster are counted: the bin of the wanted-th key.
__device__ __forceinline__ void choose_bin(Histogram& histogram, uint32_t wanted) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  // Two groups a lane, highest first.
  const int pair = Histogram::kGroups - 2 - 2 * lane;
  uint32_t low = 0, high = 0;
#pragma unroll
  for (uint32_t rank = 0; rank < kClusterSize; ++rank) {
    const uint32_t* groups = sm90::peer(histogram.groups, rank);
    low += groups[pair];
    high += groups[pair + 1];
  }
  const Found where = find_in_warp(low + high, wanted);
  if (where.lane < 0) {
    if (lane == 0) histogram.count = 0;
    return;
  }
  const uint32_t from_high = __shfl_sync(kAllLanes, high, where.lane);
  uint32_t above = where.above;
  int group = Histogram::kGroups - 1 - 2 * where.lane;
  if (above + from_high < wanted) {
    above += from_high;
    --group;
  }
  const int bin = group * Histogram::kGroup + 31 - lane;
  uint32_t entry = 0;
#pragma unroll
  for (uint32_t rank = 0; rank < kClusterSize; ++rank) {
    entry += sm90::peer(histogram.bins, rank)[bin];
  }
  const Found in_group = find_in_warp(entry, wanted - above);
  if (lane == in_group.lane) {
    histogram.chosen = static_cast<uint32_t>(bin);
    histogram.above = above + in_group.above;
    histogram.count = entry;
  }
}

// The wanted-th greatest of the keys in [low, high], counted from 1. key(i, x) is the key of token
// i, whose logit is x; keys outside of the range do not count.
template <typename Key>
__device__ Selected select(const Part& part, Cluster<>& cluster, Histogram& histogram, int wanted,
                           uint32_t low, uint32_t high, Key&& key) {
  Selected result;
  auto left = static_cast<uint32_t>(wanted);
  do {
    const int shift = max(0, 32 - __clz(static_cast<int>(high - low)) - 11);
    for (int i = static_cast<int>(threadIdx.x); i < Histogram::kBins; i += kThreads) {
      histogram.bins[i] = 0;
    }
    __syncthreads();
    scan<4>(part, [&](int i, const float4& x) {
      const float values[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint32_t k = key(i + j, values[j]);
        if (k >= low && k <= high) atomicAdd(&histogram.bins[(k - low) >> shift], 1u);
      }
    });
    __syncthreads();
    sum_groups(histogram);
    cluster.sync();
    if (threadIdx.x < 32) choose_bin(histogram, left);
    cluster.sync();  // nobody reads the bins any more
    if (histogram.count == 0) return result;
    left -= histogram.above;
    low += histogram.chosen << shift;
    high = min(high, low + ((1u << shift) - 1));
    result = {true, low, static_cast<int>(left), static_cast<int>(histogram.count)};
  } while (low < high);
  return result;
}

// --- Noise (ops/philox.h), with the roundings of the host.

// The words of tokens 4 counter to 4 counter + 3: philox4x32_10() with its products in the one
// instruction they are.
__device__ __forceinline__ void multiply_wide(uint32_t a, uint32_t b, uint32_t& low,
                                              uint32_t& high) {
  asm("{ .reg .b64 product; mul.wide.u32 product, %2, %3; mov.b64 {%0, %1}, product; }"
      : "=r"(low), "=r"(high)
      : "r"(a), "r"(b));
}
__device__ __forceinline__ uint4 words_of_four(uint64_t seed, uint32_t position, uint32_t counter) {
  uint4 c = {counter, position, 0, 0};
  PhiloxKey key = philox_key(seed);
#pragma unroll
  for (int round = 0; round < kPhiloxRounds; ++round) {
    uint32_t low0, high0, low1, high1;
    multiply_wide(c.x, kPhiloxMultiplier0, low0, high0);
    multiply_wide(c.z, kPhiloxMultiplier1, low1, high1);
    c = {high1 ^ c.y ^ key.low, low1, high0 ^ c.w ^ key.high, low0};
    key.low += kPhiloxWeyl0;
    key.high += kPhiloxWeyl1;
  }
  return c;
}

struct Fused {
  __host__ __device__ float operator()(float a, float b, float c) const { return fmaf(a, b, c); }
};
__device__ __forceinline__ float noise_of(uint32_t word) {
  return gumbel_noise(word, Fused());
}

// Two ways to see cheaply that a token does not matter. With u = (word + 0.5) 2^-32 and v = 1 - u:
// noise = -log(-log u) <= -log v, since -log(1 - v) >= v.

// At least noise_of(word), and above it by less than 0.07 where it is large. Of v = h 2^-31, h =
// floor(~word / 2) rounded to a float, the bits read as an integer are a chord below its logarithm;
// their upper 24, as the mantissa of a float from 2^23 up, need no conversion. 0.001 covers the
// roundings.
__device__ __forceinline__ float noise_bound(uint32_t word) {
  const float h = __int2float_rn(static_cast<int>(~word >> 1));
  const float chord = __uint_as_float(__byte_perm(__float_as_uint(h), 0x4B, 0x4321));
  constexpr float kLn2 = 0.693147182f;
  return __fmaf_rn(chord, -kLn2 * 0x1p-15f, kLn2 * (158 + 256) + 0.001f);
}

// A noise >= g takes v <= exp(-g): a word at least this. 1e-4 covers the roundings.
__device__ __forceinline__ uint32_t noise_from(float g) {
  const float limit = exp2_fast(fmaf(g, -kLog2e, 32.0001f));
  return ~__float2uint_rz(limit + 1.0f);  // saturates
}

}  // namespace octavo::cuda
