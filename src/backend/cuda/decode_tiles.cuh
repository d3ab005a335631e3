// What the two halves of the decode kernel (decode_attention.cu) share: its arguments, the tiles
// that go from the producers to the consumers, and the layout of shared memory.
#pragma once

#include <cstdint>

#include "backend/cuda/decode_plan.cuh"

namespace octavo::cuda::decode {

inline constexpr int kConsumerWarps = 4;
inline constexpr int kConsumers = 32 * kConsumerWarps;
inline constexpr int kThreads = kConsumers + 2 * 32;
inline constexpr int kMaxStages = 8;
static_assert(2 * kConsumerWarps == kPieceTokens);

// Where the rows' queries, keys and values come from the projection as they are (elementwise.h).
struct Projection {
  const void* qkv;  // null: they do not
  const float* cos_sin;
  const float *q_norm, *k_norm;
  float norm_eps;
  int rotary_dims;
};

struct Call {
  Workspace workspace;
  Projection projection;
  void *keys, *values;
  const void* q;
  void* out;
  const int32_t* blocks;
  int num_rows;
  int num_kv_heads;
  int heads;  // query heads per KV head
  Divider block_size;
  int stages;
  float scale_log2;      // scores to units of log 2
  bool behind_prefixes;  // attend_prefixes() was launched just before
  bool early;            // as in decode_attention()
};

// What the producers say of a tile. The fields from first_cta on are set with kLast.
struct alignas(16) TileInfo {
  enum Flags { kFirst = 1, kLast = 2, kStop = 4, kNewest = 8 };
  int32_t flags;
  int32_t begin, end;  // the valid tokens within the tile
  int32_t head;
  int32_t token;
  int32_t first_cta;     // in whose slice the item begins
  int32_t contributors;  // CTAs behind it that share the item
  int32_t prefix_slot;   // the first of prefix_slots partial results of the shared prefix
  int32_t prefix_slots;
  int32_t prefix_row;             // of the first query head in a slot
  int32_t new_block, new_offset;  // with kNewest, where the row's last token lies in the cache
};
static_assert(sizeof(TileInfo) == 48);

// Sizes and offsets in shared memory. Barriers, tile infos, the norms of q and k and the ring come
// first, then what the consumers join their results in.
template <int kDim, int kHeadTiles>
struct Layout {
  static constexpr int kHeads = 8 * kHeadTiles;
  static constexpr int kPieceBytes = kPieceTokens * kDim * 2;
  static constexpr int kPieceStride = kPieceBytes + 16;
  static constexpr int kQueryStride = kDim * 2 + 16;
  static constexpr int kValues = kPieces * kPieceStride;
  static constexpr int kQueries = 2 * kValues;
  static constexpr int kNewKey = kQueries + kHeads * kQueryStride;
  static constexpr int kNewValue = kNewKey + kDim * 2;
  static constexpr int kTurn = kNewValue + kDim * 2;  // cosines and sines of the last position
  static constexpr int kStageBytes = kTurn + kDim * 4;

  static constexpr int kInfos = 2 * kMaxStages * 8;
  static constexpr int kNorms = kInfos + kMaxStages * static_cast<int>(sizeof(TileInfo));
  static constexpr int kRing = kNorms + 2 * kDim * 4;

  static constexpr int kJoinStride = kDim + 4;  // floats; spreads the heads over the banks
  __host__ __device__ static int stats(int stages) { return kRing + stages * kStageBytes; }
  __host__ __device__ static int join(int stages) {
    return stats(stages) + kConsumerWarps * kHeads * 8;
  }
  __host__ __device__ static int bytes(int stages, int heads) {
    return join(stages) + kConsumerWarps * heads * kJoinStride * 4;
  }
};

}  // namespace octavo::cuda::decode
