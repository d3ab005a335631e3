// The kernel of large_linear.h.
//
// A tile is out[128 rows, kColumns columns]. Tiles come in pairs, the two CTAs of a cluster work on
// one pair, and clusters stay and walk over the pairs (walk order: tile_at). The pair either shares
// its rows of weight or its rows of x: each CTA loads half of what is shared into both (multicast),
// so that a tile costs less L2 traffic. A CTA has three warpgroups:
//
//   consumers 0, 1   each multiplies 64 rows of x with the tile's rows of weight, 64 deep a step,
//                    then applies bias, activation and residual and writes 16-bit results, 64
//                    columns (a chunk) at a time, into buffers in shared memory
//   third, warp 0    loads x and weight into a ring of stages, running ahead into the next tile
//   third, warp 1, 2 (one for each consumer) loads the residual into the consumer's buffers before
//                    they are written, and stores them once they are
//
// The consumers do not wait for each other. While one finishes its tile the other one keeps the
// tensor cores busy, which hides most of the finish.
//
// Barriers, all in shared memory, u counting the uses of one stage or buffer:
//   full[stage]      use u is loaded: one arrival (expecting bytes of both CTAs' copies)
//   empty[stage]     use u is read, by the 8 consumer warps of both CTAs, since both load into it
//   ready[w][b]      buffer b of consumer w may be written, and holds the residual if there is one
//   written[w][b]    its 4 warps have written it
//
// Results that the copy engine cannot store (float32, rows not a multiple of 16 bytes) leave
// through the same buffers, warp by warp and without the third warpgroup.
#include "backend/cuda/large_linear.h"

#include <algorithm>
#include <cstdint>

#include "backend/cuda/numeric.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/tensor_map.h"
#include "backend/cuda/wgmma.cuh"

