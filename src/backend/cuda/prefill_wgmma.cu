// The kernel of prefill attention, on Hopper's own units (after FlashAttention-3). Its instances
// have a head_dim of 64, 128 or 256; others are rounded up: the copy engine makes zeros of the
// columns behind a head's last.
//
// One CTA per multiprocessor stays until all items are taken. Its warpgroup 0 produces
// (prefill_produce.cuh): one of its warps takes items and copies Q and the keys, another the
// values, straight from the cache's blocks into rings in shared memory; so the next item's data
// come in while the last one's output is stored. The other warpgroups own 64 rows of the query tile
// each and go through the key tiles from the newest to the oldest:
//
//   S = Q K^T            of tile n, while
//   O = O + P V          of tile n + 1 runs too
//   P = exp2(S - max)    online softmax in registers; P is the next product's left operand
//
// The warpgroups take turns at issuing products, so that one's softmax runs under the others'
// products: that alone keeps the tensor cores busy, and ptxas moves the wait for O above the
// softmax anyway. (Holding it below by a branch, so that softmax also runs under its own product,
// measured 7 % slower.)
#include <algorithm>

#include "backend/cuda/numeric.cuh"
#include "backend/cuda/prefill_produce.cuh"
#include "backend/cuda/prefill_tile.cuh"
#include "backend/cuda/ring.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/tensor_map.h"
#include "backend/cuda/warp.cuh"
#include "backend/cuda/wgmma.cuh"

namespace octavo::cuda::prefill {
namespace {

// One row's running maximum and sum of exponentials: online softmax. A row lies in the four lanes
// of a quad; `sum` is this lane's part only.
struct OnlineRow {
  float max = -INFINITY;
  float sum = 0;
  // Takes in a new maximum of this lane's scores and returns by how much earlier sums shrink: by
  // exactly nothing if the maximum stays. `offset` is what to subtract from scaled scores.
  __device__ __forceinline__ float raise(float lane_max, float scale_log2, float& offset) {
    const float top = quad_max(fmaxf(max, lane_max));
    // While all keys are masked, -inf - -inf must not become NaN.
    const float finite_top = top == -INFINITY ? 0.0f : top;
    offset = finite_top * scale_log2;
    const float shrink = exp2_fast((max - finite_top) * scale_log2);
    max = top;
    sum *= shrink;
    return shrink;
  }
  // 1 / the whole row's sum; 0 for a row without keys.
  __device__ __forceinline__ float inverse_sum() const {
    const float total = quad_sum(sum);
    return total > 0 ? __fdividef(1.0f, total) : 0.0f;
  }
};

// Lane q of a quad holds word q of four 16-byte pieces; afterwards it holds the four words of piece
// q.
__device__ __forceinline__ uint4 transpose_in_quad(uint32_t (&w)[4]) {
  const int lane = threadIdx.x & 3;
  const bool odd = lane & 1, high = lane & 2;
  const auto exchange = [](uint32_t& a, uint32_t& b, bool upper, int distance) {
    const uint32_t other = __shfl_xor_sync(~0u, upper ? a : b, distance);
    a = upper ? other : a;
    b = upper ? b : other;
  };
  exchange(w[0], w[1], odd, 1);
  exchange(w[2], w[3], odd, 1);
  exchange(w[0], w[2], high, 2);
  exchange(w[1], w[3], high, 2);
  return {w[0], w[1], w[2], w[3]};
}

// Stores this quad's upper (half 0) or lower (1) row of wgmma's accumulators, times `factor`, where
// `to` is not null. Called by whole warps.
template <typename T, int kCount>
__device__ __forceinline__ void store_row(T* to, const float (&o)[kCount], int half, float factor,
                                          int head_dim) {
  const int lane = threadIdx.x & 3;
#pragma unroll
  for (int j = 0; j < kCount / 4; j += 4) {
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = 4 * (j + i) + 2 * half;
      words[i] = pack2<T>(o[at] * factor, o[at + 1] * factor);
    }
    const uint4 piece = transpose_in_quad(words);
    const int column = 8 * (j + lane);
    if (to != nullptr && column < head_dim) *reinterpret_cast<uint4*>(to + column) = piece;
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
  const int group;        // warpgroup, 0 first
  const int row;          // of the query tile
  int token[2], head[2];  // of row, row + 8, within the query tile
  OnlineRow rows[2];
  float o[kDim / 2];
  float s[kKeys / 2];
  uint32_t weights[kKeys / 16][4];  // P as the left operand

  __device__ __forceinline__ Consumer(const Params& params, Shared& in, int warpgroup)
      : p(params),
        shared(in),
        group(warpgroup),
        row(64 * warpgroup + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      token[r] = (row + 8 * r) / p.pack;
      head[r] = (row + 8 * r) % p.pack;
    }
  }

