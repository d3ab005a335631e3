// Decode attention over shared prefixes: the queries of a group's members, stacked into tiles of
// 128 rows per KV head, against the prefix they share, which is thus read once per query tile
// instead of once per member. The result is left as partial sums (decode_plan.cuh), which the
// decode kernel joins with those of each member's own tokens.
//
// One CTA per slice of the prefixes' sequence: four producer warps bring tiles of 64 tokens of keys
// and values, every fourth each, into a ring in shared memory (boxes of the cache seen as a matrix
// of [tokens, head_dim]); two consumer warpgroups take 64 query rows each. They take turns at the
// tensor cores: while one's products run (the scores of tile i, the values of tile i - 1), the
// other is at its exponentials. The queries stay in registers: read from shared memory they would
// double what the scores' products read there.

#include "backend/cuda/decode_mma.cuh"
#include "backend/cuda/decode_plan.cuh"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/tensor_map.h"
#include "backend/cuda/warp.cuh"
#include "backend/cuda/wgmma.cuh"

namespace octavo::cuda::decode {
namespace {

constexpr int kConsumers = 2 * 128;
constexpr int kProducerWarps = 4;
constexpr int kThreads = kConsumers + 32 * kProducerWarps;
constexpr int kStages = 6;
constexpr int kHalfBytes = kTileTokens * 128;  // 64 dims of a tile: rows of 128 bytes, swizzled

struct Call {
  Workspace workspace;
  const void* q;
  const int32_t* blocks;
  const int32_t* members;
  int num_kv_heads;
  int heads;  // query heads per KV head
  Divider block_size;
  int box_rows;
  int cache_rows;  // of the tensor maps
  float scale_log2;
};

template <int kDim>
struct Ring {
  static constexpr int kValues = kDim / 64 * kHalfBytes;
  static constexpr int kStageBytes = 2 * kValues;
  static constexpr int kBytes = kStages * kStageBytes;
  static constexpr int kShared = kBytes + 2 * kStages * 8 + 1024;  // 1024: to align

  unsigned char* tiles;
  uint64_t *full, *empty;