namespace octavo::cuda {
namespace {

constexpr int kRows = 128;         // of x in a tile
constexpr int kDepth = 64;         // of k in a stage: 128 bytes, one line of the swizzle
constexpr int kLineBytes = 128;    // of a stage and of a chunk
constexpr int kConsumers = 2;      // warpgroups
constexpr int kConsumerRows = 64;  // kRows / kConsumers, and of a chunk
constexpr int kChunkColumns = 64;  // of out
constexpr int kChunkBytes = kConsumerRows * kLineBytes;
constexpr int kBuffers = 2;  // chunks, for each consumer
constexpr int kThreads = (kConsumers + 1) * 128;
constexpr int kGroupRows = 2048;  // of x, see tile_at

struct Problem {
  int m, n;
  int steps;                    // of kDepth through k
  bool shares_weight;           // the tiles of a pair are neighbours in m, else in n
  int pair_rows, pair_columns;  // pairs in m and n
  int group;                    // pair rows walked together
  Activation activation;
  const float* bias;     // [n] or null
  const void* residual;  // [m, n] or null
  void* out;             // [m, n], or [m, n / 2] with kSwiGlu
  bool out_is_float;
  bool by_copy_engine;  // out leaves through out_map, the residual comes through residual_map
};

template <int kColumns>
struct Shared {
  static constexpr int kStages = kColumns == 128 ? 6 : 4;
  static constexpr uint32_t kStageBytes = (kRows + kColumns) * kLineBytes;
  uint8_t x[kStages][kRows * kLineBytes];
  uint8_t weight[kStages][kColumns * kLineBytes];
  uint8_t chunk[kConsumers][kBuffers][kChunkBytes];
  uint64_t full[kStages], empty[kStages];
  uint64_t ready[kConsumers][kBuffers], written[kConsumers][kBuffers];
};

struct Tile {
  int row, column;  // the first of out; with kSwiGlu, column of the product before it
};

// Pairs are walked down m within a group of rows of x, then along n: about 132 tiles are in work at
// once, and a group's x and their few columns of weight fit into L2 together.
template <int kColumns>
__device__ __forceinline__ Tile tile_at(const Problem& p, int pair, int rank) {
  const int group_pairs = p.group * p.pair_columns;
  const int first_row = pair / group_pairs * p.group;
  const int rows = min(p.group, p.pair_rows - first_row);
  const int within = pair % group_pairs;
  const int row = first_row + within % rows, column = within / rows;
  return p.shares_weight ? Tile{(2 * row + rank) * kRows, column * kColumns}
                         : Tile{row * kRows, (2 * column + rank) * kColumns};
}

// Fills the ring, one thread. Waits for the kernel before only once the first weights are on their
// way, since these do not depend on it.
template <int kColumns>
__device__ __forceinline__ void load_stages(const Problem& p, const CUtensorMap* x_map,
                                            const CUtensorMap* weight_map, Shared<kColumns>& s,
                                            int rank, int first_pair, int pairs, int clusters) {
  constexpr int kStages = Shared<kColumns>::kStages;
  constexpr int kHalf = kColumns / 2;
  constexpr uint16_t kBoth = 3;
  auto load_weight = [&](int stage, const Tile& tile, int step) {
    sm90::arrive_expecting(&s.full[stage], Shared<kColumns>::kStageBytes);
    if (p.shares_weight) {
      sm90::load_box_multicast(s.weight[stage] + rank * kHalf * kLineBytes, weight_map,
                               step * kDepth, tile.column + rank * kHalf, &s.full[stage], kBoth);
    } else {
      for (int half = 0; half < 2; ++half) {
        sm90::load_box(s.weight[stage] + half * kHalf * kLineBytes, weight_map, step * kDepth,
                       tile.column + half * kHalf, &s.full[stage]);
      }
    }
  };
  auto load_x = [&](int stage, const Tile& tile, int step) {
    if (p.shares_weight) {
      for (int half = 0; half < 2; ++half) {
        sm90::load_box(s.x[stage] + half * kConsumerRows * kLineBytes, x_map, step * kDepth,
                       tile.row + half * kConsumerRows, &s.full[stage]);
      }
    } else {
      sm90::load_box_multicast(s.x[stage] + rank * kConsumerRows * kLineBytes, x_map, step * kDepth,
                               tile.row + rank * kConsumerRows, &s.full[stage], kBoth);
    }
  };

  const int ahead = first_pair < pairs ? min(kStages, p.steps) : 0;
  for (int step = 0; step < ahead; ++step)
    load_weight(step, tile_at<kColumns>(p, first_pair, rank), step);
  sm90::wait_for_previous();

  int stage = 0;
  uint32_t parity = 1;  // of the use before: a fresh barrier counts as past it
  for (int pair = first_pair; pair < pairs; pair += clusters) {
    const Tile tile = tile_at<kColumns>(p, pair, rank);
    for (int step = 0; step < p.steps; ++step) {
      if (pair != first_pair || step >= ahead) {
        sm90::wait(&s.empty[stage], parity);
        load_weight(stage, tile, step);
      }
      load_x(stage, tile, step);
      if (++stage == kStages) {
        stage = 0;
        parity ^= 1;
      }
    }
  }
}

// Loads residuals into the buffers of consumer `w` and stores results from them, one thread.
template <int kColumns>
__device__ __forceinline__ void move_chunks(const Problem& p, const CUtensorMap* residual_map,
                                            const CUtensorMap* out_map, Shared<kColumns>& s, int w,
                                            int rank, int first_pair, int pairs, int clusters) {
  if (first_pair >= pairs) return;
  const int shrink = p.activation == Activation::kSwiGlu ? 2 : 1;
  const int chunks = kColumns / shrink / kChunkColumns;  // of a tile
  const int count = ((pairs - first_pair + clusters - 1) / clusters) * chunks;
  auto place = [&](int i) {
    Tile at = tile_at<kColumns>(p, first_pair + i / chunks * clusters, rank);
    return Tile{at.row + w * kConsumerRows, at.column / shrink + i % chunks * kChunkColumns};
  };
  auto make_ready = [&](int i) {
    uint64_t* ready = &s.ready[w][i % kBuffers];
    if (p.residual == nullptr) {
      sm90::arrive(ready);
      return;
    }
    const Tile at = place(i);
    sm90::arrive_expecting(ready, kChunkBytes);
    sm90::load_box(s.chunk[w][i % kBuffers], residual_map, at.column, at.row, ready);
  };

  sm90::wait_for_previous();
  for (int i = 0; i < min(kBuffers, count); ++i) make_ready(i);
  for (int i = 0; i < count; ++i) {
    sm90::wait(&s.written[w][i % kBuffers], i / kBuffers & 1);
    const Tile at = place(i);
    sm90::store_box(out_map, s.chunk[w][i % kBuffers], at.column, at.row);
    sm90::commit_stores();
    sm90::wait_stores_read<0>();
    if (i + kBuffers < count) make_ready(i + kBuffers);
  }
}

// v / (1 + exp(-z)): silu with z = v, and gelu's tanh form with z = 2 sqrt(2/pi) (v + 0.044715
// v^3).
__device__ __forceinline__ float times_sigmoid(float v, float z) {
  return __fdividef(v, 1 + __expf(-z));
}
__device__ __forceinline__ float gelu_tanh(float v) {
  return times_sigmoid(v, v * (1.5957691216f + 0.0713548162726f * v * v));
}
__device__ __forceinline__ float gelu(float v) {
  return 0.5f * v * (1 + erff(v * 0.70710678118f));
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

// Writes columns [64 c, 64 c + 64) of the consumer's result into a buffer, in the swizzle of the
// tensor maps: 16-byte unit u of line r is at u ^ r % 8, which also keeps a warp's 32 words in 32
// banks. With `residual`, the buffer holds it, each thread's words where it will write.
template <typename T, bool kGated, int kCount>
__device__ __forceinline__ void write_chunk(uint8_t* chunk, const float (&d)[kCount], int c,
                                            bool residual) {
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
      auto* word =
          reinterpret_cast<uint32_t*>(line + half * 8 * kLineBytes + (unit ^ row % 8) * 16);
      float2 sum = {v[2 * half], v[2 * half + 1]};
      if (residual) {
        const float2 old = unpack2<T>(*word);
        sum.x += old.x;
        sum.y += old.y;
      }
      *word = pack2<T>(sum.x, sum.y);
    }
  }
}

// The results of one tile into the buffers, for move_chunks to store. `count` counts the chunks of
// all tiles.
template <typename T, bool kGated, int kColumns>
__device__ __forceinline__ void write_chunks(const Problem& p, Shared<kColumns>& s, int w,
                                             const float (&d)[kColumns / 2], int& count) {
  constexpr int kChunks = kColumns / (kGated ? 2 : 1) / kChunkColumns;
#pragma unroll
  for (int c = 0; c < kChunks; ++c, ++count) {
    const int b = count % kBuffers;
    sm90::wait(&s.ready[w][b], count / kBuffers & 1);
    if (p.residual != nullptr) {
      write_chunk<T, kGated>(s.chunk[w][b], d, c, true);
    } else {
      write_chunk<T, kGated>(s.chunk[w][b], d, c, false);
    }
    sm90::fence_shared_for_async();
    __syncwarp();
    if (threadIdx.x % 32 == 0) sm90::arrive(&s.written[w][b]);
  }
}

// The results of one tile to any out: each warp turns its 16 rows, 32 columns at a time, through
// its part of a buffer, so that a warp stores consecutive elements.
template <typename T, int kCount>
__device__ __forceinline__ void store_directly(const Problem& p, uint8_t* chunk,
                                               const float (&d)[kCount], int first_row,
                                               int first_column) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x % 128 / 32;
  auto* part = reinterpret_cast<float*>(chunk) + warp * 16 * 32;
#pragma unroll
  for (int c = 0; c < kCount / 16; ++c) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      part[row * 32 + (column ^ row % 8 * 4)] = d[c * 16 + i];
    }
    __syncwarp();
    const int column = first_column + c * 32 + lane;
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

