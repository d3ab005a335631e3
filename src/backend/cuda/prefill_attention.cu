// The host's side of prefill attention and the kernel that plans it.
#include "backend/cuda/prefill_attention.h"

#include <algorithm>

#include "backend/cuda/driver.h"
#include "backend/cuda/prefill_tile.cuh"
#include "backend/cuda/sm90.cuh"
#include "base/check.h"

namespace octavo::cuda {
namespace prefill {
namespace {

constexpr int kPlanThreads = 1024;
constexpr int kBuckets = 320;

// Tiles of about equal cost share a bucket, the costliest in bucket 0: sixteen buckets an octave.
__device__ int bucket_of(int num_key_tiles) {
  const int steps = static_cast<int>(__float_as_uint(static_cast<float>(num_key_tiles + 1)) >> 19);
  return max(0, kBuckets - 1 - (steps - (127 << 4)));
}

// Lists the query tiles of rows [first_row, num_rows) by falling number of key tiles: a counting
// sort by one CTA, a warp per row. The order within a bucket is arbitrary and changes no result.
__global__ __launch_bounds__(kPlanThreads) void plan_tiles(
    const int32_t* row_begin, const int32_t* kv_len, const int32_t* block_begin, int first_row,
    int num_rows, int tokens_per_tile, int tile_keys, int window, int first_free_item, Plan* plan) {
  __shared__ int slots[kBuckets];
  sm90::let_next_start();
  for (int i = threadIdx.x; i < kBuckets; i += kPlanThreads) slots[i] = 0;
  sm90::wait_for_previous();
  __syncthreads();

  const int lane = threadIdx.x % 32;
  const auto for_each_tile = [&](auto&& visit) {
    for (int row = first_row + threadIdx.x / 32; row < num_rows; row += kPlanThreads / 32) {
      const int begin = row_begin[row], end = row_begin[row + 1], length = kv_len[row];
      const int blocks = block_begin[row];
      for (int token = begin + lane * tokens_per_tile; token < end; token += 32 * tokens_per_tile) {
        const QueryTile tile = {token, min(tokens_per_tile, end - token), length - (end - token),
                                length, blocks};
        const KeyTiles keys = key_tiles(tile, window, tile_keys);
        visit(tile, bucket_of(keys.last - keys.first + 1));
      }
    }
  };
  for_each_tile([&](const QueryTile&, int bucket) { atomicAdd(&slots[bucket], 1); });
  __syncthreads();
  if (threadIdx.x < 32) {  // counts to first slots
    int before = 0;
    for (int i = lane; i < kBuckets; i += 32) {
      const int count = slots[i];
      int up_to = count;
      for (int d = 1; d < 32; d *= 2) {
        const int left = __shfl_up_sync(~0u, up_to, d);
        if (lane >= d) up_to += left;
      }
      slots[i] = before + up_to - count;
      before += __shfl_sync(~0u, up_to, 31);
    }
    if (lane == 0) {
      plan->count = before;
      plan->next = first_free_item;
      plan->finished = 0;
    }
  }
  __syncthreads();
  for_each_tile(
      [&](const QueryTile& tile, int bucket) { plan->tiles[atomicAdd(&slots[bucket], 1)] = tile; });
}

// The host does not know the rows' lengths. Every row may end in a tile that is not full.
int max_tiles(int num_rows, int num_tokens, const Tiling& tiling) {
  return num_rows + num_tokens / tiling.tokens();
}

// The rows from first_row on; the rows before it have one token each.
int num_ctas(const PagedRows& rows, int first_row, int num_q_heads, const Tiling& tiling) {
  const int tiles = max_tiles(rows.num_rows - first_row, rows.num_tokens - first_row, tiling);
  const int64_t items = static_cast<int64_t>(tiles) * (num_q_heads / tiling.pack);
  return static_cast<int>(std::min<int64_t>(items, multiprocessors()));
}

void plan(const Launch& on, const PagedLayer& layer, int num_q_heads, const PagedRows& rows,
          int first_row, void* workspace) {
  if (rows.num_rows <= first_row) return;
  CHECK(prefill_attention_takes(layer, num_q_heads));
  const Tiling tiling = tiling_of(layer, num_q_heads);
  launch("prefill plan", on, {dim3(1), dim3(kPlanThreads)}, plan_tiles, rows.row_begin, rows.kv_len,
         rows.block_begin, first_row, rows.num_rows, tiling.tokens(), tiling.keys, layer.window,
         kItemsAhead * num_ctas(rows, first_row, num_q_heads, tiling),
         static_cast<Plan*>(workspace));
}

void attend(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
            const AttentionCall& call, int first_row, void* workspace) {
  if (rows.num_rows <= first_row) return;
  CHECK(prefill_attention_takes(layer, call.num_q_heads));
  const Tiling tiling = tiling_of(layer, call.num_q_heads);
  Params params;
  params.q = call.q;
  params.out = call.out;
  params.blocks = rows.blocks;
  params.plan = static_cast<Plan*>(workspace);
  params.num_tokens = rows.num_tokens;
  params.num_q_heads = call.num_q_heads;
  params.num_kv_heads = layer.num_kv_heads;
  params.pack = tiling.pack;
  params.head_dim = layer.head_dim;
  params.block_size = layer.block_size;
  params.window = layer.window;
  params.scale_log2 = call.scale * 1.4426950408889634f;
  start_attention(on, layer, params, tiling, num_ctas(rows, first_row, call.num_q_heads, tiling));
}

}  // namespace
}  // namespace prefill

bool prefill_attention_takes(const PagedLayer& layer, int num_q_heads) {
  return (layer.dtype == DType::kBF16 || layer.dtype == DType::kF16) && layer.head_dim > 0 &&
         layer.head_dim % 16 == 0 && layer.head_dim <= 256 && layer.block_size > 0 &&
         layer.block_size % 16 == 0 && layer.num_kv_heads > 0 && num_q_heads > 0 &&
         num_q_heads % layer.num_kv_heads == 0;
}

size_t prefill_attention_workspace_bytes(const PagedLayer& layer, int num_q_heads, int max_rows,
                                         int max_tokens) {
  const int tiles =
      prefill::max_tiles(max_rows, max_tokens, prefill::tiling_of(layer, num_q_heads));
  return sizeof(prefill::Plan) + sizeof(prefill::QueryTile) * static_cast<size_t>(tiles);
}

void plan_prefill_attention(const Launch& on, const PagedLayer& layer, int num_q_heads,
                            const PagedRows& rows, void* workspace) {
  prefill::plan(on, layer, num_q_heads, rows, rows.num_decode_rows, workspace);
}

void planned_prefill_attention(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                               const AttentionCall& call, void* workspace) {
  prefill::attend(on, layer, rows, call, rows.num_decode_rows, workspace);
}

void prefill_attention(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                       const AttentionCall& call, void* workspace) {
  plan_prefill_attention(on, layer, call.num_q_heads, rows, workspace);
  planned_prefill_attention(on, layer, rows, call, workspace);
}

void invariant_attention(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                         const AttentionCall& call, void* workspace) {
  prefill::plan(on, layer, call.num_q_heads, rows, 0, workspace);
  prefill::attend(on, layer, rows, call, 0, workspace);
}

}  // namespace octavo::cuda