  __device__ explicit Ring(unsigned char* shared) {
    const uint32_t address = sm90::shared_address(shared);
    tiles = shared + ((address + 1023) / 1024 * 1024 - address);
    full = reinterpret_cast<uint64_t*>(tiles + kBytes);
    empty = full + kStages;
  }
};

// The part of an item that lies in a slice.
struct Part {
  GroupPlan group;
  int item, head, query_tile;
  int tile, tiles;
};

// The part that begins at tile `position` of the sequence in a slice that ends at `end`.
__device__ Part find_part(const Workspace& w, int num_groups, int num_kv_heads, int position,
                          int end) {
  Part part;
  int g = num_groups - 1;
  while (w.groups[g].first_tile > position) --g;
  part.group = w.groups[g];
  const int offset = position - part.group.first_tile;
  const int number = offset / part.group.tiles;
  part.item = part.group.first_item + number;
  part.head = number / part.group.query_tiles;
  part.query_tile = number % part.group.query_tiles;
  part.tile = offset % part.group.tiles;
  part.tiles = min(part.group.tiles - part.tile, end - position);
  return part;
}

template <int kDim>
__device__ void produce(const Call& call, const Ring<kDim>& ring, const CUtensorMap* keys,
                        const CUtensorMap* values, int begin, int end) {
  using R = Ring<kDim>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  // A box per lane: keys or values, 64 dims of them, box_rows tokens.
  const int row_boxes = kTileTokens / call.box_rows;
  const int row_box = lane % row_boxes, half = lane / row_boxes % (kDim / 64);
  const int which = lane / row_boxes / (kDim / 64);
  const int offset = which * R::kValues + half * kHalfBytes + row_box * call.box_rows * 128;
  // The row of the cache matrix where tile `tile` has this lane's box; behind the prefix, and so
  // zeros, where there is no such token.
  const auto find_row = [&](const Part& part, int tile) {
    const int token = tile * kTileTokens + row_box * call.box_rows;
    if (which > 1 || token >= part.group.prefix_len) return call.cache_rows;
    const int index = call.block_size.quotient(token);
    const int block = call.blocks[part.group.block_begin + index];
    return (block * call.num_kv_heads + part.head) * static_cast<int>(call.block_size.divisor) +
           call.block_size.remainder(token, index);
  };
  const int num_groups = call.workspace.header->num_groups;
  const int warp = static_cast<int>(threadIdx.x) / 32 - kConsumers / 32;
  // Tile n of the slice is warp n % kProducerWarps's and goes to stage n % kStages.
  int n = warp, stage = warp, part_begin = begin;
  uint32_t parity = 1;
  static_assert(kProducerWarps <= kStages);
  while (part_begin < end) {
    const Part part = find_part(call.workspace, num_groups, call.num_kv_heads, part_begin, end);
    int i = n - (part_begin - begin);  // the tile's number within the part
    int next_row = i < part.tiles ? find_row(part, part.tile + i) : 0;
    for (; i < part.tiles; i += kProducerWarps, n += kProducerWarps) {
      const int row = next_row;
      if (i + kProducerWarps < part.tiles)
        next_row = find_row(part, part.tile + i + kProducerWarps);
      sm90::wait(&ring.empty[stage], parity);
      if (lane == 0) sm90::arrive_expecting(&ring.full[stage], R::kStageBytes);
      __syncwarp();
      if (which < 2) {
        sm90::load_box(ring.tiles + stage * R::kStageBytes + offset, which == 0 ? keys : values,
                       half * 64, row, &ring.full[stage]);
      }
      stage += kProducerWarps;
      if (stage >= kStages) stage -= kStages, parity ^= 1;
    }
    part_begin += part.tiles;
  }
}

// The turns of the two warpgroups: a hardware barrier each, at which one waits and the other
// arrives.
__device__ __forceinline__ void await_turn(int warpgroup) {
  sm90::named_barrier(1 + warpgroup, kConsumers);
}
__device__ __forceinline__ void end_turn(int warpgroup) {
  sm90::named_arrive(2 - warpgroup, kConsumers);
}

template <typename T, int kDim>
__device__ void consume(const Call& call, const Ring<kDim>& ring, int begin, int end) {
  using R = Ring<kDim>;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  const int first_row = static_cast<int>(threadIdx.x) / 32 * 16 + g;  // this and + 8 are ours
  const int num_groups = call.workspace.header->num_groups;
  const int members_in_tile = members_per_tile(call.heads);
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == 1) end_turn(1);  // the first turn is warpgroup 0's
  int stage = 0;
  uint32_t parity = 0;
  const auto release = [&](int s) {
    __syncwarp();
    if (lane == 0) sm90::arrive(&ring.empty[s]);
  };

  for (int position = begin; position < end;) {
    const Part part = find_part(call.workspace, num_groups, call.num_kv_heads, position, end);

    uint32_t q[kDim / 16][4];  // A of the scores: rows g, g + 8; columns 2 t, 2 t + 8 of a step
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = first_row + 8 * i;
      const int member = part.query_tile * members_in_tile + row / call.heads;
      const bool valid = row < members_in_tile * call.heads && member < part.group.num_members;
      const uint32_t* line = nullptr;
      if (valid) {
        const int batch_row = call.members[part.group.member_begin + member];
        const int64_t token = call.workspace.rows[batch_row].token;
        const int64_t head =
            (token * call.num_kv_heads + part.head) * call.heads + row % call.heads;
        line = reinterpret_cast<const uint32_t*>(static_cast<const T*>(call.q) + head * kDim) + t;
      }
#pragma unroll
      for (int k = 0; k < kDim / 16; ++k) {
        q[k][i] = valid ? line[8 * k] : 0;
        q[k][i + 2] = valid ? line[8 * k + 4] : 0;
      }
    }

