// The producers of the decode kernel: two warps that walk the tiles of the CTA's slice and have the
// copy engine bring them into the ring. One brings the cached keys, the other the queries and what
// is appended, and says what each tile is. Both bring values: see produce_cached().
//
// A stage cannot fill before the second warp has announced its bytes, so the first may be ahead of
// it by as much as the ring holds. With Call::early it begins while the kernel before this one
// still runs, and so does the second with all that depends on the plan alone.
#pragma once

#include "backend/cuda/decode_tiles.cuh"
#include "backend/cuda/ring.cuh"
#include "backend/cuda/sm90.cuh"

namespace octavo::cuda::decode {

// Steps through the tiles of a slice. REQUIRES: it has some.
struct Walk {
  const RowPlan* rows;
  int num_kv_heads;
  RowPlan row, following;
  int index, head, tile;

  __device__ Walk(const Call& call, const CtaPlan& plan)
      : rows(call.workspace.rows),
        num_kv_heads(call.num_kv_heads),
        row(plan.first),
        following(rows[plan.row + 1]),
        index(plan.row),
        head(plan.head),
        tile(plan.tile) {}
  __device__ int first_token() const { return (row.base() + tile) * kTileTokens; }
  __device__ bool ends_item() const { return tile + 1 == row.tiles(); }
  // REQUIRES: there is a next tile.
  __device__ void step() {
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

// What a lane copies of each tile: a piece of the keys or of the values.
template <typename T, int kDim, int kHeadTiles>
struct Piece {
  using L = Layout<kDim, kHeadTiles>;

  const Call& call;
  bool values;
  int number;

  struct Source {
    bool wanted;
    int head;
    int block, offset;  // of the first token in the block
  };
  // Without `blocks`, where the pieces of this tile lie, the block table says it.
  __device__ __forceinline__ Source find(const Walk& walk, const int32_t* blocks = nullptr) const {
    const int token = walk.first_token() + number * kPieceTokens;
    const int index = call.block_size.quotient(token);
    Source source = {};
    source.wanted = token + kPieceTokens > walk.row.begin && token < walk.row.end;
    source.head = walk.head;
    source.offset = call.block_size.remainder(token, index);
    if (source.wanted)
      source.block = blocks ? blocks[number] : call.blocks[walk.row.block_begin + index];
    return source;
  }
  __device__ __forceinline__ void copy(const Source& source, unsigned char* stage,
                                       uint64_t* barrier) const {
    const T* cache = static_cast<const T*>(values ? call.values : call.keys);
    const int64_t block = int64_t{source.block} * call.num_kv_heads + source.head;
    const int64_t line = block * call.block_size.divisor + source.offset;
    sm90::bulk_load(stage + (values ? L::kValues : 0) + number * L::kPieceStride,
                    cache + line * kDim, L::kPieceBytes, barrier, sm90::kEvictFirst);
  }
};

// Lanes 0-7 copy a piece of the keys each and, until the ring is full, lanes 8-15 one of the
// values. From then on the other warp does that: it has waited by then, and the copies of a warp's
// lanes begin one after the other.
template <typename T, int kDim, int kHeadTiles>
__device__ void produce_cached(const Call& call, unsigned char* shared) {
  using L = Layout<kDim, kHeadTiles>;
  uint64_t* full = reinterpret_cast<uint64_t*>(shared);
  uint64_t* empty = full + kMaxStages;
  const CtaPlan& plan = call.workspace.ctas[blockIdx.x];
  const int tiles = plan.tiles, lane = static_cast<int>(threadIdx.x) % 32;
  if (tiles == 0) return;
  const Piece<T, kDim, kHeadTiles> piece = {call, lane >= kPieces, lane % kPieces};
  Walk walk(call, plan);
  auto next = piece.find(walk, plan.blocks);  // one tile ahead: its latency passes unnoticed
  RingPlace place = {0, 1};
  for (int n = 0; n < tiles; ++n) {
    const auto source = next;
    if (n + 1 < tiles) {
      walk.step();
      next = piece.find(walk);
    }
    sm90::wait(&empty[place.stage], place.parity);
    if (source.wanted && lane < (n < call.stages ? 2 * kPieces : kPieces))
      piece.copy(source, shared + L::kRing + place.stage * L::kStageBytes, &full[place.stage]);
    __syncwarp();
    place.advance(call.stages);
  }
}

// Lanes 0-7 copy the values that produce_cached() leaves, 8-23 the query of a head each, 24-26 what
// is appended.
template <typename T, int kDim, int kHeadTiles>
struct QueryProducer {
  using L = Layout<kDim, kHeadTiles>;

  const Call& call;
  unsigned char* shared;
  int cta = static_cast<int>(blockIdx.x);
  int lane = static_cast<int>(threadIdx.x) % 32;
  bool appends = call.projection.qkv != nullptr;
  const CtaPlan& plan = call.workspace.ctas[cta];
  int tiles = plan.tiles, begin_row = plan.row, begin_head = plan.head;
  bool begins_inside = plan.tile > 0;
  Cut cut = call.workspace.header->rows;

  __device__ QueryProducer(const Call& c, unsigned char* s) : call(c), shared(s) {}

  // A head of a row: in the tokens' queries or, where it appends, in the projection.
  __device__ const T* head_of(const RowPlan& row, int head) const {
    const int heads = call.num_kv_heads * (call.heads + (appends ? 2 : 0));
    const void* from = appends ? call.projection.qkv : call.q;
    return static_cast<const T*>(from) + (int64_t{row.token} * heads + head) * kDim;
  }
  // These return the bytes that are on their way.
  __device__ int load_queries(const Walk& walk, unsigned char* stage, uint64_t* barrier) const {
    const int h = lane - kPieces;
    if (h >= 0 && h < call.heads) {
      sm90::bulk_load(stage + L::kQueries + h * L::kQueryStride,
                      head_of(walk.row, walk.head * call.heads + h), kDim * 2, barrier);
    }
    return call.heads * kDim * 2;
  }
  __device__ int load_turn(const Walk& walk, unsigned char* stage, uint64_t* barrier) const {
    const int dims = call.projection.rotary_dims;
    if (lane == 24 && dims > 0) {
      sm90::bulk_load(stage + L::kTurn, call.projection.cos_sin + int64_t{walk.row.end - 1} * dims,
                      static_cast<uint32_t>(dims * 4), barrier);
    }
    return dims * 4;
  }
  __device__ int load_newest(const Walk& walk, unsigned char* stage, uint64_t* barrier) const {
    if (lane == 25 || lane == 26) {
      const int head = call.num_kv_heads * (call.heads + lane - 25) + walk.head;
      sm90::bulk_load(stage + (lane == 25 ? L::kNewKey : L::kNewValue), head_of(walk.row, head),
                      kDim * 2, barrier);
    }
    return 2 * kDim * 2;
  }

  __device__ TileInfo describe(const Walk& walk, bool first, bool last) const {
    const RowPlan& row = walk.row;
    TileInfo info = {};
    info.flags = (first ? TileInfo::kFirst : 0) | (last ? TileInfo::kLast : 0);
    info.begin = max(row.begin - walk.first_token(), 0);
    info.end = min(row.end - walk.first_token(), kTileTokens);
    info.head = walk.head;
    info.token = row.token;
    info.first_cta = cta;
    if (!last) return info;
    if (appends && walk.ends_item()) info.flags |= TileInfo::kNewest;
    const bool began_before = begins_inside && walk.index == begin_row && walk.head == begin_head;
    const int item_begin = row.first_tile + walk.head * row.tiles();
    if (began_before) info.first_cta = cut.owner(item_begin);
    if (!walk.ends_item()) info.contributors = cut.owner(item_begin + row.tiles() - 1) - cta;
    if (row.group >= 0) add_prefix(row, walk.head, info);
    return info;
  }
  // Where the partial results of the shared prefix lie.
  __device__ void add_prefix(const RowPlan& row, int head, TileInfo& info) const {
    const GroupPlan group = call.workspace.groups[row.group];
    const Cut cut = call.workspace.header->prefixes;
    const int members = members_per_tile(call.heads);
    const int number = head * group.query_tiles + row.member / members;
    const int begin = group.first_tile + number * group.tiles;
    const int first_cta = cut.owner(begin);
    info.prefix_slot = group.first_item + number + first_cta;
    info.prefix_slots = cut.owner(begin + group.tiles - 1) - first_cta + 1;
    info.prefix_row = row.member % members * call.heads;
  }

  __device__ void run() const {
    uint64_t* full = reinterpret_cast<uint64_t*>(shared);
    uint64_t* empty = full + kMaxStages;
    TileInfo* infos = reinterpret_cast<TileInfo*>(shared + L::kInfos);
    const Piece<T, kDim, kHeadTiles> piece = {call, true, lane % kPieces};
    RingPlace place = {0, 1};
    if (tiles > 0) {
      Walk next(call, plan);
      auto next_values = piece.find(next, plan.blocks);  // as above
      for (int n = 0; n < tiles; ++n) {
        const Walk walk = next;
        const auto values = next_values;
        if (n + 1 < tiles) {
          next.step();
          next_values = piece.find(next);
        }
        const bool first = n == 0 || walk.tile == 0;
        TileInfo info = describe(walk, first, n + 1 == tiles || walk.ends_item());
        const bool newest = info.flags & TileInfo::kNewest;
        const int last_piece = (info.end - 1) / kPieceTokens;
        info.new_block = __shfl_sync(~0u, values.block, last_piece);
        info.new_offset =
            __shfl_sync(~0u, values.offset, last_piece) + (info.end - 1) % kPieceTokens;
        sm90::wait(&empty[place.stage], place.parity);
        if (n == 0 && call.early) sm90::wait_for_previous();
        unsigned char* stage = shared + L::kRing + place.stage * L::kStageBytes;
        uint64_t* barrier = &full[place.stage];
        if (n >= call.stages && values.wanted && lane < kPieces) piece.copy(values, stage, barrier);
        int bytes = (last_piece + 1 - info.begin / kPieceTokens) * 2 * L::kPieceBytes;
        if (first) bytes += load_queries(walk, stage, barrier);
        if (newest) bytes += load_newest(walk, stage, barrier);
        if (appends && (first || newest)) bytes += load_turn(walk, stage, barrier);
        if (lane == 0) {
          infos[place.stage] = info;
          sm90::arrive_expecting(barrier, static_cast<uint32_t>(bytes));
        }
        __syncwarp();
        place.advance(call.stages);
      }
    }
    sm90::wait(&empty[place.stage], place.parity);
    if (lane == 0) {
      infos[place.stage].flags = TileInfo::kStop;
      sm90::arrive(&full[place.stage]);
    }
    if (call.early) sm90::wait_for_previous();
    clear_padding();
  }

  // Padding has no tiles; its zeros are written here.
  __device__ void clear_padding() const {
    for (int r = cta; r < call.num_rows; r += static_cast<int>(gridDim.x)) {
      const RowPlan row = call.workspace.rows[r];
      if (row.end > 0) continue;
      const int64_t width = int64_t{call.num_kv_heads} * call.heads * kDim;
      uint4* out = reinterpret_cast<uint4*>(static_cast<T*>(call.out) + row.token * width);
      for (int i = lane; i < width / 8; i += 32) out[i] = {};
    }
  }
};

}  // namespace octavo::cuda::decode
