// Prefill attention on Hopper's own units, for head_dim 64, 128 and 256 (after FlashAttention-3).
//
// One CTA per multiprocessor stays until all items (query tile, group of heads) are taken; the
// first is its own number, the next ones come from the plan's counter. Warpgroup 0 is the producer:
// one of its warps takes items and copies Q, and keys and values straight from the cache's blocks,
// into rings in shared memory; so the next item's data come in while the last one's output is
// stored. The other warpgroups own 64 rows of the query tile each and go through the key tiles from
// the newest to the oldest:
//
//   S = Q K^T            of tile n, while
//   O = O + P V          of tile n + 1 runs too
//   P = exp2(S - max)    online softmax in registers; P is the next product's left operand
//
// The warpgroups take turns at issuing products, so that one's softmax runs under the others'
// products.
#include "backend/cuda/prefill_tile.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/tensor_map.h"
#include "backend/cuda/wgmma.cuh"

namespace octavo::cuda::prefill {
namespace {

constexpr int kChunk = 64;  // elements of a swizzled 128-byte row
constexpr int kStages = 2;

struct Item {
  QueryTile tile;
  KeyTiles keys;
  int head_group;  // negative: no item is left
};

template <typename T, int kDim>
struct Layout {
  static constexpr int kConsumers = kDim == 64 ? 3 : 2;  // warpgroups
  static constexpr int kRows = 64 * kConsumers;
  static constexpr int kKeys = kDim == 256 ? 64 : 128;
  static constexpr int kChunks = kDim / kChunk;
  static constexpr int kQueryStages = kDim == 256 ? 1 : 2;  // as far as shared memory goes
  static constexpr int kThreads = 128 * (kConsumers + 1);
  static constexpr int kTileBytes = kKeys * kDim * 2;
  // 64 K registers over all warps.
  static constexpr int kProducerRegisters = kConsumers == 3 ? 32 : 24;
  static constexpr int kConsumerRegisters = kConsumers == 3 ? 160 : 240;

  struct Shared {
    T q[kQueryStages][kChunks][kRows][kChunk];
    T keys[kStages][kChunks][kKeys][kChunk];
    T values[kStages][kChunks][kKeys][kChunk];
    // Full: the copy engine's bytes have arrived. Empty: every consumer warp is done with them.
    uint64_t q_full[kQueryStages], q_empty[kQueryStages];
    uint64_t keys_full[kStages], keys_empty[kStages];
    uint64_t values_full[kStages], values_empty[kStages];
    Item items[kQueryStages];  // come and go with q
  };
  static constexpr size_t kSharedBytes = sizeof(Shared) + 1024;  // swizzled tiles: 1024-aligned
};

template <int kLength>
struct Ring {
  int stage = 0;
  uint32_t phase = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == kLength) {
      stage = 0;
      phase ^= 1;
    }
  }
};

