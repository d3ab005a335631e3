// The producers of the prefill kernel (prefill_wgmma.cu), and what they hand to its consumers: the
// items, and the layout of shared memory. Two warps: one takes items and copies queries and keys,
// the other copies values.
#pragma once

#include "backend/cuda/prefill_tile.cuh"
#include "backend/cuda/ring.cuh"
#include "backend/cuda/sm90.cuh"

namespace octavo::cuda::prefill {

inline constexpr int kChunk = 64;  // elements of a swizzled 128-byte row
inline constexpr int kStages = 2;

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
  static constexpr int kProducerRegisters = kConsumers == 3 ? 32 : 40;
  static constexpr int kConsumerRegisters = kConsumers == 3 ? 160 : 232;

  struct Shared {
    T q[kQueryStages][kChunks][kRows][kChunk];
    T keys[kStages][kChunks][kKeys][kChunk];
    T values[kStages][kChunks][kKeys][kChunk];
    // Full: the data have arrived. Empty: everyone who needs them is done.
    uint64_t item_full[kQueryStages], q_full[kQueryStages], q_empty[kQueryStages];
    uint64_t keys_full[kStages], keys_empty[kStages];
    uint64_t values_full[kStages], values_empty[kStages];
    Item items[kQueryStages];  // come and go with q
  };
  static constexpr size_t kSharedBytes = sizeof(Shared) + 1024;  // swizzled tiles: 1024-aligned
};

// Copies tiles of keys or of values; all 32 lanes of a producer warp. A tile is a few boxes, each
// of one block and one chunk of columns: one a lane.
template <typename T, int kDim>
struct TileCopies {
  using L = Layout<T, kDim>;
  const Params& p;
  const CUtensorMap& map;
  const int box_keys;
  const int lane = threadIdx.x % 32;
  const int chunk = lane % L::kChunks;
  const int first = lane / L::kChunks * box_keys;  // key of the tile
  RingPlace place = {};

  __device__ __forceinline__ void copy(const Item& item,
                                       T (&to)[kStages][L::kChunks][L::kKeys][kChunk],
                                       uint64_t* full, uint64_t* empty) {
    const int32_t* blocks = p.blocks + item.tile.block_begin;
    const int kv_head = p.kv_head(item.head_group);
    for (int n = item.keys.last; n >= item.keys.first; --n) {
      // Boxes behind the last key and those of blocks that the window has passed (-1) lie outside
      // the matrix altogether: zeros.
      int y = -box_keys;
      const int position = n * L::kKeys + first;
      if (first < L::kKeys && position < item.tile.kv_len) {
        y = (blocks[position / p.block_size] * p.num_kv_heads + kv_head) * p.block_size +
            position % p.block_size;
      }
      sm90::wait(&empty[place.stage], place.parity ^ 1);
      if (lane == 0) sm90::arrive_expecting(&full[place.stage], L::kTileBytes);
      __syncwarp();
      if (first < L::kKeys) {
        sm90::load_box(to[place.stage][chunk][first], &map, chunk * kChunk, y, &full[place.stage]);
      }
      place.advance(kStages);
    }
  }
};

// The first producer warp takes items, tells the others of them, and copies queries and keys.
template <typename T, int kDim>
__device__ void produce_queries_and_keys(const Params& p, const CUtensorMap& q_map,
                                         const CUtensorMap& key_map, int box_keys, int q_bytes,
                                         typename Layout<T, kDim>::Shared& shared) {
  using L = Layout<T, kDim>;
  TileCopies<T, kDim> keys = {p, key_map, box_keys};
  RingPlace q;
  const int lane = threadIdx.x % 32;
  const int num_items = p.plan->count * p.head_groups();
  // Numbers are drawn two items ahead and tiles read one ahead, under the copies for this item.
  int index = blockIdx.x, next = index + gridDim.x;
  // The first without a look at the count: the workspace has room for it.
  QueryTile tile = p.plan->tiles[index / p.head_groups()];
  for (;;) {
    Item item;
    item.tile = tile;
    item.keys = key_tiles(tile, p.window, L::kKeys);
    item.head_group = index < num_items ? index % p.head_groups() : -1;
    sm90::wait(&shared.q_empty[q.stage], q.parity ^ 1);
    if (lane == 0) {
      shared.items[q.stage] = item;
      sm90::arrive(&shared.item_full[q.stage]);
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
    q.advance(L::kQueryStages);
    tile = next < num_items ? p.plan->tiles[next / p.head_groups()] : QueryTile{};
    int after_next = 0;
    if (lane == 0) after_next = atomicAdd(&p.plan->next, 1);
    keys.copy(item, shared.keys, shared.keys_full, shared.keys_empty);
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

// The second producer warp.
template <typename T, int kDim>
__device__ void produce_values(const Params& p, const CUtensorMap& value_map, int box_keys,
                               typename Layout<T, kDim>::Shared& shared) {
  TileCopies<T, kDim> values = {p, value_map, box_keys};
  RingPlace q;
  for (;;) {
    sm90::wait(&shared.item_full[q.stage], q.parity);
    const Item item = shared.items[q.stage];
    sm90::arrive(&shared.q_empty[q.stage]);
    q.advance(Layout<T, kDim>::kQueryStages);
    if (item.head_group < 0) return;
    values.copy(item, shared.values, shared.values_full, shared.values_empty);
  }
}

}  // namespace octavo::cuda::prefill