    float o[kDim / 64][32] = {};
    float s[32];
    float m[2] = {-INFINITY, -INFINITY}, l[2] = {};
    const auto issue_scores = [&](const unsigned char* keys) {
      sm90::pin_registers(s);
      sm90::fence_products();
#pragma unroll
      for (int k = 0; k < kDim / 16; ++k) {
        const uint64_t tile = sm90::swizzled_tile(keys + k / 4 * kHalfBytes) + k % 4 * 2;
        sm90::Wgmma<64, T>::register_a(s, q[k], tile, k > 0);
      }
      sm90::commit_products();
    };

    // Makes s the exponentials; factor is what o must be multiplied by for the new maximum.
    float factor[2];
    const auto exponentiate = [&](int tile) {
      sm90::pin_registers(s);
      const int left = part.group.prefix_len - tile * kTileTokens;
      if (left < kTileTokens) {
#pragma unroll
        for (int j = 0; j < 32; ++j) {
          if (j / 4 * 8 + 2 * t + j % 2 >= left) s[j] = -INFINITY;
        }
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float top = s[2 * r];
#pragma unroll
        for (int j = 0; j < 8; ++j) top = fmaxf(top, fmaxf(s[4 * j + 2 * r], s[4 * j + 2 * r + 1]));
        top = fmaxf(m[r], quad_max(top) * call.scale_log2);  // finite: every tile has valid tokens
        factor[r] = exp2_fast(m[r] - top);
        m[r] = top;
        float sum = 0;
#pragma unroll
        for (int j = 0; j < 16; ++j) {
          float& x = s[j / 2 * 4 + 2 * r + j % 2];
          x = exp2_fast(x * call.scale_log2 - top);
          sum += x;
        }
        l[r] = l[r] * factor[r] + sum;
      }
    };
    uint32_t p[4][4];  // the exponentials, which are an A as they lie
    const auto convert = [&] {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int j = 0; j < 4; ++j) p[k][j] = pack2<T>(s[8 * k + 2 * j], s[8 * k + 2 * j + 1]);
      }
    };
    const auto issue_values = [&](const unsigned char* values) {
#pragma unroll
      for (int h = 0; h < kDim / 64; ++h) sm90::pin_registers(o[h]);
      sm90::fence_products();
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int h = 0; h < kDim / 64; ++h) {
          sm90::Wgmma<64, T>::register_a_b_transposed(
              o[h], p[k], sm90::swizzled_tile(values + h * kHalfBytes + k * 16 * 128), 1);
        }
      }
      sm90::commit_products();
    };
    const auto wait_values = [&] {
      sm90::wait_products<0>();
#pragma unroll
      for (int h = 0; h < kDim / 64; ++h) sm90::pin_registers(o[h]);
    };

    sm90::wait(&ring.full[stage], parity);
    issue_scores(ring.tiles + stage * R::kStageBytes);
    sm90::wait_products<0>();
    exponentiate(part.tile);
    convert();
    for (int i = 1; i < part.tiles; ++i) {
      const int previous = stage;
      if (++stage == kStages) stage = 0, parity ^= 1;
      sm90::wait(&ring.full[stage], parity);
      await_turn(warpgroup);
      issue_scores(ring.tiles + stage * R::kStageBytes);
      issue_values(ring.tiles + previous * R::kStageBytes + R::kValues);
      end_turn(warpgroup);
      sm90::wait_products<1>();
      exponentiate(part.tile + i);
      wait_values();
      release(previous);
      convert();
#pragma unroll
      for (int h = 0; h < kDim / 64; ++h) {
#pragma unroll
        for (int j = 0; j < 32; ++j) o[h][j] *= factor[j / 2 % 2];
      }
    }
    issue_values(ring.tiles + stage * R::kStageBytes + R::kValues);
    wait_values();
    release(stage);
    if (++stage == kStages) stage = 0, parity ^= 1;

    const Partials& to = call.workspace.prefix;
    const int64_t slot = part.item + static_cast<int>(blockIdx.x);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      l[r] = quad_sum(l[r]);
      const int64_t line = slot * kQueryTile + first_row + 8 * r;
      if (t == 0) to.ml[line] = {m[r], l[r]};
