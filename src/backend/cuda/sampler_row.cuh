// What the sampler's kernels share: one row of logits, worked on by the 8 CTAs of a cluster.
//
//   Part          the tokens of this CTA; scan() visits them four at a time
//   Exchange      merge(): every thread's partial result into the whole row's, in every thread
//   select()      the k-th greatest key of the row, exactly
//
// All decisions are taken by all threads from the same bits: a merge adds in a fixed order, in
// operations that give both sides of a shuffle the same result. So no thread waits at a barrier
// that another one skips.
#pragma once

#include <cstdint>
#include <cstring>

#include "backend/cuda/sm90.cuh"
#include "ops/philox.h"

namespace octavo::cuda {

inline constexpr int kClusterSize = 8;
inline constexpr int kThreads = 512;
inline constexpr int kWarps = kThreads / 32;
inline constexpr float kInfinity = __builtin_huge_valf();
inline constexpr float kLowest = -3.402823466e38f;

// --- Passes over the row.

struct Part {
  const float* row;
  int begin, end;  // tokens; begin is a multiple of 4
  bool aligned;    // to 16 bytes
};

__device__ __forceinline__ Part part_of(const float* row, int vocab) {
  const int size = ((vocab + kClusterSize - 1) / kClusterSize + 3) / 4 * 4;
  const int begin = min(static_cast<int>(sm90::cluster_rank()) * size, vocab);
  return {row, begin, min(begin + size, vocab), reinterpret_cast<uintptr_t>(row) % 16 == 0};
}

// Logits of tokens [i, i + 4); -inf past the end of the part.
__device__ __forceinline__ float4 load_four(const Part& part, int i) {
  if (part.aligned && i + 4 <= part.end) return *reinterpret_cast<const float4*>(part.row + i);
  float4 x = {-kInfinity, -kInfinity, -kInfinity, -kInfinity};
  if (i < part.end) x.x = part.row[i];
  if (i + 1 < part.end) x.y = part.row[i + 1];
  if (i + 2 < part.end) x.z = part.row[i + 2];
  if (i + 3 < part.end) x.w = part.row[i + 3];
  return x;
}

// visit(i, x) for tokens [i, i + 4) with logits x, by whole warps. A thread sees ascending tokens,
// and has kInFlight loads under way.
template <int kInFlight, typename Visit>
__device__ __forceinline__ void scan(const Part& part, Visit&& visit) {
  constexpr int kStride = 4 * kThreads;
  for (int base = part.begin; base < part.end; base += kInFlight * kStride) {
    const int first = base + 4 * static_cast<int>(threadIdx.x);
    float4 x[kInFlight];
#pragma unroll
    for (int u = 0; u < kInFlight; ++u) x[u] = load_four(part, first + u * kStride);
#pragma unroll
    for (int u = 0; u < kInFlight; ++u) {
      if (base + u * kStride < part.end) visit(first + u * kStride, x[u]);
    }
  }
}

// --- Partial results. merge(a, b) and merge(b, a) have the same bits.

template <typename T>
__device__ __forceinline__ T shuffle_xor(const T& value, int mask) {
  constexpr int kWords = sizeof(T) / 4;
  static_assert(sizeof(T) % 4 == 0);
  uint32_t words[kWords];
  memcpy(words, &value, sizeof(T));
#pragma unroll
  for (uint32_t& word : words) word = __shfl_xor_sync(0xFFFFFFFF, word, mask);
  T other;
  memcpy(&other, words, sizeof(T));
  return other;
}

// The result is in every lane.
template <typename T>
__device__ __forceinline__ T merge_warp(T value) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) value.merge(shuffle_xor(value, mask));
  return value;
}

struct Exchange {
  static constexpr int kPartials = kClusterSize * kWarps, kBytes = 32;
  alignas(16) unsigned char partials[2][kPartials][kBytes];
};

// The CTA's side of an exchange. The two buffers alternate: a warp writes to a peer's buffer again
// only after a barrier that the peer reached when it had read what was there.
class Cluster {
 public:
  // The peers' shared memory may be written to only once they have all started.
  __device__ explicit Cluster(Exchange& shared) : shared_(shared) { sm90::cluster_arrive(); }

