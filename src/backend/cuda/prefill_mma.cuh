// Prefill attention for any head_dim that is a multiple of 16, up to 256, by mma.sync (after
// FlashAttention-2). One CTA of four warps a query tile and head group; each warp owns 16 of the 64
// rows. Tiles of 64 keys are copied block by block with cp.async, oldest first, the next keys under
// this tile's softmax and output, the next values under the next scores. head_dim is rounded up to
// an instance's kDim; the columns behind it are zeros in shared memory.
//
// prefill_mma_bf16.cu and prefill_mma_f16.cu hold the instances.
#include "backend/cuda/prefill_tile.cuh"
#include "backend/cuda/sm90.cuh"
#include "base/check.h"

namespace octavo::cuda::prefill {
namespace {

constexpr int kMmaThreads = 128;

// 16 bytes, or zeros where `valid` is false.
__device__ __forceinline__ void copy_16(void* to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sm90::shared_address(to)),
               "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Four 8 x 8 matrices; lanes 8i to 8i + 7 give the rows of matrix i.
__device__ __forceinline__ void load_matrices(uint32_t (&m)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(sm90::shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&m)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(sm90::shared_address(row))
               : "memory");
}

// d[16, 8] += a[16, 16] b[16, 8].
template <typename T>
__device__ __forceinline__ void multiply(float* d, const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  if constexpr (sizeof(T) == 2 && __is_same(T, __half)) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7},"
        " {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7},"
        " {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

template <typename T, int kDim>
struct MmaShared {
  // Eight elements of padding: ldmatrix's eight rows lie in different banks.
  T q[kMmaTileRows][kDim + 8];
  T keys[kMmaTileKeys][kDim + 8];
  T values[kMmaTileKeys][kDim + 8];
};

template <typename T, int kDim>
__global__ __launch_bounds__(kMmaThreads) void mma_kernel(const Params p) {
  constexpr int kKeys = kMmaTileKeys;
  extern __shared__ __align__(16) uint8_t raw[];
  auto& shared = *reinterpret_cast<MmaShared<T, kDim>*>(raw);
  sm90::let_next_start();
  sm90::wait_for_previous();
  if (static_cast<int>(blockIdx.x) >= p.plan->count) return;

  const QueryTile tile = p.plan->tiles[blockIdx.x];
  const int head_group = blockIdx.y;
  const KeyTiles range = key_tiles(tile, p.window, kKeys);
  const int newest = tile.position + tile.tokens - 1;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // Copies: eight lanes a row, 16 bytes each, 16 rows at a time.
  const int copy_row = threadIdx.x / 8, copy_column = threadIdx.x % 8 * 8;

  const auto query_line = [&](int row) {
    const int head = head_group * p.pack + row % p.pack;
    return (int64_t{tile.first_token + row / p.pack} * p.num_q_heads + head) * p.head_dim;
  };
  for (int row = copy_row; row < kMmaTileRows; row += kMmaThreads / 8) {
    const bool valid = row / p.pack < tile.tokens;
    const T* from = static_cast<const T*>(p.q) + (valid ? query_line(row) : 0);
    for (int c = copy_column; c < kDim; c += 64) {
      const bool inside = valid && c < p.head_dim;
      copy_16(&shared.q[row][c], inside ? from + c : from, inside);
    }
  }
  const int32_t* blocks = p.blocks + tile.block_begin;
  const int kv_head = p.kv_head(head_group);
  // Keys behind the newest query stay zeros: their slots may never have been written, and 0 * NaN
  // is NaN. So do those of blocks that the window has passed (-1).
  const auto copy_tile = [&](T(&to)[kKeys][kDim + 8], const void* cache, int n) {
    for (int row = copy_row; row < kKeys; row += kMmaThreads / 8) {
      const int position = n * kKeys + row;
      const int block = position <= newest ? blocks[position / p.block_size] : -1;
      const T* from = static_cast<const T*>(cache);
      if (block >= 0) {
        from +=
            ((int64_t{block} * p.num_kv_heads + kv_head) * p.block_size + position % p.block_size) *
            p.head_dim;
      }
      for (int c = copy_column; c < kDim; c += 64) {
        const bool inside = block >= 0 && c < p.head_dim;
        copy_16(&to[row][c], inside ? from + c : from, inside);
      }
    }
  };

  // This thread's rows of the tile: `row` and row + 8.
  const int row = warp * 16 + lane / 4;
  const int token[2] = {row / p.pack, (row + 8) / p.pack};
  OnlineRow rows[2];
  float o[kDim / 2] = {};
  copy_tile(shared.keys, p.keys, range.first);
  commit_copies();
  copy_tile(shared.values, p.values, range.first);
  commit_copies();

  for (int n = range.first; n <= range.last; ++n) {
    wait_copies<1>();  // the keys, and Q with the first
    __syncthreads();
    float s[kKeys / 2] = {};
#pragma unroll 2
    for (int k = 0; k < kDim; k += 16) {
      uint32_t a[4];
      load_matrices(a, &shared.q[warp * 16 + lane % 16][k + lane / 16 * 8]);
#pragma unroll
      for (int j = 0; j < kKeys / 16; ++j) {
        uint32_t b[4];
        load_matrices(b, &shared.keys[16 * j + lane / 16 * 8 + lane % 8][k + lane / 8 % 2 * 8]);
        multiply<T>(s + 8 * j, a, b[0], b[1]);
        multiply<T>(s + 8 * j + 4, a, b[2], b[3]);
      }
    }
    __syncthreads();
    if (n < range.last) copy_tile(shared.keys, p.keys, n + 1);
    commit_copies();

    const bool ahead = (n + 1) * kKeys - 1 > tile.position;
    const bool passed = p.window > 0 && n * kKeys <= newest - p.window;
    const int first = n * kKeys + 2 * (lane % 4);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int last_seen = tile.position + token[r] - first;
      const int oldest = p.window > 0 ? last_seen - p.window : -kKeys;  // exclusive
      float top = -INFINITY;
#pragma unroll
      for (int i = 0; i < kKeys / 4; ++i) {
        const int c = i / 2 * 8 + i % 2;
        float& x = s[i / 2 * 4 + 2 * r + i % 2];
        if ((ahead && c > last_seen) || (passed && c <= oldest)) x = -INFINITY;
        top = fmaxf(top, x);
      }
      float offset, sum = 0;
      const float shrink = rows[r].raise(top, p.scale_log2, offset);
#pragma unroll
      for (int i = 0; i < kKeys / 4; ++i) {
        float& x = s[i / 2 * 4 + 2 * r + i % 2];
        x = exp2_fast(x * p.scale_log2 - offset);
        sum += x;
      }
      rows[r].sum += sum;
#pragma unroll
      for (int j = 0; j < kDim / 8; ++j) {
        o[4 * j + 2 * r] *= shrink;
        o[4 * j + 2 * r + 1] *= shrink;
      }
    }

    wait_copies<1>();  // the values
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      uint32_t a[4];
#pragma unroll
      for (int w = 0; w < 4; ++w) a[w] = pack2<T>(s[8 * k + 2 * w], s[8 * k + 2 * w + 1]);
#pragma unroll
      for (int j = 0; j < kDim / 16; ++j) {
        uint32_t b[4];
        load_matrices_transposed(b, &shared.values[16 * k + lane % 16][16 * j + lane / 16 * 8]);
        multiply<T>(o + 8 * j, a, b[0], b[1]);
        multiply<T>(o + 8 * j + 4, a, b[2], b[3]);
      }
    }
    __syncthreads();
    if (n < range.last) copy_tile(shared.values, p.values, n + 1);
    commit_copies();
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    T* to = token[r] < tile.tokens ? static_cast<T*>(p.out) + query_line(row + 8 * r) : nullptr;
    store_row(to, o, r, rows[r].inverse_sum(), p.head_dim);
  }
}

template <typename T, int kDim>
void start_mma(const Launch& on, const Params& p, int max_tiles) {
  constexpr size_t kBytes = sizeof(MmaShared<T, kDim>);
  static const bool allowed = allow_shared_bytes("prefill attention", mma_kernel<T, kDim>, kBytes);
  if (!allowed) return;
  const dim3 blocks(static_cast<unsigned>(max_tiles),
                    static_cast<unsigned>(p.num_q_heads / p.pack));
  launch("prefill attention", on, {blocks, dim3(kMmaThreads), kBytes}, mma_kernel<T, kDim>, p);
}

}  // namespace

template <typename T>
void mma_attention(const Launch& on, const Params& p, int max_tiles) {
  CHECK(p.head_dim <= 256);
  if (p.head_dim <= 32) return start_mma<T, 32>(on, p, max_tiles);
  if (p.head_dim <= 64) return start_mma<T, 64>(on, p, max_tiles);
  if (p.head_dim <= 96) return start_mma<T, 96>(on, p, max_tiles);
  if (p.head_dim <= 128) return start_mma<T, 128>(on, p, max_tiles);
  start_mma<T, 256>(on, p, max_tiles);
}

}  // namespace octavo::cuda::prefill