  // Barriers 1 + g: warpgroup g's turn to issue products; it passes the turn on.
  __device__ __forceinline__ void await_turn() {
    sm90::named_barrier(1 + group, 256);
  }
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

  // -inf for keys behind the row's position or before its window, where tile n has such.
  __device__ __forceinline__ void mask(const QueryTile& tile, int n) {
    const int first = n * kKeys;
    const int first_here = first + 2 * (threadIdx.x % 4);  // position of s[0]
    const auto hide = [&](auto&& hidden) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int newest = tile.position + token[r] - first_here;
#pragma unroll
        for (int i = 0; i < kKeys / 4; ++i) {
          if (hidden(i / 2 * 8 + i % 2, newest)) s[i / 2 * 4 + 2 * r + i % 2] = -INFINITY;
        }
      }
    };
    if (first + kKeys - 1 > tile.position) {
      hide([](int column, int newest) { return column > newest; });
    }
    if (p.window > 0 && first <= tile.position + tile.tokens - 1 - p.window) {
      hide([this](int column, int newest) { return column <= newest - p.window; });
    }
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
        const int64_t line = int64_t{item.tile.first_token + token[r]} * p.num_q_heads +
                             item.head_group * p.pack + head[r];
        to = static_cast<T*>(p.out) + line * p.head_dim;
      }
      store_row(to, o, r, factor, p.head_dim);
    }
  }

  __device__ __forceinline__ void run() {
    RingPlace q;
    RingPlace keys, values;  // the values are one tile behind
    float shrink[2];
    const auto await_item = [&] {
      sm90::wait(&shared.q_full[q.stage], q.parity);
      return shared.items[q.stage];
    };
    const auto finish_scores = [&] {
      sm90::pin_registers(s);
      release(&shared.keys_empty[keys.stage]);
      keys.advance(kStages);
    };
    const auto finish_output = [&] {
      sm90::pin_registers(o);
      release(&shared.values_empty[values.stage]);
      values.advance(kStages);
    };

    if (group == L::kConsumers - 1) pass_turn();  // the first turn is warpgroup 0's
    Item item = await_item();
    if (item.head_group >= 0) {
      sm90::wait(&shared.keys_full[keys.stage], keys.parity);
      start_scores(q.stage, keys.stage);
    }
    while (item.head_group >= 0) {
      // The newest tile of keys; its scores are under way.
      int n = item.keys.last;
      sm90::wait_products<0>();
      finish_scores();
      rows[0] = rows[1] = {};
#pragma unroll
      for (float& x : o) x = 0;
      mask(item.tile, n);
      softmax(shrink);
      round_weights();
      if (item.tile.kv_len < (n + 1) * kKeys) {
        sm90::wait(&shared.values_full[values.stage], values.parity);
        clear_unwritten_values(values.stage, item.tile.kv_len, n);
      }

      while (--n >= item.keys.first) {
        sm90::wait(&shared.keys_full[keys.stage], keys.parity);
        await_turn();
        start_scores(q.stage, keys.stage);
        sm90::wait(&shared.values_full[values.stage], values.parity);
        start_output(values.stage);
        pass_turn();
        sm90::wait_products<1>();
        finish_scores();
        mask(item.tile, n);
        softmax(shrink);
        sm90::wait_products<0>();
        finish_output();
        round_weights();
#pragma unroll
        for (int i = 0; i < kDim / 2; ++i) o[i] *= shrink[i / 2 % 2];
      }

      // The last output, and the next item's first scores, which run while the output is stored.
      // Without a next item they are of no use, but products behind a condition make ptxas wait for
      // every single one.
      sm90::arrive(&shared.q_empty[q.stage]);
      q.advance(L::kQueryStages);
      const Item next = await_item();
      const bool more = next.head_group >= 0;
      sm90::wait(&shared.values_full[values.stage], values.parity);
      if (more) sm90::wait(&shared.keys_full[keys.stage], keys.parity);
      await_turn();
      start_output(values.stage);
      start_scores(q.stage, keys.stage);
      pass_turn();
      sm90::wait_products<1>();
      finish_output();
      store(item);
      item = next;
    }
    sm90::wait_products<0>();
    if (group == 0) await_turn();  // nothing stays pending
  }
};

struct Maps {
  CUtensorMap q, keys, values;
};