// The producer warp; all 32 lanes.
template <typename T, int kDim>
__device__ void produce(const Params& p, const CUtensorMap& q_map, const CUtensorMap& key_map,
                        const CUtensorMap& value_map, int box_keys, int q_bytes,
                        typename Layout<T, kDim>::Shared& shared) {
  using L = Layout<T, kDim>;
  const int lane = threadIdx.x % 32;
  const int num_items = p.plan->count * p.head_groups();
  // A tile of keys is a few boxes, each of one block and one chunk of columns: one a lane.
  const bool copies = lane < L::kKeys / box_keys * L::kChunks;
  const int box_chunk = lane % L::kChunks;
  const int box_first = lane / L::kChunks * box_keys;
  Ring<L::kQueryStages> q;
  Ring<kStages> ring;
  // Numbers are drawn two items ahead and tiles read one ahead, under the copies for this item.
  int index = blockIdx.x, next = index + gridDim.x;
  const auto tile_of = [&](int i) {
    return i < num_items ? p.plan->tiles[i / p.head_groups()] : QueryTile{};
  };
  for (QueryTile tile = tile_of(index);;) {
    Item item;
    item.tile = tile;
    item.keys = key_tiles(tile, p.window, L::kKeys);
    item.head_group = index < num_items ? index % p.head_groups() : -1;
    sm90::wait(&shared.q_empty[q.stage], q.phase ^ 1);
    if (lane == 0) {
      shared.items[q.stage] = item;
      if (item.head_group < 0) {
        sm90::arrive(&shared.q_full[q.stage]);
      } else {
        sm90::arrive_expecting(&shared.q_full[q.stage], q_bytes);
        for (int c = 0; c < L::kChunks; ++c) {
          sm90::load_box(shared.q[q.stage][c], &q_map, c * kChunk, item.head_group * p.pack,
                         tile.first_token, &shared.q_full[q.stage]);
        }
      }
    }
    if (item.head_group < 0) break;
    q.advance();
    tile = tile_of(next);
    int after_next = 0;
    if (lane == 0) after_next = atomicAdd(&p.plan->next, 1);

    const int32_t* blocks = p.blocks + item.tile.block_begin;
    const int kv_head = p.kv_head(item.head_group);
    for (int n = item.keys.last; n >= item.keys.first; --n) {
      // Boxes behind the last key and those of blocks that the window has passed (-1) lie outside
      // the matrix altogether: zeros.
      int y = -box_keys;
      const int position = n * L::kKeys + box_first;
      if (copies && position < item.tile.kv_len) {
        y = (blocks[position / p.block_size] * p.num_kv_heads + kv_head) * p.block_size +
            position % p.block_size;
      }
      sm90::wait(&shared.keys_empty[ring.stage], ring.phase ^ 1);
      if (lane == 0) sm90::arrive_expecting(&shared.keys_full[ring.stage], L::kTileBytes);
      __syncwarp();
      if (copies) {
        sm90::load_box(shared.keys[ring.stage][box_chunk][box_first], &key_map, box_chunk * kChunk,
                       y, &shared.keys_full[ring.stage]);
      }
      sm90::wait(&shared.values_empty[ring.stage], ring.phase ^ 1);
      if (lane == 0) sm90::arrive_expecting(&shared.values_full[ring.stage], L::kTileBytes);
      __syncwarp();
      if (copies) {
        sm90::load_box(shared.values[ring.stage][box_chunk][box_first], &value_map,
                       box_chunk * kChunk, y, &shared.values_full[ring.stage]);
      }
      ring.advance();
    }
    index = next;
    next = __shfl_sync(~0u, after_next, 0);
  }
  // The plan may serve another call.
  if (lane == 0) {
    __threadfence();
    if (atomicInc(&p.plan->finished, gridDim.x - 1) == gridDim.x - 1) {
      p.plan->next = kItemsAhead * gridDim.x;
    }
  }
}

// One consumer warpgroup. Accumulators as in wgmma.cuh: this thread has the rows `row` and row + 8
// of its query tile, of which index r = 0, 1 speaks below.
template <typename T, int kDim>
struct Consumer {
  using L = Layout<T, kDim>;
  using Shared = typename L::Shared;
  static constexpr int kKeys = L::kKeys;

  const Params& p;
  Shared& shared;
  const int group;  // warpgroup, 0 first
  const int row;    // of the query tile
  int token[2];     // of row, row + 8, within the query tile
  OnlineRow rows[2];
  float o[kDim / 2];
  float s[kKeys / 2];
  uint32_t weights[kKeys / 16][4];  // P as the left operand

  __device__ __forceinline__ Consumer(const Params& params, Shared& in, int warpgroup)
      : p(params),
        shared(in),
        group(warpgroup),
        row(64 * warpgroup + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4) {
    token[0] = row / p.pack;
    token[1] = (row + 8) / p.pack;
  }

  // Barriers 1 + g: warpgroup g's turn to issue products; it passes the turn on.
  __device__ __forceinline__ void await_turn() { sm90::named_barrier(1 + group, 256); }
  __device__ __forceinline__ void pass_turn() {
    sm90::named_arrive(1 + (group + 1) % L::kConsumers, 256);
  }