#pragma unroll
      for (int h = 0; h < kDim / 64; ++h) {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          *reinterpret_cast<float2*>(to.o + line * kDim + 64 * h + 8 * j + 2 * t) = {
              o[h][4 * j + 2 * r], o[h][4 * j + 2 * r + 1]};
        }
      }
    }
    position += part.tiles;
  }
}

template <typename T, int kDim>
__global__ void __launch_bounds__(kThreads, 1)
    prefix_kernel(const __grid_constant__ CUtensorMap keys,
                  const __grid_constant__ CUtensorMap values, const Call call) {
  extern __shared__ unsigned char shared[];
  const Ring<kDim> ring(shared);
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      sm90::init_barrier(&ring.full[s], 1);
      sm90::init_barrier(&ring.empty[s], kConsumers / 32);
    }
    sm90::fence_barrier_init();
    sm90::prefetch_map(&keys);
    sm90::prefetch_map(&values);
  }
  __syncthreads();
  // In this order: the next kernel relies on all before this one being complete when it starts.
  sm90::wait_for_previous();
  sm90::let_next_start();

  const Cut cut = call.workspace.header->prefixes;
  const int cta = static_cast<int>(blockIdx.x);
  if (cut.tiles == 0 || cta >= cut.ctas) return;
  const int begin = cut.begin(cta), end = cut.begin(cta + 1);
  if (threadIdx.x >= kConsumers) {
    sm90::give_registers<40>();
    produce<kDim>(call, ring, &keys, &values, begin, end);
  } else {
    sm90::take_registers<232>();
    consume<T, kDim>(call, ring, begin, end);
  }
}

template <typename T, int kDim>
void launch_prefix(const Launch& on, const CUtensorMap& keys, const CUtensorMap& values,
                   const Call& call) {
  constexpr size_t kShared = Ring<kDim>::kShared;
  static const bool allowed [[maybe_unused]] =
      allow_shared_bytes("decode_attention", prefix_kernel<T, kDim>, kShared);
  launch("decode_attention", on,
         {dim3(static_cast<unsigned>(multiprocessors())), dim3(kThreads), kShared},
         prefix_kernel<T, kDim>, keys, values, call);
}

}  // namespace

void attend_prefixes(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                     const SharedPrefixes& prefixes, const AttentionCall& call,
                     const Workspace& workspace) {
  Call kernel_call = {};
  kernel_call.workspace = workspace;
  kernel_call.q = call.q;
  kernel_call.blocks = rows.blocks;
  kernel_call.members = prefixes.members;
  kernel_call.num_kv_heads = layer.num_kv_heads;
  kernel_call.heads = call.num_q_heads / layer.num_kv_heads;
  kernel_call.block_size = Divider(layer.block_size);
  kernel_call.box_rows = layer.block_size % 64 == 0 ? 64 : layer.block_size % 32 == 0 ? 32 : 16;
  kernel_call.cache_rows = layer.num_blocks * layer.num_kv_heads * layer.block_size;
  kernel_call.scale_log2 = call.scale * 1.44269504f;
  const auto map_of = [&](const void* cache) {
    return make_tensor_map(cache, layer.dtype, kernel_call.cache_rows, layer.head_dim,
                           layer.head_dim, kernel_call.box_rows);
  };
  const CUtensorMap keys = map_of(layer.keys), values = map_of(layer.values);
  if (layer.dtype == DType::kBF16) {
    layer.head_dim == 64 ? launch_prefix<__nv_bfloat16, 64>(on, keys, values, kernel_call)
                         : launch_prefix<__nv_bfloat16, 128>(on, keys, values, kernel_call);
  } else {
    layer.head_dim == 64 ? launch_prefix<__half, 64>(on, keys, values, kernel_call)
                         : launch_prefix<__half, 128>(on, keys, values, kernel_call);
  }
}

}  // namespace octavo::cuda::decode
