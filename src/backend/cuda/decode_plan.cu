// plan_decode(): one small CTA that turns the rows' lengths into the plan of decode_plan.cuh.

#include "backend/cuda/decode_attention.h"
#include "backend/cuda/decode_plan.cuh"
#include "backend/cuda/sm90.cuh"
#include "base/rounding.h"

namespace octavo::cuda {
namespace decode {

size_t carve_workspace(void* base, const WorkspaceShape& shape, Workspace* workspace) {
  const int row_ctas = 2 * multiprocessors(), prefix_ctas = multiprocessors();
  const int group = shape.num_q_heads / shape.num_kv_heads;
  size_t used = 0;
  const auto take = [&]<typename T>(T*& pointer, size_t count) {
    pointer = reinterpret_cast<T*>(static_cast<char*>(base) + used);
    used += round_up<size_t>(count * sizeof(T), 256);
  };
  const auto head_dim = static_cast<size_t>(shape.head_dim);
  Workspace w;
  const size_t parts = static_cast<size_t>(row_ctas * group) * head_dim / 4;
  take(w.mail.o, parts);
  take(w.mail.ml, parts);
  take(w.header, 1);
  take(w.ctas, static_cast<size_t>(row_ctas));
  take(w.groups, SharedPrefixes::kMaxGroups);
  take(w.rows, static_cast<size_t>(shape.max_rows) + 1);
  const int members = members_per_tile(group);
  const int query_tiles = divide_up(shape.max_rows, members) + (SharedPrefixes::kMaxGroups - 1);
  const auto lines =
      static_cast<size_t>((query_tiles * shape.num_kv_heads + prefix_ctas) * kQueryTile);
  take(w.prefix.o, lines * head_dim);
  take(w.prefix.ml, lines);
  if (workspace != nullptr) *workspace = w;
  return used;
}

namespace {

constexpr int kThreads = 1024;

struct PlanCall {
  Workspace workspace;
  const int32_t* kv_len;
  const int32_t* row_begin;
  const int32_t* block_begin;
  const int32_t* blocks;
  Divider block_size;
  int num_rows;
  int num_kv_heads;
  int heads_per_kv_head;
  int window;
  SharedPrefixes prefixes;
  int row_ctas, prefix_ctas;
  bool cut_rows;
};

// The sum of the values of the threads before this one; *total is that of all.
__device__ int exclusive_sum(int value, int* total) {
  __shared__ int warp_sums[kThreads / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int sum = value;
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(~0u, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) warp_sums[warp] = sum;
  __syncthreads();
  int of_warp = warp_sums[lane];
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(~0u, of_warp, step);
    if (lane >= step) of_warp += other;
  }
  *total = __shfl_sync(~0u, of_warp, 31);
  const int before = __shfl_sync(~0u, of_warp, warp == 0 ? 0 : warp - 1);
  return sum - value + (warp == 0 ? 0 : before);
}

// Slices of at least two tiles, for each of an item's slices costs the CTA that sums them; single
// tiles where there are so few that the sum is short.
__device__ int slices(int tiles, int ctas) {
  const int wanted = tiles <= 64 ? tiles : (tiles + 1) / 2;
  return max(min(wanted, ctas), 1);
}

// In the time that the parts of a cut item take to be joined, a CTA reads about so many tiles.
constexpr int kTilesPerJoin = 1;

// The sequence of the rows' tiles.
struct Sequence {
  const int32_t* first;  // [num_rows]: of one head, the tiles before the row
  int num_rows, num_kv_heads;
  int tiles_per_head;