  __device__ __forceinline__ void release(uint64_t* barrier) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) sm90::arrive(barrier);
  }

  // S = Q K^T, not awaited.
  __device__ __forceinline__ void start_scores(int q_stage, int stage) {
    const uint64_t q = sm90::swizzled_tile(shared.q[q_stage][0][64 * group]);
    const uint64_t k = sm90::swizzled_tile(shared.keys[stage]);
    sm90::fence_products();
#pragma unroll
    for (int c = 0; c < L::kChunks; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sm90::Wgmma<kKeys, T>::shared_a(s, q + c * (sizeof(shared.q[0][0]) >> 4) + 2 * i,
                                        k + c * (sizeof(shared.keys[0][0]) >> 4) + 2 * i,
                                        c + i > 0);
      }
    }
    sm90::commit_products();
  }

  // O += P V, not awaited.
  __device__ __forceinline__ void start_output(int stage) {
    const uint64_t v =
        sm90::swizzled_tile_transposed(shared.values[stage], sizeof(shared.values[0][0]));
    sm90::fence_products();
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i) {
      sm90::Wgmma<kDim, T>::register_a_b_transposed(o, weights[i], v + 128 * i, 1);
    }
    sm90::commit_products();
  }

  // -inf where the key of column c is behind the row's position or before its window.
  __device__ __forceinline__ void mask(const QueryTile& tile, int n) {
    const int first = n * kKeys + 2 * (threadIdx.x % 4);  // position of s[0]
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int newest = tile.position + token[r] - first;
      const int oldest = p.window > 0 ? newest - p.window : -kKeys;  // exclusive
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int c = 8 * j + e;
          if (c > newest || c <= oldest) s[4 * j + 2 * r + e] = -INFINITY;
        }
      }
    }
  }
  __device__ __forceinline__ void mask_if_needed(const QueryTile& tile, int n) {
    const bool ahead = (n + 1) * kKeys - 1 > tile.position;
    const bool passed = p.window > 0 && n * kKeys <= tile.position + tile.tokens - 1 - p.window;
    if (ahead || passed) mask(tile, n);
  }

  // S becomes exponentials, and what was summed before shrinks by shrink[r].
  __device__ __forceinline__ void softmax(float (&shrink)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float top = s[2 * r];
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
        top = fmaxf(top, fmaxf(s[4 * j + 2 * r], s[4 * j + 2 * r + 1]));
      }
      float offset;
      shrink[r] = rows[r].raise(top, p.scale_log2, offset);
      float sum = 0;
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& x = s[4 * j + 2 * r + e];
          x = exp2_fast(x * p.scale_log2 - offset);
          sum += x;
        }
      }
      rows[r].sum += sum;
    }
  }
  __device__ __forceinline__ void round_weights() {
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i) {
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        weights[i][w] = pack2<T>(s[8 * i + 2 * w], s[8 * i + 2 * w + 1]);
      }
    }
  }

  // Cache slots behind the last key were never written. Their weight is 0, but 0 * NaN is not. Each
  // warpgroup does all of it for itself.
  __device__ __forceinline__ void clear_unwritten_values(int stage, int kv_len, int n) {
    const int first = kv_len - n * kKeys;
    const int count = kKeys - first;
    const uint4 zero = {};
    for (int i = threadIdx.x % 128; i < count * L::kChunks * 8; i += 128) {
      T* line = shared.values[stage][i / 8 % L::kChunks][first + i / (8 * L::kChunks)];
      reinterpret_cast<uint4*>(line)[i % 8] = zero;
    }
    sm90::fence_shared_for_async();
    sm90::named_barrier(5 + group, 128);
  }

  __device__ __forceinline__ void store(const Item& item) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float factor = rows[r].inverse_sum();
      T* to = nullptr;
      if (token[r] < item.tile.tokens) {
        const int head = item.head_group * p.pack + (row + 8 * r) % p.pack;
        const int64_t line = int64_t{item.tile.first_token + token[r]} * p.num_q_heads + head;
        to = static_cast<T*>(p.out) + line * kDim;
      }
      store_row(to, o, r, factor, kDim);
    }
  }

  __device__ __forceinline__ void run() {
    Ring<L::kQueryStages> q;
    Ring<kStages> keys, values;  // the values are one tile behind
    float shrink[2];
    const auto await_item = [&] {
      sm90::wait(&shared.q_full[q.stage], q.phase);
      return shared.items[q.stage];
    };
    const auto finish_scores = [&] {
      sm90::pin_registers(s);
      release(&shared.keys_empty[keys.stage]);
      keys.advance();
    };
    const auto finish_output = [&] {
      sm90::pin_registers(o);
      release(&shared.values_empty[values.stage]);
      values.advance();
    };

    if (group == L::kConsumers - 1) pass_turn();  // the first turn is warpgroup 0's
    Item item = await_item();
    if (item.head_group >= 0) {
      sm90::wait(&shared.keys_full[keys.stage], keys.phase);
      start_scores(q.stage, keys.stage);
    }
    while (item.head_group >= 0) {
      // The newest tile of keys; its scores are under way.
      int n = item.keys.last;
      rows[0] = rows[1] = {};
#pragma unroll
      for (float& x : o) x = 0;
      sm90::wait_products<0>();
      finish_scores();
      mask_if_needed(item.tile, n);
      softmax(shrink);
      round_weights();
      if (item.tile.kv_len < (n + 1) * kKeys) {
        sm90::wait(&shared.values_full[values.stage], values.phase);
        clear_unwritten_values(values.stage, item.tile.kv_len, n);
      }

      while (--n >= item.keys.first) {
        sm90::wait(&shared.keys_full[keys.stage], keys.phase);
        await_turn();
        start_scores(q.stage, keys.stage);
        sm90::wait(&shared.values_full[values.stage], values.phase);
        start_output(values.stage);
        pass_turn();
        sm90::wait_products<1>();
        finish_scores();
        mask_if_needed(item.tile, n);
        softmax(shrink);
        sm90::pin_registers(s);  // the exponentials are computed here, under the output's product
        sm90::wait_products<0>();
        finish_output();
        round_weights();
#pragma unroll
        for (int i = 0; i < kDim / 2; ++i) o[i] *= shrink[i / 2 % 2];
      }

      // The last output, and the next item's first scores, which run while the output is stored.
      release(&shared.q_empty[q.stage]);
      q.advance();
      const Item next = await_item();
      const bool more = next.head_group >= 0;
      sm90::wait(&shared.values_full[values.stage], values.phase);
      if (more) sm90::wait(&shared.keys_full[keys.stage], keys.phase);
      await_turn();
      start_output(values.stage);
      if (more) start_scores(q.stage, keys.stage);
      pass_turn();
      if (more) {
        sm90::wait_products<1>();
      } else {
        sm90::wait_products<0>();
      }
      finish_output();
      store(item);
      item = next;
    }
    if (group == 0) await_turn();  // nothing stays pending
  }
};

