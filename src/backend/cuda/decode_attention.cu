// decode_attention(): one CTA per slice of the plan (decode_plan.cuh). Two warps walk the slice's
// tiles and have the copy engine bring them into a ring in shared memory, one the keys and queries,
// the other the values. Four warps consume.
//
// A tile is 64 tokens of keys and of values, copied in pieces of 8 tokens (which lie together in
// the cache) to places that are 16 bytes further apart than a piece is long. The i-th tokens of the
// eight pieces are then in different banks, so they make a matrix that ldmatrix reads at full rate:
// the order of the tokens within a tile does not matter. Warp w takes the tokens 2 w and 2 w + 1 of
// every piece, 16 in all, and computes with the tokens (then the dims) as the 16 rows of the
// product and 8 query heads as its columns:
//   S^T [16 tokens, heads] = K Q^T      O^T [head_dim, heads] += V^T P^T
// Each warp keeps its own maximum, sum and O; they are joined when the item ends.

#include "backend/cuda/decode_attention.h"
#include "backend/cuda/decode_mma.cuh"
#include "backend/cuda/decode_plan.cuh"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/sm90.cuh"

namespace octavo::cuda {
namespace decode {
namespace {

constexpr int kConsumerWarps = 4;
constexpr int kConsumers = 32 * kConsumerWarps;
constexpr int kThreads = kConsumers + 2 * 32;
constexpr int kMaxStages = 8;
static_assert(2 * kConsumerWarps == kPieceTokens);

struct Call {
  Workspace workspace;
  const void *keys, *values, *q;
  void* out;
  const int32_t* blocks;
  int num_rows;
  int num_kv_heads;
  int heads;  // query heads per KV head
  Divider block_size;
  int stages;
  float scale_log2;      // scores to units of log 2
  bool behind_prefixes;  // attend_prefixes() was launched just before
};

// What the producer says of a tile. The fields from first_cta on are set with kLast.
struct alignas(16) TileInfo {
  enum Flags { kFirst = 1, kLast = 2, kStop = 4 };
  int32_t flags;
  int32_t begin, end;  // the valid tokens within the tile
  int32_t head;
  int32_t token;
  int32_t first_cta;     // in whose slice the item begins
  int32_t contributors;  // CTAs behind it that share the item
  int32_t prefix_slot;   // the first of prefix_slots partial results of the shared prefix
  int32_t prefix_slots;
  int32_t prefix_row;  // of the first query head in a slot
};

// Sizes and offsets in shared memory. Barriers, tile infos and the ring come first, then what the
// consumers join their results in.
template <int kDim, int kHeadTiles>
struct Layout {
  static constexpr int kHeads = 8 * kHeadTiles;
  static constexpr int kPieceBytes = kPieceTokens * kDim * 2;
  static constexpr int kPieceStride = kPieceBytes + 16;
  static constexpr int kQueryStride = kDim * 2 + 16;
  static constexpr int kValues = kPieces * kPieceStride;
  static constexpr int kQueries = 2 * kValues;
  static constexpr int kStageBytes = kQueries + kHeads * kQueryStride;

  static constexpr int kInfos = 2 * kMaxStages * 8;
  static constexpr int kRing = kInfos + kMaxStages * static_cast<int>(sizeof(TileInfo));

  static constexpr int kJoinStride = kDim + 4;  // floats; spreads the heads over the banks
  __host__ __device__ static int stats(int stages) { return kRing + stages * kStageBytes; }
  __host__ __device__ static int join(int stages) {
    return stats(stages) + kConsumerWarps * kHeads * 8;
  }
  __host__ __device__ static int bytes(int stages, int heads) {
    return join(stages) + kConsumerWarps * heads * kJoinStride * 4;
  }
};

// --- Producer

// Steps through the tiles of a slice.
struct Walk {
  RowPlan row, following;
  int index, head, tile;