// Consumer `w`: its half of each tile.
template <typename T, int kColumns>
__device__ __forceinline__ void multiply(const Problem& p, Shared<kColumns>& s, int w, int rank,
                                         int first_pair, int pairs, int clusters) {
  constexpr int kStages = Shared<kColumns>::kStages;
  const uint64_t x_tile = sm90::swizzled_tile(s.x[0] + w * kConsumerRows * kLineBytes);
  const uint64_t weight_tile = sm90::swizzled_tile(s.weight[0]);
  const int lane = threadIdx.x % 32;
  // Lane 0 tells its own CTA, or the other; lane 1 the remaining one.
  auto release = [&](int stage) {
    if (lane < 2) sm90::arrive_at(&s.empty[stage], lane);
  };

  float d[kColumns / 2];
  int stage = 0, chunks = 0;
  uint32_t parity = 0;
  sm90::wait_for_previous();
  for (int pair = first_pair; pair < pairs; pair += clusters) {
    int last = 0;
    for (int step = 0; step < p.steps; ++step) {
      sm90::wait(&s.full[stage], parity);
      sm90::fence_products();
#pragma unroll
      for (int i = 0; i < kDepth / 16; ++i) {  // 16 deep each: 32 bytes, 2 in the descriptor
        sm90::Wgmma<kColumns, T>::shared_a(
            d, x_tile + stage * (kRows * kLineBytes / 16) + 2 * i,
            weight_tile + stage * (kColumns * kLineBytes / 16) + 2 * i, step + i != 0);
      }
      sm90::commit_products();
      if (step != 0) {
        sm90::wait_products<1>();
        release(last);
      }
      last = stage;
      if (++stage == kStages) {
        stage = 0;
        parity ^= 1;
      }
    }
    sm90::wait_products<0>();
    sm90::pin_registers(d);
    release(last);

    const Tile tile = tile_at<kColumns>(p, pair, rank);
    add_bias_and_gelu(p, d, tile.column);
    if (!p.by_copy_engine) {
      store_directly<T>(p, s.chunk[w][0], d, tile.row + w * kConsumerRows, tile.column);
    } else if (p.activation != Activation::kSwiGlu) {
      write_chunks<T, false>(p, s, w, d, chunks);
    } else if constexpr (kColumns % (2 * kChunkColumns) == 0) {
      write_chunks<T, true>(p, s, w, d, chunks);
    }
  }
}

