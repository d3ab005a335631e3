// The last step of large_linear.cu, for one consumer warpgroup's half of a tile: bias and
// activation on the accumulators, then the residual and the store, turned through chunks in shared
// memory so that whole lines are written.
#pragma once

#include "backend/cuda/activation.cuh"
#include "backend/cuda/large_tile.cuh"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/sm90.cuh"

namespace octavo::cuda::large {

// Bias, then GELU, on a consumer's accumulators (wgmma.cuh says which thread holds what).
template <int kCount>
__device__ __forceinline__ void add_bias_and_gelu(const Problem& p, float (&d)[kCount],
                                                  int first_column) {
  if (p.bias != nullptr) {
    const int column = first_column + 2 * (threadIdx.x % 4);
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      const int c = column + 2 * i;
      const float left = c < p.n ? __ldg(p.bias + c) : 0;
      const float right = c + 1 < p.n ? __ldg(p.bias + c + 1) : 0;
      d[i] += left;
      d[i + 1] += right;
      d[i + 2] += left;
      d[i + 3] += right;
    }
  }
  if (p.activation == Activation::kGeluTanh) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) d[i] = gelu_tanh(d[i]);
  } else if (p.activation == Activation::kGelu) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) d[i] = gelu(d[i]);
  }
}

// Stores 4 bytes in shared memory, or nothing. In assembly, so that the compiler does not make a
// second copy of the finish without stores for the rehearsal.
__device__ __forceinline__ void store_if(bool live, uint8_t* to, uint32_t value) {
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %0, 0; @p st.shared.b32 [%1], %2; }" ::"r"(
                   static_cast<int>(live)),
               "r"(sm90::shared_address(to)), "r"(value)
               : "memory");
}

// Puts columns [64 c, 64 c + 64) of the consumer's result into a buffer: 16-byte unit u of line r
// is at u ^ r % 8, as in a tensor map, which also keeps a warp's 32 words in 32 banks. With
// `residual`, the buffer holds it, each thread's words where it will write.
template <typename T, bool kGated, int kCount>
__device__ __forceinline__ void put_chunk(bool live, uint8_t* chunk, const float (&d)[kCount],
                                          int c, bool residual) {
  const int lane = threadIdx.x % 32;
  const int row = threadIdx.x % 128 / 32 * 16 + lane / 4;
  uint8_t* line = chunk + row * kLineBytes + lane % 4 * 4;
#pragma unroll
  for (int unit = 0; unit < 8; ++unit) {
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (kGated) {
        const int gate = (c * 8 + unit) * 8 + i;
        v[i] = times_sigmoid(d[gate], d[gate]) * d[gate + 4];
      } else {
        v[i] = d[(c * 8 + unit) * 4 + i];
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint8_t* word = line + half * 8 * kLineBytes + (unit ^ row % 8) * 16;
      float2 sum = {v[2 * half], v[2 * half + 1]};
      if (residual) {
        const float2 old = unpack2<T>(*reinterpret_cast<const uint32_t*>(word));
        sum.x += old.x;
        sum.y += old.y;
      }
      store_if(live, word, pack2<T>(sum.x, sum.y));
    }
  }
}

// A warp's 16 lines of a buffer to out, whole lines at a time.
__device__ __forceinline__ void store_chunk(const Problem& p, bool live, const uint8_t* chunk,
                                            int first_row, int first_column) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x % 128 / 32;
  const int column = first_column + lane % 8 * 8;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int line = warp * 16 + i * 4 + lane / 8, row = first_row + line;
    const auto* unit =
        reinterpret_cast<const uint4*>(chunk + line * kLineBytes + (lane % 8 ^ line % 8) * 16);
    auto* to = static_cast<uint16_t*>(p.out) + int64_t{row} * p.out_columns + column;
    if (live && row < p.m && column < p.out_columns) *reinterpret_cast<uint4*>(to) = *unit;
  }
}

// The results of one tile. `count` counts the chunks of all tiles. Without `live` only a rehearsal.
template <typename T, bool kGated, int kColumns>
__device__ __forceinline__ void store_tile(const Problem& p, bool live, Shared<kColumns>& s, int w,
                                           const float (&d)[kColumns / 2], const Tile& tile,
                                           int& count) {
  constexpr int kChunks = kColumns / (kGated ? 2 : 1) / kChunkColumns;
  const int row = tile.row + w * kConsumerRows, column = kGated ? tile.column / 2 : tile.column;
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    const int b = count % kBuffers;
    uint8_t* chunk = s.chunk[w][b];
    if (p.residual != nullptr) {
      if (live) sm90::wait(&s.ready[w][b], count / kBuffers & 1);
      put_chunk<T, kGated>(live, chunk, d, c, true);
    } else {
      put_chunk<T, kGated>(live, chunk, d, c, false);
    }
    __syncwarp();
    store_chunk(p, live, chunk, row, column + c * kChunkColumns);
    if (p.residual != nullptr) sm90::fence_shared_for_async();  // before the next one is loaded
    __syncwarp();
    if (live && p.residual != nullptr && threadIdx.x % 32 == 0) sm90::arrive(&s.taken[w][b]);
    count += live;
  }
}

// The results of one tile, to float32 or to rows of any length: each warp turns its 16 rows, 32
// columns at a time, through its part of a buffer, so that a warp stores consecutive elements.
template <typename T, int kCount>
__device__ __forceinline__ void store_directly(const Problem& p, uint8_t* chunk,
                                               const float (&d)[kCount], const Tile& tile, int w) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x % 128 / 32;
  const int first_row = tile.row + w * kConsumerRows;
  auto* part = reinterpret_cast<float*>(chunk) + warp * 16 * 32;
#pragma unroll
  for (int c = 0; c < kCount / 16; ++c) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      part[row * 32 + (column ^ row % 8 * 4)] = d[c * 16 + i];
    }
    __syncwarp();
    const int column = tile.column + c * 32 + lane;
    for (int r = 0; r < 16; ++r) {
      const int row = first_row + warp * 16 + r;
      if (row >= p.m || column >= p.n) break;
      float v = part[r * 32 + (lane ^ r % 8 * 4)];
      const int64_t at = int64_t{row} * p.n + column;
      if (p.residual != nullptr) v += to_float(static_cast<const T*>(p.residual)[at]);
      if (p.out_is_float) {
        static_cast<float*>(p.out)[at] = v;
      } else {
        static_cast<T*>(p.out)[at] = from_float<T>(v);
      }
    }
    __syncwarp();
  }
}

}  // namespace octavo::cuda::large