  __device__ Walk(const RowPlan* rows, const CtaPlan& plan)
      : row(plan.first), index(plan.row), head(plan.head), tile(plan.tile) {
    following = rows[index + 1];
  }
  // REQUIRES: there is a next tile.
  __device__ void step(const RowPlan* rows, int num_kv_heads) {
    if (++tile < row.tiles()) return;
    tile = 0;
    if (++head < num_kv_heads) return;
    head = 0;
    do {
      row = following;
      following = rows[++index + 1];
    } while (row.tiles() == 0);
  }
};

// `keys`: this warp copies the keys and queries and writes the tile infos; otherwise it copies the
// values.
template <typename T, int kDim, int kHeadTiles>
__device__ void produce(const Call& call, unsigned char* shared, bool keys) {
  using L = Layout<kDim, kHeadTiles>;
  uint64_t* full = reinterpret_cast<uint64_t*>(shared);
  uint64_t* empty = full + kMaxStages;
  TileInfo* infos = reinterpret_cast<TileInfo*>(shared + L::kInfos);
  const Workspace& w = call.workspace;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int cta = static_cast<int>(blockIdx.x);
  const CtaPlan& plan = w.ctas[cta];
  const int tiles = plan.tiles, begin_row = plan.row, begin_head = plan.head;
  const bool begins_inside = plan.tile > 0;
  const int first_block = lane < kPieces ? plan.blocks[lane] : 0;
  const Cut cut = w.header->rows;

  // Lanes 0-7 copy a piece each, 8-23 the queries of a head.
  const T* cache = static_cast<const T*>(keys ? call.keys : call.values);
  const int piece_offset = (keys ? 0 : L::kValues) + lane * L::kPieceStride;
  struct Source {
    bool wanted;
    int block, offset;  // of the piece's first token in the block
  };
  const auto find_source = [&](const Walk& walk, bool first) {
    const int token = (walk.row.base() + walk.tile) * kTileTokens + lane * kPieceTokens;
    Source source = {};
    source.wanted = lane < kPieces && token + kPieceTokens > walk.row.begin && token < walk.row.end;
    const int index = call.block_size.quotient(token);
    source.offset = call.block_size.remainder(token, index);
    source.block = first_block;
    if (source.wanted && !first) source.block = call.blocks[walk.row.block_begin + index];
    return source;
  };
  const auto describe = [&](const Walk& walk, bool first, bool last) {
    const RowPlan& row = walk.row;
    TileInfo info = {};
    const int tile_begin = (row.base() + walk.tile) * kTileTokens;
    info.flags = (first ? TileInfo::kFirst : 0) | (last ? TileInfo::kLast : 0);
    info.begin = max(row.begin - tile_begin, 0);
    info.end = min(row.end - tile_begin, kTileTokens);
    info.head = walk.head;
    info.token = row.token;
    info.first_cta = cta;
    if (!last) return info;
    const bool began_before = begins_inside && walk.index == begin_row && walk.head == begin_head;
    const int item_begin = row.first_tile + walk.head * row.tiles();
    if (began_before) info.first_cta = cut.owner(item_begin);
    if (walk.tile + 1 < row.tiles())
      info.contributors = cut.owner(item_begin + row.tiles() - 1) - cta;
    if (row.group >= 0) {
      const GroupPlan group = w.groups[row.group];
      const Cut prefixes = w.header->prefixes;
      const int members = members_per_tile(call.heads);
      const int number = walk.head * group.query_tiles + row.member / members;
      const int begin = group.first_tile + number * group.tiles;
      const int first_cta = prefixes.owner(begin);
      info.prefix_slot = group.first_item + number + first_cta;
      info.prefix_slots = prefixes.owner(begin + group.tiles - 1) - first_cta + 1;
      info.prefix_row = row.member % members * call.heads;
    }
    return info;
  };

  int stage = 0;
  uint32_t parity = 1;  // the ring is empty at first
  if (tiles > 0) {
    Walk next(w.rows, plan);
    Source next_source = find_source(next, true);  // one tile ahead: its latency passes unnoticed
    for (int n = 0; n < tiles; ++n) {
      const Walk walk = next;
      const Source source = next_source;
      if (n + 1 < tiles) {
        next.step(w.rows, call.num_kv_heads);
        next_source = find_source(next, false);
      }
      const bool first = n == 0 || walk.tile == 0;
      unsigned char* buffer = shared + L::kRing + stage * L::kStageBytes;
      sm90::wait(&empty[stage], parity);
      if (source.wanted) {
        const int64_t block = int64_t{source.block} * call.num_kv_heads + walk.head;
        const int64_t line = block * call.block_size.divisor + source.offset;
        sm90::bulk_load(buffer + piece_offset, cache + line * kDim, L::kPieceBytes, &full[stage],
                        sm90::kEvictFirst);
      }
      if (keys) {
        if (const int h = lane - kPieces; first && h >= 0 && h < call.heads) {
          const int64_t line =
              (int64_t{walk.row.token} * call.num_kv_heads + walk.head) * call.heads + h;
          sm90::bulk_load(buffer + L::kQueries + h * L::kQueryStride,
                          static_cast<const T*>(call.q) + line * kDim, kDim * 2, &full[stage]);
        }
        // A stage cannot fill before its bytes have been announced, so the copies may go first.
        const bool last = n + 1 == tiles || walk.tile + 1 == walk.row.tiles();
        const TileInfo info = describe(walk, first, last);
        if (lane == 0) {
          const int pieces =
              (info.end + kPieceTokens - 1) / kPieceTokens - info.begin / kPieceTokens;
          infos[stage] = info;
          sm90::arrive_expecting(&full[stage],
                                 static_cast<uint32_t>(pieces * 2 * L::kPieceBytes +
                                                       (first ? call.heads * kDim * 2 : 0)));
        }
      }
      __syncwarp();
      if (++stage == call.stages) stage = 0, parity ^= 1;
    }
  }
  if (!keys) return;
  sm90::wait(&empty[stage], parity);
  if (lane == 0) {
    infos[stage].flags = TileInfo::kStop;
    sm90::arrive(&full[stage]);
  }

  // Padding has no tiles; its zeros are written here.
  for (int r = cta; r < call.num_rows; r += static_cast<int>(gridDim.x)) {
    const RowPlan row = w.rows[r];
    if (row.end > 0) continue;
    const int64_t width = int64_t{call.num_kv_heads} * call.heads * kDim;
    uint4* out = reinterpret_cast<uint4*>(static_cast<T*>(call.out) + row.token * width);
    for (int i = lane; i < width / 8; i += 32) out[i] = {};
  }
}

// --- Consumers

__device__ __forceinline__ int load_acquire(const int32_t* pointer) {
  int value;
  asm volatile("ld.acquire.gpu.global.b32 %0, [%1];" : "=r"(value) : "l"(pointer) : "memory");
  return value;
}

// Four dims of one head's result, unnormalised.
struct Sum {
  float m = -INFINITY, l = 0;
  float4 o = {};