template <typename T, int kDim>
__global__ __launch_bounds__(Layout<T, kDim>::kThreads,
                             1) void attend_kernel(const __grid_constant__ Maps maps,
                                                   const __grid_constant__ Params params,
                                                   int box_keys, int q_bytes) {
  using L = Layout<T, kDim>;
  extern __shared__ uint8_t raw[];
  auto& shared = *reinterpret_cast<typename L::Shared*>(
      raw + (1024 - sm90::shared_address(raw) % 1024) % 1024);
  sm90::let_next_start();
  if (threadIdx.x == 0) {
    constexpr int kConsumerWarps = 4 * L::kConsumers;
    // Threads, the values' producer's too: they read items themselves, the rest by products.
    constexpr int kItemReaders = 32 * (kConsumerWarps + 1);
    for (int i = 0; i < L::kQueryStages; ++i) {
      sm90::init_barrier(&shared.item_full[i], 1);
      sm90::init_barrier(&shared.q_full[i], 1);
      sm90::init_barrier(&shared.q_empty[i], kItemReaders);
    }
    for (int i = 0; i < kStages; ++i) {
      sm90::init_barrier(&shared.keys_full[i], 1);
      sm90::init_barrier(&shared.keys_empty[i], kConsumerWarps);
      sm90::init_barrier(&shared.values_full[i], 1);
      sm90::init_barrier(&shared.values_empty[i], kConsumerWarps);
    }
    sm90::fence_barrier_init();
    sm90::prefetch_map(&maps.q);
    sm90::prefetch_map(&maps.keys);
    sm90::prefetch_map(&maps.values);
  }
  sm90::wait_for_previous();
  __syncthreads();
  const int warpgroup = threadIdx.x / 128;
  if (warpgroup == 0) {
    sm90::give_registers<L::kProducerRegisters>();
    if (threadIdx.x < 32) {
      produce_queries_and_keys<T, kDim>(params, maps.q, maps.keys, box_keys, q_bytes, shared);
    } else if (threadIdx.x < 64) {
      produce_values<T, kDim>(params, maps.values, box_keys, shared);
    }
  } else {
    sm90::take_registers<L::kConsumerRegisters>();
    Consumer<T, kDim>(params, shared, warpgroup - 1).run();
  }
}

template <typename T, int kDim>
void start(const Launch& on, const PagedLayer& layer, const Params& p, int tokens, int ctas) {
  using L = Layout<T, kDim>;
  static const bool allowed [[maybe_unused]] =
      allow_shared_bytes("prefill attention", attend_kernel<T, kDim>, L::kSharedBytes);
  // Boxes divide blocks and tiles: the largest power of two in the block size, up to a tile.
  const int box_keys = std::min(layer.block_size & -layer.block_size, L::kKeys);
  const int64_t lines = int64_t{layer.num_blocks} * layer.num_kv_heads * layer.block_size;
  const Maps maps = {
      make_tensor_map(p.q, layer.dtype, {p.num_tokens, p.num_q_heads, p.head_dim},
                      {tokens, p.pack, kChunk}),
      make_tensor_map(layer.keys, layer.dtype, lines, p.head_dim, p.head_dim, box_keys),
      make_tensor_map(layer.values, layer.dtype, lines, p.head_dim, p.head_dim, box_keys)};
  launch("prefill attention", on,
         {dim3(static_cast<unsigned>(ctas)), dim3(L::kThreads), L::kSharedBytes},
         attend_kernel<T, kDim>, maps, p, box_keys, tokens * p.pack * kDim * 2);
}

template <typename T>
void start(const Launch& on, const PagedLayer& layer, const Params& p, int tokens, int ctas) {
  if (layer.head_dim <= 64) {
    start<T, 64>(on, layer, p, tokens, ctas);
  } else if (layer.head_dim <= 128) {
    start<T, 128>(on, layer, p, tokens, ctas);
  } else {
    start<T, 256>(on, layer, p, tokens, ctas);
  }
}

}  // namespace

Tiling tiling_of(const PagedLayer& layer, int num_q_heads) {
  const auto of = [&]<int kDim>() -> Tiling {
    using L = Layout<__half, kDim>;
    const int group = num_q_heads / layer.num_kv_heads;
    return {L::kRows, L::kKeys, group <= L::kRows ? group : 1};
  };
  if (layer.head_dim <= 64) return of.template operator()<64>();
  if (layer.head_dim <= 128) return of.template operator()<128>();
  return of.template operator()<256>();
}

void start_attention(const Launch& on, const PagedLayer& layer, const Params& params,
                     const Tiling& tiling, int num_ctas) {
  if (layer.dtype == DType::kBF16) {
    start<__nv_bfloat16>(on, layer, params, tiling.tokens(), num_ctas);
  } else {
    start<__half>(on, layer, params, tiling.tokens(), num_ctas);
  }
}

}  // namespace octavo::cuda::prefill