  __device__ int tiles() const { return tiles_per_head * num_kv_heads; }
  // The last row that begins at or before `tile`, and the tile's number in its item; rows without
  // tiles begin where the next one does, so it has tiles.
  __device__ int locate(int tile, int* row) const {
    int low = 0, high = num_rows;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (first[middle] * num_kv_heads <= tile ? low : high) = middle;
    }
    *row = low;
    const int item = (low + 1 < num_rows ? first[low + 1] : tiles_per_head) - first[low];
    return item > 0 ? (tile - first[low] * num_kv_heads) % item : 0;
  }
  // The first tile of slice `cta`, or where an item begins at or before it.
  __device__ int begin(const Cut& cut, int cta, bool cut_items) const {
    int row, begin = cut.begin(cta);
    if (!cut_items && begin < cut.tiles) begin -= locate(begin, &row);
    return begin;
  }
  // All threads: whether slices of whole items would take longer, the longest of them, than equal
  // ones whose parts must then be joined. `cut`: one for as many CTAs as there are.
  __device__ bool gains_by_cutting(const Cut& cut) const {
    const int cta = static_cast<int>(threadIdx.x);
    int length = 0;
    if (cta < cut.ctas) length = begin(cut, cta + 1, false) - begin(cut, cta, false);
    return __syncthreads_or(length > divide_up(cut.tiles, cut.ctas) + kTilesPerJoin);
  }
};

// Thread 0: the prefixes' sequence.
__device__ void plan_groups(const PlanCall& call, int num_groups) {
  const int members_in_tile = members_per_tile(call.heads_per_kv_head);
  int item = 0, tile = 0;
  for (int g = 0; g < num_groups; ++g) {
    GroupPlan group;
    group.prefix_len = call.prefixes.prefix_len[g];
    group.member_begin = call.prefixes.member_begin[g];
    group.num_members = call.prefixes.member_begin[g + 1] - group.member_begin;
    group.tiles = group.num_members > 0 ? divide_up(group.prefix_len, kTileTokens) : 0;
    group.query_tiles = divide_up(group.num_members, members_in_tile);
    group.block_begin =
        group.num_members > 0 ? call.block_begin[call.prefixes.members[group.member_begin]] : 0;
    group.first_item = item;
    group.first_tile = tile;
    const int items = group.query_tiles * call.num_kv_heads;
    item += items;
    tile += items * group.tiles;
    call.workspace.groups[g] = group;
  }
  call.workspace.header->prefixes = {tile, slices(tile, call.prefix_ctas)};
  call.workspace.header->num_groups = num_groups;
}

__global__ __launch_bounds__(kThreads) void plan_kernel(const PlanCall call) {
  // Per row: its group and member as one number, and its first tile of one head.
  __shared__ int32_t membership[kMaxDecodeRows];
  __shared__ int32_t first[kMaxDecodeRows];
  __threadfence();  // empties the L1 cache of what the last step left there
  const int tid = threadIdx.x;
  const Workspace& w = call.workspace;

  // Each thread has the same number of consecutive rows.
  const int per_thread = divide_up(call.num_rows, kThreads);
  const int row_begin = min(tid * per_thread, call.num_rows);
  const int row_end = min(row_begin + per_thread, call.num_rows);
  for (int row = row_begin; row < row_end; ++row) membership[row] = -1;
  __syncthreads();
  const int num_groups = call.prefixes.capacity > 0 ? *call.prefixes.num_groups : 0;
  for (int g = 0; g < num_groups; ++g) {
    const int begin = call.prefixes.member_begin[g];
    const int count = call.prefixes.member_begin[g + 1] - begin;
    for (int m = tid; m < count; m += kThreads)
      membership[call.prefixes.members[begin + m]] = m * SharedPrefixes::kMaxGroups + g;
  }
  if (tid == 0) plan_groups(call, num_groups);
  __syncthreads();

  const auto plan_of = [&](int row) {
    RowPlan plan = {};
    const int kv_len = call.kv_len[row];
    const int number = membership[row];
    plan.group = number < 0 ? -1 : number % SharedPrefixes::kMaxGroups;
    plan.member = number < 0 ? 0 : number / SharedPrefixes::kMaxGroups;
    plan.begin = plan.group >= 0                           ? call.prefixes.prefix_len[plan.group]
                 : call.window > 0 && kv_len > call.window ? kv_len - call.window
                                                           : 0;
    plan.end = kv_len;
    if (plan.begin == 0 || plan.begin >= plan.end) {  // an empty prefix, or no member of it
      plan.begin = 0;
      plan.group = -1;
    }
    plan.block_begin = call.block_begin[row];
    plan.token = call.row_begin[row];
    return plan;
  };

  int tiles = 0;
  for (int row = row_begin; row < row_end; ++row) {
    RowPlan plan = plan_of(row);
    w.rows[row] = plan;
    first[row] = tiles;
    tiles += plan.tiles();
  }
  int total;
  const int before = exclusive_sum(tiles, &total);
  for (int row = row_begin; row < row_end; ++row) {
    first[row] += before;
    w.rows[row].first_tile = first[row] * call.num_kv_heads;
  }
  if (tid == 0) w.rows[call.num_rows] = {};
  __syncthreads();

  const Sequence sequence = {first, call.num_rows, call.num_kv_heads, total};
  Cut cut = {sequence.tiles(), max(min(sequence.tiles(), call.row_ctas), 1)};
  const bool cut_items = call.cut_rows && sequence.gains_by_cutting(cut);
  if (cut_items) cut.ctas = slices(cut.tiles, call.row_ctas);
  if (tid == 0) w.header->rows = cut;
  for (int cta = tid; cta < call.row_ctas; cta += kThreads) {
    CtaPlan plan = {};
    if (cta < cut.ctas && total > 0) {
      const int begin = sequence.begin(cut, cta, cut_items);
      const int end = sequence.begin(cut, cta + 1, cut_items);
      int row;
      plan.tile = sequence.locate(begin, &row);
      plan.row = row;
      plan.tiles = end - begin;
      plan.first = plan_of(row);
      plan.first.first_tile = first[row] * call.num_kv_heads;
      const int of_head = plan.first.tiles();
      plan.head = of_head > 0 ? (begin - plan.first.first_tile) / of_head : 0;
      const int first_token = (plan.first.base() + plan.tile) * kTileTokens;
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        const int token = first_token + i * kPieceTokens;
        if (token + kPieceTokens > plan.first.begin && token < plan.first.end)
          plan.blocks[i] = call.blocks[plan.first.block_begin + call.block_size.quotient(token)];
      }
    }
    w.ctas[cta] = plan;
  }
  // Kernels that do not wait for this one read the plan (decode_attention.cu).
  __threadfence();
  __syncthreads();
  sm90::let_next_start();
  sm90::wait_for_previous();  // for those that wait for this one
}

}  // namespace
}  // namespace decode