  __device__ __forceinline__ void add(float2 ml, const float4& other) {
    const float top = fmaxf(m, ml.x);
    const float base = top == -INFINITY ? 0 : top;
    const float mine = exp2_fast(m - base), its = exp2_fast(ml.x - base);
    m = top;
    l = l * mine + ml.y * its;
    o.x = o.x * mine + other.x * its;
    o.y = o.y * mine + other.y * its;
    o.z = o.z * mine + other.z * its;
    o.w = o.w * mine + other.w * its;
  }
};

// Adds the partial results of the slots [first, first + count), in order, several loads in flight.
// The loads pass the L1 cache by: other SMs wrote these.
__device__ void add_partials(Sum& sum, const Partials& from, int dims, int first, int count,
                             int row, int dim) {
  constexpr int kBatch = 8;
  for (int k = 0; k < count; k += kBatch) {
    float2 ml[kBatch];
    float4 o[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      ml[j] = {-INFINITY, 0};
      o[j] = {};
      if (k + j < count) {
        const int64_t line = int64_t{first + k + j} * from.rows + row;
        ml[j] = __ldcg(from.ml + line);
        o[j] = __ldcg(reinterpret_cast<const float4*>(from.o + line * dims + dim));
      }
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) sum.add(ml[j], o[j]);
  }
}

template <typename T, int kDim, int kHeadTiles>
struct Consumer {
  using L = Layout<kDim, kHeadTiles>;
  static constexpr int kSteps = kDim / 16;