template <typename T, int kDim>
__global__ __launch_bounds__(Layout<T, kDim>::kThreads,
                             1) void attend_kernel(const __grid_constant__ CUtensorMap q_map,
                                                   const __grid_constant__ CUtensorMap key_map,
                                                   const __grid_constant__ CUtensorMap value_map,
                                                   const __grid_constant__ Params params,
                                                   int box_keys, int q_bytes) {
  using L = Layout<T, kDim>;
  extern __shared__ uint8_t raw[];
  auto& shared = *reinterpret_cast<typename L::Shared*>(
      raw + (1024 - sm90::shared_address(raw) % 1024) % 1024);
  sm90::let_next_start();
  if (threadIdx.x == 0) {
    constexpr int kConsumerWarps = 4 * L::kConsumers;
    for (int i = 0; i < L::kQueryStages; ++i) {
      sm90::init_barrier(&shared.q_full[i], 1);
      sm90::init_barrier(&shared.q_empty[i], kConsumerWarps);
    }
    for (int i = 0; i < kStages; ++i) {
      sm90::init_barrier(&shared.keys_full[i], 1);
      sm90::init_barrier(&shared.keys_empty[i], kConsumerWarps);
      sm90::init_barrier(&shared.values_full[i], 1);
      sm90::init_barrier(&shared.values_empty[i], kConsumerWarps);
    }
    sm90::fence_barrier_init();
    sm90::prefetch_map(&q_map);
    sm90::prefetch_map(&key_map);
    sm90::prefetch_map(&value_map);
  }
  sm90::wait_for_previous();
  __syncthreads();
  const int warpgroup = threadIdx.x / 128;
  if (warpgroup == 0) {
    sm90::give_registers<L::kProducerRegisters>();
    if (threadIdx.x < 32) {
      produce<T, kDim>(params, q_map, key_map, value_map, box_keys, q_bytes, shared);
    }
  } else {
    sm90::take_registers<L::kConsumerRegisters>();
    Consumer<T, kDim>(params, shared, warpgroup - 1).run();
  }
}

