// decode_attention(): one CTA per slice of the plan (decode_plan.cuh). Two warps walk the slice's
// tiles and have the copy engine bring them into a ring in shared memory (decode_produce.cuh), four
// warps consume (decode_consume.cuh).
//
// A tile is 64 tokens of keys and of values, copied in pieces of 8 tokens (which lie together in
// the cache) to places that are 16 bytes further apart than a piece is long. The i-th tokens of the
// eight pieces are then in different banks, so they make a matrix that ldmatrix reads at full rate:
// the order of the tokens within a tile does not matter. Warp w takes the tokens 2 w and 2 w + 1 of
// every piece, 16 in all, and computes with the tokens (then the dims) as the 16 rows of the
// product and 8 query heads as its columns:
//   S^T [16 tokens, heads] = K Q^T      O^T [head_dim, heads] += V^T P^T
// Each warp keeps its own maximum, sum and O; they are joined when the item ends.
//
// Appending. Where the queries, keys and values come straight from the projection, the producers
// bring an item's queries as they are, and with the tile of the row's last token its new key and
// value; the consumers normalise and rotate them in shared memory, put the new ones into the tile,
// and write them to the cache. Nobody else reads that place of the cache in this kernel.
//
// Early. Nothing else in an appending call depends on the projection, the kernel before this one,
// whose end is a time in which the memory has little to do. So the cached tokens are asked for
// without waiting for it. What is then read before the wait, and why it is there:
//   - The plan. Its kernel lets the next one start only when the plan is written, and every kernel
//     behind that one starts after it. (An ordinary kernel lets the next one start at once: in a
//     small model many may be resident together, and the projection be all that this one knows to
//     have started.)
//   - The block tables: staged by the copy that begins a step (copy_from_host()). It lets the next
//     kernel start only when it is done, and writes only when all kernels before it are complete.
//   - The cached tokens: written by earlier steps, hence before that copy; in this step, only this
//     kernel writes to this layer's cache. The piece with the newest token is read while nobody
//     writes it, and the place of that token in it before its key and value are known: the
//     consumers write there what is appended, when the piece has arrived.
// All else is read, and everything is written, behind the wait.

#include "backend/cuda/decode_attention.h"
#include "backend/cuda/decode_consume.cuh"
#include "backend/cuda/decode_plan.cuh"
#include "backend/cuda/decode_produce.cuh"
#include "backend/cuda/decode_tiles.cuh"
#include "backend/cuda/sm90.cuh"

namespace octavo::cuda {
namespace decode {
namespace {

template <typename T, int kDim, int kHeadTiles>
__global__ __launch_bounds__(kThreads, kDim <= 128 ? 2 : 1) void decode_kernel(const Call call) {
  using L = Layout<kDim, kHeadTiles>;
  extern __shared__ __align__(128) unsigned char shared[];
  uint64_t* full = reinterpret_cast<uint64_t*>(shared);
  uint64_t* empty = full + kMaxStages;
  sm90::let_next_start();
  const int tid = static_cast<int>(threadIdx.x);
  const bool produces = tid >= kConsumers, early = produces && call.early;
  if (early) __threadfence();  // empties the L1 cache of what earlier steps left there
  if (tid == 0) {
    for (int s = 0; s < call.stages; ++s) {
      sm90::init_barrier(&full[s], 1);
      sm90::init_barrier(&empty[s], kConsumers);
    }
    sm90::fence_barrier_init();
  }
  if (call.projection.q_norm != nullptr || call.projection.k_norm != nullptr) {
    float* norms = reinterpret_cast<float*>(shared + L::kNorms);
#pragma unroll 1
    for (int i = tid; i < 2 * kDim; i += kThreads) {
      const float* norm = i < kDim ? call.projection.q_norm : call.projection.k_norm;
      if (norm != nullptr) norms[i] = __ldg(norm + i % kDim);
    }
  }
  // Query rows without a head stay zero, which keeps their scores finite.
#pragma unroll 1
  for (int i = tid; i < call.stages * L::kHeads * (L::kQueryStride / 16); i += kThreads) {
    const int row = i / (L::kQueryStride / 16), column = i % (L::kQueryStride / 16);
    if (row % L::kHeads < call.heads) continue;
    *reinterpret_cast<uint4*>(shared + L::kRing + row / L::kHeads * L::kStageBytes + L::kQueries +
                              row % L::kHeads * L::kQueryStride + column * 16) = {};
  }
  __syncthreads();
  // The kernel of the prefixes lets this one start when all before it is complete; its own results
  // are needed only at the end of an item.
  if (!call.behind_prefixes && !early) sm90::wait_for_previous();

  if (!produces) {
    Consumer<T, kDim, kHeadTiles>(call, shared).run();
  } else if (tid < kConsumers + 32) {
    produce_cached<T, kDim, kHeadTiles>(call, shared);
  } else {
    QueryProducer<T, kDim, kHeadTiles>(call, shared).run();
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
  call.stages = (per_sm == 1 ? 110 : 74) * 1024 / L::kStageBytes;
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
                      const SharedPrefixes& prefixes, const AttentionCall& call,
                      const RopeAndCacheCall* append, bool early, void* workspace) {
  using namespace decode;
  if (rows.num_decode_rows == 0) return;
  Call kernel_call = {};
  if (append != nullptr) {
    kernel_call.projection = {.qkv = append->qkv,
                              .cos_sin = append->cos_sin,
                              .q_norm = append->q_norm,
                              .k_norm = append->k_norm,
                              .norm_eps = append->norm_eps,
                              .rotary_dims = append->rotary_dims};
    kernel_call.early = early;
  }
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