  const Call& call;
  unsigned char* shared;
  int warp = static_cast<int>(threadIdx.x) / 32;
  int lane = static_cast<int>(threadIdx.x) % 32;

  uint32_t q[kHeadTiles][kSteps][2];
  float o[kHeadTiles][kSteps][4];  // dims 16 step + g and + 8, heads 2 t and 2 t + 1
  float m[kHeadTiles][2];          // of heads 2 t and 2 t + 1, the same in all lanes of t
  float l[kHeadTiles][2];          // of this lane's tokens

  __device__ Consumer(const Call& c, unsigned char* s) : call(c), shared(s) {}

  __device__ __forceinline__ void begin_item(uint32_t stage) {
    const uint32_t queries = stage + L::kQueries + lane % 8 * L::kQueryStride + lane / 8 % 2 * 16;
#pragma unroll
    for (int n = 0; n < kHeadTiles; ++n) {
#pragma unroll
      for (int k = 0; k < kSteps; ++k) {
        load_matrices(q[n][k], queries + n * 8 * L::kQueryStride + k * 32);
#pragma unroll
        for (int i = 0; i < 4; ++i) o[n][k][i] = 0;
      }
      m[n][0] = m[n][1] = -INFINITY;
      l[n][0] = l[n][1] = 0;
    }
  }

  // `begin`, `end`: the valid tokens of the tile.
  __device__ __forceinline__ void add_tile(uint32_t stage, int begin, int end) {
    const int g = lane / 4, t = lane % 4;
    float s[2][kHeadTiles][4] = {};  // even and odd steps: two chains of dependent products
    const uint32_t keys = stage + lane % 8 * L::kPieceStride +
                          (2 * warp + lane / 8 % 2) * (kDim * 2) + lane / 16 * 16;
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      uint32_t a[4];
      load_matrices(a, keys + k * 32);
#pragma unroll
      for (int n = 0; n < kHeadTiles; ++n) multiply<T>(s[k % 2][n], a, q[n][k]);
    }

    // Row g of the product is token 8 g + 2 warp, row g + 8 the next.
    const int token = kPieceTokens * g + 2 * warp;
    const bool valid[2] = {token >= begin && token < end, token + 1 >= begin && token + 1 < end};
    uint32_t p[kHeadTiles][2];
#pragma unroll
    for (int n = 0; n < kHeadTiles; ++n) {
      float x[4], top[2];
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = valid[i / 2] ? s[0][n][i] + s[1][n][i] : -INFINITY;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        top[i] = fmaxf(x[i], x[i + 2]);
        for (int step = 4; step < 32; step *= 2)
          top[i] = fmaxf(top[i], __shfl_xor_sync(~0u, top[i], step));
        top[i] = fmaxf(m[n][i], top[i] * call.scale_log2);
      }
      if (__any_sync(~0u, top[0] != m[n][0] || top[1] != m[n][1])) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float factor = top[i] == -INFINITY ? 1 : exp2_fast(m[n][i] - top[i]);
          m[n][i] = top[i];
          l[n][i] *= factor;
#pragma unroll
          for (int k = 0; k < kSteps; ++k) {
            o[n][k][i] *= factor;
            o[n][k][i + 2] *= factor;
          }
        }
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float base = m[n][i % 2] == -INFINITY ? 0 : m[n][i % 2];
        x[i] = exp2_fast(x[i] * call.scale_log2 - base);
        l[n][i % 2] += x[i];
      }
      p[n][0] = transpose(pack2<T>(x[0], x[1]));
      p[n][1] = transpose(pack2<T>(x[2], x[3]));
    }