template <typename T, int kColumns>
__global__ __launch_bounds__(kThreads, 1) void large_linear_kernel(
    const __grid_constant__ CUtensorMap x_map,         // [m, k] in boxes of 64 rows
    const __grid_constant__ CUtensorMap weight_map,    // [n, k] in boxes of kColumns / 2 rows
    const __grid_constant__ CUtensorMap residual_map,  // as out, in chunks
    const __grid_constant__ CUtensorMap out_map, const __grid_constant__ Problem p) {
  extern __shared__ uint8_t unaligned[];
  auto& s = *reinterpret_cast<Shared<kColumns>*>(
      unaligned + (-sm90::shared_address(unaligned) & (kChunkBytes / 8 - 1)));
  const int rank = static_cast<int>(sm90::cluster_rank());
  const int first_pair = blockIdx.x / 2, clusters = gridDim.x / 2;
  const int pairs = p.pair_rows * p.pair_columns;

  if (threadIdx.x == 0) {
    for (int i = 0; i < Shared<kColumns>::kStages; ++i) {
      sm90::init_barrier(&s.full[i], 1);
      sm90::init_barrier(&s.empty[i], 2 * kConsumers * 4);
    }
    for (int w = 0; w < kConsumers; ++w) {
      for (int b = 0; b < kBuffers; ++b) {
        sm90::init_barrier(&s.ready[w][b], 1);
        sm90::init_barrier(&s.written[w][b], 4);
      }
    }
    sm90::fence_barrier_init();
  }
  __syncthreads();
  sm90::cluster_arrive();
  sm90::cluster_wait();
  sm90::let_next_start();

  const int warpgroup = threadIdx.x / 128;
  if (warpgroup == kConsumers) {
    sm90::give_registers<40>();
    const int warp = threadIdx.x % 128 / 32;
    if (threadIdx.x % 32 == 0) {
      if (warp == 0) {
        load_stages(p, &x_map, &weight_map, s, rank, first_pair, pairs, clusters);
      } else if (warp <= kConsumers && p.by_copy_engine) {
        move_chunks(p, &residual_map, &out_map, s, warp - 1, rank, first_pair, pairs, clusters);
      }
    }
  } else {
    sm90::take_registers<232>();
    multiply<T>(p, s, warpgroup, rank, first_pair, pairs, clusters);
  }
  // The other CTA may still arrive at this one's barriers.
  __syncwarp();
  sm90::cluster_arrive();
  sm90::cluster_wait();
}

int divide_up(int a, int b) {
  return (a + b - 1) / b;
}

int multiprocessors() {
  static const int count = [] {
    int device = 0, value = 132;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device);
    return value;
  }();
  return count;
}