// The map of Q as [num_tokens, num_q_heads, kDim] in boxes of `pack` heads of `tokens` tokens.
// tensor_map.h has matrices only.
CUtensorMap query_map(const Params& p, DType dtype, int num_tokens, int tokens) {
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                               12000, cudaEnableDefault, &found);
    if (error != cudaSuccess) note_error("cuTensorMapEncodeTiled", error);
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  CUtensorMap map = {};
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(p.head_dim),
                              static_cast<cuuint64_t>(p.num_q_heads),
                              static_cast<cuuint64_t>(num_tokens)};
  const cuuint64_t strides[] = {sizes[0] * 2, sizes[0] * sizes[1] * 2};
  const cuuint32_t box[] = {kChunk, static_cast<cuuint32_t>(p.pack),
                            static_cast<cuuint32_t>(tokens)};
  const cuuint32_t element_strides[] = {1, 1, 1};
  const CUresult result =
      encode == nullptr
          ? CUDA_ERROR_NOT_FOUND
          : encode(&map,
                   dtype == DType::kF16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                        : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                   3, const_cast<void*>(p.q), sizes, strides, box, element_strides,
                   CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                   CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) note_error("prefill attention's query map", cudaErrorInvalidValue);
  return map;
}

template <typename T, int kDim>
void start(const Launch& on, const PagedLayer& layer, const Params& p, int num_tokens, int ctas) {
  using L = Layout<T, kDim>;
  static const bool allowed =
      allow_shared_bytes("prefill attention", attend_kernel<T, kDim>, L::kSharedBytes);
  if (!allowed) return;
  // Boxes divide blocks and tiles: the largest power of two in the block size, up to a tile.
  int box_keys = layer.block_size & -layer.block_size;
  if (box_keys > L::kKeys) box_keys = L::kKeys;
  const int64_t lines = int64_t{layer.num_blocks} * layer.num_kv_heads * layer.block_size;
  const int tokens = L::kRows / p.pack;
  const CUtensorMap q_map = query_map(p, layer.dtype, num_tokens, tokens);
  const CUtensorMap key_map = make_tensor_map(layer.keys, layer.dtype, lines, kDim, kDim, box_keys);
  const CUtensorMap value_map =
      make_tensor_map(layer.values, layer.dtype, lines, kDim, kDim, box_keys);
  launch("prefill attention", on,
         {dim3(static_cast<unsigned>(ctas)), dim3(L::kThreads), L::kSharedBytes},
         attend_kernel<T, kDim>, q_map, key_map, value_map, p, box_keys,
         tokens * p.pack * kDim * 2);
}

template <typename T>
void start(const Launch& on, const PagedLayer& layer, const Params& p, int num_tokens, int ctas) {
  switch (layer.head_dim) {
    case 64:
      return start<T, 64>(on, layer, p, num_tokens, ctas);
    case 128:
      return start<T, 128>(on, layer, p, num_tokens, ctas);
    case 256:
      return start<T, 256>(on, layer, p, num_tokens, ctas);
  }
}

}  // namespace

int wgmma_tile_rows(const PagedLayer& layer) {
  switch (layer.head_dim) {
    case 64:
      return Layout<__half, 64>::kRows;
    case 128:
      return Layout<__half, 128>::kRows;
    case 256:
      return Layout<__half, 256>::kRows;
  }
  return 0;
}

int wgmma_tile_keys(const PagedLayer& layer) {
  return layer.head_dim == 256 ? Layout<__half, 256>::kKeys : Layout<__half, 128>::kKeys;
}

void wgmma_attention(const Launch& on, const PagedLayer& layer, const Params& params,
                     int num_tokens, int ctas) {
  if (layer.dtype == DType::kBF16) {
    start<__nv_bfloat16>(on, layer, params, num_tokens, ctas);
  } else {
    start<__half>(on, layer, params, num_tokens, ctas);
  }
}

}  // namespace octavo::cuda::prefill