    // Values of other tokens may be anything, NaN too, which 0 does not cancel. The columns of A
    // are the tokens of rows 2 t and 2 t + 1 above, then those behind them.
    uint32_t mask[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int low = kPieceTokens * 2 * t + 2 * warp + i, high = low + kPieceTokens;
      mask[i] = (low >= begin && low < end ? 0x0000FFFFu : 0) |
                (high >= begin && high < end ? 0xFFFF0000u : 0);
    }
    const uint32_t values = stage + L::kValues + lane % 8 * L::kPieceStride +
                            (2 * warp + lane / 16) * (kDim * 2) + lane / 8 % 2 * 16;
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      uint32_t a[4];
      load_matrices_transposed(a, values + k * 32);
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] &= mask[i / 2];
#pragma unroll
      for (int n = 0; n < kHeadTiles; ++n) multiply<T>(o[n][k], a, p[n]);
    }
  }

  // Joins the warps' results, and in a cut item those of the CTAs.
  __device__ void end_item(const TileInfo& info) {
    const int g = lane / 4, t = lane % 4;
    float2* stats = reinterpret_cast<float2*>(shared + L::stats(call.stages));
    float* join = reinterpret_cast<float*>(shared + L::join(call.stages));
    const int heads = call.heads;
#pragma unroll
    for (int n = 0; n < kHeadTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float sum = l[n][i];
        for (int step = 4; step < 32; step *= 2) sum += __shfl_xor_sync(~0u, sum, step);
        const int head = 8 * n + 2 * t + i;
        if (head >= heads) continue;
        if (g == 0) stats[warp * L::kHeads + head] = {m[n][i], sum};
        float* line = join + (warp * heads + head) * L::kJoinStride + g;
#pragma unroll
        for (int k = 0; k < kSteps; ++k) {
          line[16 * k] = o[n][k][i];
          line[16 * k + 8] = o[n][k][i + 2];
        }
      }
    }
    sm90::named_barrier(1, kConsumers);

    const Partials& cut = call.workspace.cut;
    const auto for_each_part = [&](auto&& body) {  // four dims of a head
      for (int i = static_cast<int>(threadIdx.x); i < heads * (kDim / 4); i += kConsumers)
        body(i / (kDim / 4), i % (kDim / 4) * 4);
    };
    const auto join_warps = [&](int head, int dim) {
      Sum sum;
      for (int i = 0; i < kConsumerWarps; ++i) {
        sum.add(stats[i * L::kHeads + head],
                *reinterpret_cast<const float4*>(join + (i * heads + head) * L::kJoinStride + dim));
      }
      return sum;
    };
    int32_t* arrivals = call.workspace.arrivals + info.first_cta;
    const int cta = static_cast<int>(blockIdx.x);

    if (info.first_cta != cta) {
      for_each_part([&](int head, int dim) {
        const Sum sum = join_warps(head, dim);
        const int64_t line = int64_t{cta} * heads + head;
        *reinterpret_cast<float4*>(cut.o + line * kDim + dim) = sum.o;
        if (dim == 0) cut.ml[line] = {sum.m, sum.l};
      });
      __threadfence();
      sm90::named_barrier(1, kConsumers);  // the next item may write, too
      if (threadIdx.x == 0) atomicAdd(arrivals, 1);
      return;
    }

    if (info.prefix_slots > 0) sm90::wait_for_previous();
    while (info.contributors > 0 && load_acquire(arrivals) < info.contributors) {
    }
    for_each_part([&](int head, int dim) {
      Sum sum = join_warps(head, dim);
      add_partials(sum, cut, kDim, cta + 1, info.contributors, head, dim);
      add_partials(sum, call.workspace.prefix, kDim, info.prefix_slot, info.prefix_slots,
                   info.prefix_row + head, dim);
      const float scale = 1 / sum.l;
      const int64_t line = (int64_t{info.token} * call.num_kv_heads + info.head) * heads + head;
      *reinterpret_cast<uint2*>(static_cast<T*>(call.out) + line * kDim + dim) = {
          pack2<T>(sum.o.x * scale, sum.o.y * scale), pack2<T>(sum.o.z * scale, sum.o.w * scale)};
    });
    sm90::named_barrier(1, kConsumers);                            // the next item may write
    if (info.contributors > 0 && threadIdx.x == 0) *arrivals = 0;  // for the next layer
  }

  __device__ void run() {
    uint64_t* full = reinterpret_cast<uint64_t*>(shared);
    uint64_t* empty = full + kMaxStages;
    const TileInfo* infos = reinterpret_cast<const TileInfo*>(shared + L::kInfos);
    for (int stage = 0, parity = 0;;) {
      sm90::wait(&full[stage], static_cast<uint32_t>(parity));
      const TileInfo info = infos[stage];
      if (info.flags & TileInfo::kStop) break;
      const uint32_t buffer = sm90::shared_address(shared + L::kRing + stage * L::kStageBytes);
      if (info.flags & TileInfo::kFirst) begin_item(buffer);
      add_tile(buffer, info.begin, info.end);
      __syncwarp();
      if (lane == 0) sm90::arrive(&empty[stage]);
      if (info.flags & TileInfo::kLast) end_item(info);
      if (++stage == call.stages) stage = 0, parity ^= 1;
    }
  }
};