// Pairs of tiles: how they lie and how many there are.
struct Pairs {
  bool shares_weight;
  int rows, columns;
  int count() const { return rows * columns; }
};
Pairs pairs_of(const LinearCall& call, int tile_columns) {
  const int rows = divide_up(call.m, kRows), columns = divide_up(call.n, tile_columns);
  const Pairs down{true, divide_up(rows, 2), columns}, along{false, rows, divide_up(columns, 2)};
  return down.count() <= along.count() ? down : along;  // sharing weight saves more traffic
}

template <typename T, int kColumns>
void start(const Launch& on, const LinearCall& call) {
  constexpr size_t kBytes = sizeof(Shared<kColumns>) + 1024;
  static_assert(kBytes <= 232448);
  auto* kernel = large_linear_kernel<T, kColumns>;
  static const bool allowed = allow_shared_bytes("large_linear", kernel, kBytes);
  if (!allowed) return;

  const bool gated = call.activation == Activation::kSwiGlu;
  const Pairs pairs = pairs_of(call, kColumns);
  Problem p = {};
  p.m = call.m;
  p.n = call.n;
  p.steps = divide_up(call.k, kDepth);
  p.shares_weight = pairs.shares_weight;
  p.pair_rows = pairs.rows;
  p.pair_columns = pairs.columns;
  p.group = kGroupRows / kRows / (pairs.shares_weight ? 2 : 1);
  p.activation = call.activation;
  p.bias = call.bias;
  p.residual = call.residual;
  p.out = call.out;
  p.out_is_float = call.out_is_float;
  p.by_copy_engine = !call.out_is_float && call.n % 8 == 0;

  const int out_columns = gated ? call.n / 2 : call.n;
  const CUtensorMap x = make_tensor_map(call.x, call.dtype, call.m, call.k, call.k, kConsumerRows);
  const CUtensorMap weight =
      make_tensor_map(call.weight, call.dtype, call.n, call.k, call.k, kColumns / 2);
  CUtensorMap residual = {}, out = {};
  if (p.by_copy_engine) {
    out = make_tensor_map(call.out, call.dtype, call.m, out_columns, out_columns, kConsumerRows);
    residual = out;
    if (call.residual != nullptr) {
      residual = make_tensor_map(call.residual, call.dtype, call.m, call.n, call.n, kConsumerRows);
    }
  }
  Grid grid;
  grid.blocks = 2 * std::min(pairs.count(), multiprocessors() / 2);
  grid.threads = kThreads;
  grid.shared_bytes = kBytes;
  grid.cluster = 2;
  launch("large_linear", on, grid, kernel, x, weight, residual, out, p);
}

template <typename T>
void start(const Launch& on, const LinearCall& call, int columns) {
  if (columns == 256) {
    start<T, 256>(on, call);
  } else if (columns == 192) {
    start<T, 192>(on, call);
  } else {
    start<T, 128>(on, call);
  }
}

}  // namespace

bool large_linear_takes(const LinearCall& call) {
  const bool gated = call.activation == Activation::kSwiGlu;
  return call.norm_weight == nullptr && call.m > 0 && call.n > 0 && call.k > 0 && call.k % 8 == 0 &&
         !(gated && (call.out_is_float || call.n % 16 != 0 || call.residual != nullptr));
}

// The width whose rounds of tiles over the multiprocessors cost least.
int large_linear_columns(const LinearCall& call) {
  struct Width {
    int columns;
    float cost;  // of a tile
  };
  constexpr Width kWidths[] = {{256, 256}, {192, 198}, {128, 138}};
  int best = 128;
  float least = 0;
  for (const Width& w : kWidths) {
    if (w.columns == 192 && call.activation == Activation::kSwiGlu) continue;
    const int rounds = divide_up(pairs_of(call, w.columns).count(), multiprocessors() / 2);
    if (least == 0 || rounds * w.cost < least) {
      least = rounds * w.cost;
      best = w.columns;
    }
  }
  return best;
}

void large_linear(const Launch& on, const LinearCall& call, int columns) {
  if (call.dtype == DType::kF16) {
    start<__half>(on, call, columns);
  } else {
    start<__nv_bfloat16>(on, call, columns);
  }
}

void large_linear(const Launch& on, const LinearCall& call) {
  large_linear(on, call, large_linear_columns(call));
}

}  // namespace octavo::cuda