size_t decode_mail_bytes(int num_q_heads, int num_kv_heads, int head_dim) {
  decode::Workspace workspace;
  decode::carve_workspace(nullptr, {1, num_q_heads, num_kv_heads, head_dim}, &workspace);
  return reinterpret_cast<size_t>(workspace.header);
}

size_t decode_workspace_bytes(int max_rows, int num_q_heads, int num_kv_heads, int head_dim) {
  return decode::carve_workspace(nullptr, {max_rows, num_q_heads, num_kv_heads, head_dim}, nullptr);
}

void plan_decode(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                 const SharedPrefixes& prefixes, int num_q_heads, bool batch_invariant,
                 void* workspace) {
  using namespace decode;
  if (rows.num_decode_rows == 0) return;
  PlanCall call = {};
  carve_workspace(workspace,
                  {rows.num_decode_rows, num_q_heads, layer.num_kv_heads, layer.head_dim},
                  &call.workspace);
  call.kv_len = rows.kv_len;
  call.row_begin = rows.row_begin;
  call.block_begin = rows.block_begin;
  call.num_rows = rows.num_decode_rows;
  call.num_kv_heads = layer.num_kv_heads;
  call.heads_per_kv_head = num_q_heads / layer.num_kv_heads;
  call.window = layer.window;
  if (prefixes_served(layer, num_q_heads, prefixes) && !batch_invariant) call.prefixes = prefixes;
  call.blocks = rows.blocks;
  call.block_size = Divider(layer.block_size);
  call.row_ctas = multiprocessors() * ctas_per_sm(rows.num_decode_rows, layer.num_kv_heads);
  call.prefix_ctas = multiprocessors();
  call.cut_rows = !batch_invariant;
  launch("plan_decode", on, {dim3(1), dim3(kThreads)}, plan_kernel, call);
}

}  // namespace octavo::cuda