template <typename T, int kDim, int kHeadTiles>
__global__ __launch_bounds__(kThreads, kDim <= 128 ? 2 : 1) void decode_kernel(const Call call) {
  using L = Layout<kDim, kHeadTiles>;
  extern __shared__ __align__(128) unsigned char shared[];
  uint64_t* full = reinterpret_cast<uint64_t*>(shared);
  uint64_t* empty = full + kMaxStages;
  sm90::let_next_start();
  const int tid = static_cast<int>(threadIdx.x);
  if (tid == 0) {
    for (int s = 0; s < call.stages; ++s) {
      sm90::init_barrier(&full[s], 1);
      sm90::init_barrier(&empty[s], kConsumerWarps);
    }
    sm90::fence_barrier_init();
  }
  // Query rows without a head stay zero, which keeps their scores finite.
  for (int i = tid; i < call.stages * L::kHeads * (L::kQueryStride / 16); i += kThreads) {
    const int row = i / (L::kQueryStride / 16), column = i % (L::kQueryStride / 16);
    if (row % L::kHeads < call.heads) continue;
    *reinterpret_cast<uint4*>(shared + L::kRing + row / L::kHeads * L::kStageBytes + L::kQueries +
                              row % L::kHeads * L::kQueryStride + column * 16) = {};
  }
  __syncthreads();
  // The kernel of the prefixes lets this one start when all before it is complete; its own results
  // are needed only at the end of an item.
  if (!call.behind_prefixes) sm90::wait_for_previous();

  if (tid >= kConsumers) {
    produce<T, kDim, kHeadTiles>(call, shared, tid < kConsumers + 32);
  } else {
    Consumer<T, kDim, kHeadTiles>(call, shared).run();
  }
  sm90::wait_for_previous();
}

