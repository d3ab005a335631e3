// The producers of the decode kernel: two warps that walk the tiles of a slice and have the copy
// engine bring them into the ring, one the keys, the queries and what is appended, the other the
// values.
#pragma once

#include "backend/cuda/decode_tiles.cuh"
#include "backend/cuda/sm90.cuh"

namespace octavo::cuda::decode {

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

  // Lanes 0-7 copy a piece each, 8-23 the query of a head, 24-26 what is appended.
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
  const Projection& projection = call.projection;
  const bool appends = projection.qkv != nullptr;
  // The queries of an item, and the row of the projection that they are in.
  const int projected_heads = call.num_kv_heads * (call.heads + (appends ? 2 : 0));
  const T* projected = static_cast<const T*>(appends ? projection.qkv : call.q);
  const auto load_queries = [&](const Walk& walk, unsigned char* buffer, uint64_t* barrier) {
    const int h = lane - kPieces;
    if (h < 0 || h >= call.heads) return;
    const int64_t line = int64_t{walk.row.token} * projected_heads + walk.head * call.heads + h;
    sm90::bulk_load(buffer + L::kQueries + h * L::kQueryStride, projected + line * kDim, kDim * 2,
                    barrier);
  };
  const auto load_newest = [&](const Walk& walk, bool newest, unsigned char* buffer,
                               uint64_t* barrier) {
    if (lane == 24 && projection.rotary_dims > 0) {
      sm90::bulk_load(buffer + L::kTurn,
                      projection.cos_sin + int64_t{walk.row.end - 1} * projection.rotary_dims,
                      static_cast<uint32_t>(projection.rotary_dims * 4), barrier);
    }
    if (newest && (lane == 25 || lane == 26)) {
      const int head = call.num_kv_heads * (call.heads + lane - 25) + walk.head;
      sm90::bulk_load(buffer + (lane == 25 ? L::kNewKey : L::kNewValue),
                      projected + (int64_t{walk.row.token} * projected_heads + head) * kDim,
                      kDim * 2, barrier);
    }
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
        const bool ends_item = walk.tile + 1 == walk.row.tiles();
        const bool newest = appends && ends_item;
        if (first) load_queries(walk, buffer, &full[stage]);
        if (appends && (first || newest)) load_newest(walk, newest, buffer, &full[stage]);
        // A stage cannot fill before its bytes have been announced, so the copies may go first.
        TileInfo info = describe(walk, first, n + 1 == tiles || ends_item);
        const int piece = (info.end - 1) / kPieceTokens;  // of the tile's last token
        info.new_block = __shfl_sync(~0u, source.block, piece);
        info.new_offset = __shfl_sync(~0u, source.offset, piece) + (info.end - 1) % kPieceTokens;
        if (newest) info.flags |= TileInfo::kNewest;
        if (lane == 0) {
          const int pieces = piece + 1 - info.begin / kPieceTokens;
          int bytes = pieces * 2 * L::kPieceBytes;
          if (first) bytes += call.heads * kDim * 2;
          if (appends && (first || newest)) bytes += projection.rotary_dims * 4;
          if (newest) bytes += 2 * kDim * 2;
          infos[stage] = info;
          sm90::arrive_expecting(&full[stage], static_cast<uint32_t>(bytes));
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

}  // namespace octavo::cuda::decode
