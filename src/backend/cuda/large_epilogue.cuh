// The last step of large_linear.cu, for one consumer warpgroup's half of a tile: the scale of a
// carried norm, bias and activation on the accumulators, then the residual and the store, turned
// through chunks in shared memory so that whole lines are written; what the next norm wants is made
// of these lines.
#pragma once

#include <cstdint>

#include "backend/cuda/activation.cuh"
#include "backend/cuda/carried_norm.cuh"
#include "backend/cuda/large_tile.cuh"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/warp.cuh"

namespace octavo::cuda::large {

template <typename T>
__device__ __forceinline__ bool is_scaled(const Problem& p) {
  return kMayCarry<T> && p.norm.squares != nullptr;
}

// The scales of this thread's two rows of a consumer's accumulators. Without `live` it reads
// nothing: the kernel before may still be at work on the squares.
__device__ __forceinline__ float2 row_scales(const Problem& p, bool live, const Tile& tile, int w) {
  constexpr int kAhead = 4;  // words of 16 bytes: all of a row of 64 parts
  const int row = tile.row + w * kConsumerRows + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
  const int rows = live ? p.m : 0;
  return {row_scale<kAhead>(p.norm, row, rows), row_scale<kAhead>(p.norm, row + 8, rows)};
}

// Before the bias.
template <int kCount>
__device__ __forceinline__ void scale_rows(float (&d)[kCount], const float2& scale) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) d[i] *= i % 4 < 2 ? scale.x : scale.y;
}

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

// The same for 16 bytes in global memory.
__device__ __forceinline__ void store_unit_if(bool live, void* to, const uint4& value) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %0, 0; @p st.global.v4.b32 [%1], {%2, %3, %4, %5}; }" ::"r"(
          static_cast<int>(live)),
      "l"(__cvta_generic_to_global(to)), "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w)
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

// next_gain at eight columns of which all or none exist.
__device__ __forceinline__ void load_gain(const Problem& p, int column, float (&gain)[8]) {
  const auto* from = reinterpret_cast<const float4*>(p.norm.next_gain + column);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float4 four = column < p.n ? __ldg(from + half) : float4{};
    gain[4 * half] = four.x;
    gain[4 * half + 1] = four.y;
    gain[4 * half + 2] = four.z;
    gain[4 * half + 3] = four.w;
  }
}

// A warp reads its 16 lines of a buffer, whole lines at a time: this lane's four 16-byte units, all
// of the same columns, go to use(i, unit, row, column of out).
template <typename Use>
__device__ __forceinline__ void for_each_unit(const uint8_t* chunk, int first_row, int first_column,
                                              const Use& use) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x % 128 / 32;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int line = warp * 16 + i * 4 + lane / 8;
    use(i, *reinterpret_cast<const uint4*>(chunk + line * kLineBytes + (lane % 8 ^ line % 8) * 16),
        first_row + line, first_column + lane % 8 * 8);
  }
}

// To out.
__device__ __forceinline__ void store_chunk(const Problem& p, bool live, const uint8_t* chunk,
                                            int first_row, int first_column) {
  for_each_unit(chunk, first_row, first_column, [&](int, const uint4& unit, int row, int column) {
    auto* to = static_cast<uint16_t*>(p.out) + int64_t{row} * p.out_columns + column;
    if (live && row < p.m && column < p.out_columns) *reinterpret_cast<uint4*>(to) = unit;
  });
}

// The same for a product that carries a norm: the lines times the gains also go to `weighted`, and
// the squares of this lane's four units are added up. The gains are loaded no earlier, since a wide
// tile's accumulators leave no registers to keep them in.
template <typename T>
__device__ __forceinline__ void store_carrying(const Problem& p, bool live, const uint8_t* chunk,
                                               int first_row, int first_column,
                                               float (&squares)[4]) {
  float gain[8];
  load_gain(p, first_column + threadIdx.x % 8 * 8, gain);
  for_each_unit(chunk, first_row, first_column, [&](int i, const uint4& unit, int row, int column) {
    const bool stores = live && row < p.m && column < p.n;
    const int64_t at = int64_t{row} * p.n + column;
    store_unit_if(stores, static_cast<uint16_t*>(p.out) + at, unit);
    float y[8], sum = 0;
    unpack8<T>(unit, y);
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      sum += y[e] * y[e];
      y[e] *= gain[e];
    }
    squares[i] += stores ? sum : 0;
    store_unit_if(stores, static_cast<uint16_t*>(p.norm.weighted) + at, pack8<T>(y));
  });
}

// Part `part` of the squares of a warp's 16 lines, of which store_carrying() has left each lane
// some.
__device__ __forceinline__ void store_squares(const Problem& p, bool live, int first_row, int part,
                                              const float (&squares)[4]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x % 128 / 32;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = first_row + warp * 16 + i * 4 + lane / 8;
    const float sum = warp_sum<8>(squares[i]);
    if (live && lane % 8 == 0 && row < p.m && part < p.norm.parts_out) {
      p.norm.squares_out[int64_t{row} * p.norm.parts_out + part] = sum;
    }
  }
}

// The results of one tile. `count` counts the chunks of all tiles. Without `live` only a rehearsal.
template <typename T, bool kGated, int kColumns>
__device__ __forceinline__ void store_tile(const Problem& p, bool live, Shared<kColumns>& s, int w,
                                           const float (&d)[kColumns / 2], const Tile& tile,
                                           int& count) {
  constexpr int kChunks = kColumns / (kGated ? 2 : 1) / kChunkColumns;
  const int row = tile.row + w * kConsumerRows, column = kGated ? tile.column / 2 : tile.column;
  const bool carries = kMayCarry<T> && !kGated && p.norm.next_gain != nullptr;
  float squares[4] = {};
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
    if (carries) {
      store_carrying<T>(p, live, chunk, row, column + c * kChunkColumns, squares);
    } else {
      store_chunk(p, live, chunk, row, column + c * kChunkColumns);
    }
    if (p.residual != nullptr) sm90::fence_shared_for_async();  // before the next one is loaded
    __syncwarp();
    if (live && p.residual != nullptr && threadIdx.x % 32 == 0) sm90::arrive(&s.taken[w][b]);
    count += live;
  }
  if (carries) store_squares(p, live, row, tile.column / kColumns, squares);
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