template <typename T, int kDim, int kHeadTiles>
void launch_decode(const Launch& on, Call call) {
  using L = Layout<kDim, kHeadTiles>;
  constexpr int kMaxShared = 227 * 1024, kSharedPerSm = 228 * 1024;
  static const bool allowed [[maybe_unused]] =
      allow_shared_bytes("decode_attention", decode_kernel<T, kDim, kHeadTiles>, kMaxShared);
  const int per_sm = ctas_per_sm(call.num_rows, call.num_kv_heads);
  call.stages = (per_sm == 1 ? 104 : 72) * 1024 / L::kStageBytes;
  call.stages = call.stages < 2 ? 2 : call.stages > kMaxStages ? kMaxStages : call.stages;
  // No more CTAs fit an SM than planned, or some SMs would get more than their share.
  const int least = kSharedPerSm / (per_sm + 1) - 1024 + 16;
  const int bytes = L::bytes(call.stages, call.heads);
  launch("decode_attention", on,
         {dim3(static_cast<unsigned>(multiprocessors() * per_sm)), dim3(kThreads),
          static_cast<size_t>(bytes < least ? least : bytes)},
         decode_kernel<T, kDim, kHeadTiles>, call);
}

template <typename T, int kDim>
void launch_for_heads(const Launch& on, const Call& call) {
  if (call.heads <= 8) {
    launch_decode<T, kDim, 1>(on, call);
  } else {
    launch_decode<T, kDim, 2>(on, call);
  }
}

template <typename T>
void launch_for_type(const Launch& on, int head_dim, const Call& call) {
  switch (head_dim) {
    case 16:
      return launch_for_heads<T, 16>(on, call);
    case 32:
      return launch_for_heads<T, 32>(on, call);
    case 64:
      return launch_for_heads<T, 64>(on, call);
    case 80:
      return launch_for_heads<T, 80>(on, call);
    case 96:
      return launch_for_heads<T, 96>(on, call);
    case 128:
      return launch_for_heads<T, 128>(on, call);
    case 256:
      return launch_for_heads<T, 256>(on, call);
  }
}

}  // namespace
}  // namespace decode

bool decode_attention_takes(const PagedLayer& layer, int num_q_heads) {
  const bool known_type = layer.dtype == DType::kBF16 || layer.dtype == DType::kF16;
  bool known_dim = false;
  for (int dim : {16, 32, 64, 80, 96, 128, 256}) known_dim |= layer.head_dim == dim;
  return known_type && known_dim && layer.num_kv_heads > 0 && layer.block_size % 16 == 0 &&
         num_q_heads % layer.num_kv_heads == 0 && num_q_heads <= 16 * layer.num_kv_heads;
}

void decode_attention(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                      const SharedPrefixes& prefixes, const AttentionCall& call, void* workspace) {
  using namespace decode;
  if (rows.num_decode_rows == 0) return;
  Call kernel_call = {};
  carve_workspace(workspace,
                  {rows.num_decode_rows, call.num_q_heads, layer.num_kv_heads, layer.head_dim},
                  &kernel_call.workspace);
  kernel_call.keys = layer.keys;
  kernel_call.values = layer.values;
  kernel_call.q = call.q;
  kernel_call.out = call.out;
  kernel_call.blocks = rows.blocks;
  kernel_call.num_rows = rows.num_decode_rows;
  kernel_call.num_kv_heads = layer.num_kv_heads;
  kernel_call.heads = call.num_q_heads / layer.num_kv_heads;
  kernel_call.block_size = Divider(layer.block_size);
  kernel_call.scale_log2 = call.scale * 1.44269504f;
  if (prefixes_served(layer, call.num_q_heads, prefixes) && !call.batch_invariant) {
    attend_prefixes(on, layer, rows, prefixes, call, kernel_call.workspace);
    kernel_call.behind_prefixes = on.overlap;
  }
  if (layer.dtype == DType::kBF16) {
    launch_for_type<__nv_bfloat16>(on, layer.head_dim, kernel_call);
  } else {
    launch_for_type<__half>(on, layer.head_dim, kernel_call);
  }
}

}  // namespace octavo::cuda