  template <typename T>
  __device__ T merge(T mine) {
    static_assert(sizeof(T) <= Exchange::kBytes && alignof(T) <= 8);
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    mine = merge_warp(mine);
    if (!started_) sm90::cluster_wait();
    started_ = true;
    auto* buffer = shared_.partials[phase_];
    phase_ ^= 1;
    if (lane < kClusterSize) {
      void* to = buffer[sm90::cluster_rank() * kWarps + warp];
      *static_cast<T*>(sm90::peer(to, lane)) = mine;
    }
    sync();
    T all = *reinterpret_cast<const T*>(buffer[lane]);
#pragma unroll
    for (int i = 32; i < Exchange::kPartials; i += 32) {
      all.merge(*reinterpret_cast<const T*>(buffer[lane + i]));
    }
    return merge_warp(all);
  }
  // REQUIRES: a merge() before.
  __device__ void sync() {
    __syncwarp();
    sm90::cluster_arrive();
    sm90::cluster_wait();
  }

 private:
  Exchange& shared_;
  int phase_ = 0;
  bool started_ = false;
};

__device__ __forceinline__ float exp_of(float x) {  // x <= 0; relative error 3e-7
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(__fmul_rn(x, 1.44269504f)));
  return power;
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
    sum = __fadd_rn(__fmul_rn(sum, exp_of(max - most)),
                    __fmul_rn(other.sum, exp_of(other.max - most)));
    max = most;
  }
};

// --- The order of floats as integers; -0 is +0.
__device__ __forceinline__ uint32_t key_of(float x) {
  const uint32_t bits = __float_as_uint(__fadd_rn(x, 0.0f));
  return bits ^ (bits >> 31 ? 0xFFFFFFFF : 0x80000000);
}
__device__ __forceinline__ float value_of(uint32_t key) {
  return __uint_as_float(key ^ (key >> 31 ? 0x80000000 : 0xFFFFFFFF));
}

// --- Selection by counting: the range of keys is cut into up to 2048 bins of equal width, the bin
// that holds the wanted key is the next range, until one key is left.

struct Histogram {
  static constexpr int kBins = 2048, kGroup = 32, kGroups = kBins / kGroup;
  uint32_t bins[kBins];
  uint32_t groups[kGroups];  // sums of kGroup bins
  uint32_t chosen, above, count;
};

struct Selected {
  bool found = false;  // false: there are fewer than `wanted` keys
  uint32_t key = 0;
  int among = 0;  // which of the equal ones it is, from 1
  int equal = 0;  // how many equal it
};

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
    const uint32_t higher = __shfl_up_sync(0xFFFFFFFF, running, step);
    if (lane >= step) running += higher;
  }
  const unsigned reached = __ballot_sync(0xFFFFFFFF, running >= wanted);
  const int first = __ffs(static_cast<int>(reached)) - 1;
  const uint32_t above = __shfl_sync(0xFFFFFFFF, running - entry, max(first, 0));
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
  const uint32_t from_high = __shfl_sync(0xFFFFFFFF, high, where.lane);
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
// i, whose logit is x; keys outside of the range do not count. REQUIRES: a merge() before.
template <typename Key>
__device__ Selected select(const Part& part, Cluster& cluster, Histogram& histogram, int wanted,
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
    static_assert(Histogram::kBins == 4 * kThreads && Histogram::kGroup == 32);
    const uint4 own = reinterpret_cast<const uint4*>(histogram.bins)[threadIdx.x];
    uint32_t sum = own.x + own.y + own.z + own.w;
#pragma unroll
    for (int mask = 1; mask < 8; mask *= 2) sum += __shfl_xor_sync(0xFFFFFFFF, sum, mask);
    if (threadIdx.x % 8 == 0) histogram.groups[threadIdx.x / 8] = sum;
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

struct Fused {
  __host__ __device__ float operator()(float a, float b, float c) const { return fmaf(a, b, c); }
};
__device__ __forceinline__ float noise_of(uint32_t word) {
  return gumbel_noise(word, Fused());
}

// At least noise_of(word), and above it by less than 0.07 where it is large. With u = (word + 0.5)
// 2^-32 and v = 1 - u: -log(-log u) <= -log v, since -log(1 - v) >= v. Of v = h 2^-31, h =
// floor(~word / 2) rounded to a float, the bits read as an integer are a chord below its logarithm;
// their upper 24, as the mantissa of a float from 2^23 up, need no conversion. 0.001 covers the
// roundings.
__device__ __forceinline__ float noise_bound(uint32_t word) {
  const float h = __int2float_rn(static_cast<int>(~word >> 1));
  const float chord = __uint_as_float(__byte_perm(__float_as_uint(h), 0x4B, 0x4321));
  constexpr float kLn2 = 0.693147182f;
  return __fmaf_rn(chord, -kLn2 * 0x1p-15f, kLn2 * (158 + 256) + 0.001f);
}

}  // namespace octavo::cuda
