#include <algorithm>

#include "backend/cuda/elementwise.h"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/warp.cuh"
#include "base/rounding.h"
#include "ops/noise.h"

namespace octavo::cuda {
namespace {

constexpr int kVector = 8;  // 16-bit elements in a 16-byte access

// Calls f with a value of the C++ type of a 16-bit dtype.
template <typename F>
void with_type(DType dtype, F&& f) {
  if (dtype == DType::kF16) {
    f(__half());
  } else {
    f(__nv_bfloat16());
  }
}

int threads_for(int vectors) {
  return std::clamp(round_up(vectors, 32), 32, 1024);
}

// Sum over the CTA, in an order that depends on its size only. All threads get it.
__device__ float block_sum(float value) {
  __shared__ float partial[32];
  value = warp_sum(value);
  const int warps = (blockDim.x + 31) / 32;
  __syncthreads();  // the last call's partial sums have been read
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  return warp_sum(threadIdx.x % 32 < warps ? partial[threadIdx.x % 32] : 0);
}

__global__ void copy_from_host_kernel(const uint4* from, uint4* to, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  uint4 value = {};
  if (i < count) value = __ldcv(from + i);  // a microsecond's way, while the last step ends
  sm90::wait_for_previous();
  if (i < count) to[i] = value;
  __threadfence();
  sm90::let_next_start();
}

template <typename T>
__global__ void embedding_kernel(const int32_t* ids, const uint4* table, const int32_t* positions,
                                 const uint4* position_table, int vectors, uint4* out) {
  sm90::wait_for_previous();
  sm90::let_next_start();
  const int64_t token = blockIdx.x;
  const uint4* row = table + int64_t{ids[token]} * vectors;
  const uint4* added =
      position_table ? position_table + int64_t{positions[token]} * vectors : nullptr;
  for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
    uint4 value = row[i];
    if (added) {
      float a[kVector], b[kVector];
      unpack8<T>(value, a);
      unpack8<T>(added[i], b);
      for (int j = 0; j < kVector; ++j) a[j] += b[j];
      value = pack8<T>(a);
    }
    out[token * vectors + i] = value;
  }
}

__global__ void gather_kernel(const uint4* x, const int32_t* rows, int vectors, uint4* out) {
  sm90::wait_for_previous();
  sm90::let_next_start();
  const uint4* row = x + int64_t{rows[blockIdx.x]} * vectors;
  for (int i = threadIdx.x; i < vectors; i += blockDim.x)
    out[int64_t{blockIdx.x} * vectors + i] = row[i];
}

// One CTA a row, which is kept in registers between the sum and the scaling. Small CTAs, a few
// vectors for each thread: they wait beside running kernels, and must not keep the CTAs of the next
// product out.
constexpr int kNormVectors = kMaxNormWidth / kVector / 1024;

template <typename T, bool kLayerNorm>
__global__ void __launch_bounds__(1024)
    norm_kernel(const uint4* x, const float* weight, const float* bias, float eps, int vectors,
                uint4* out) {
  sm90::let_next_start();
  sm90::wait_for_previous();
  const uint4* row = x + int64_t{blockIdx.x} * vectors;
  uint4 raw[kNormVectors];  // zeros behind the end
#pragma unroll
  for (int v = 0; v < kNormVectors; ++v) {
    const int i = threadIdx.x + v * blockDim.x;
    raw[v] = i < vectors ? row[i] : uint4{};
  }
  float values[kNormVectors][kVector];
  float sum = 0, squares = 0;
#pragma unroll
  for (int v = 0; v < kNormVectors; ++v) {
    unpack8<T>(raw[v], values[v]);
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      sum += values[v][j];
      squares += values[v][j] * values[v][j];
    }
  }
  const float width = static_cast<float>(vectors * kVector);
  float mean = 0;
  if constexpr (kLayerNorm) {
    mean = block_sum(sum) / width;
    squares = 0;
#pragma unroll
    for (int v = 0; v < kNormVectors; ++v) {
      if (threadIdx.x + v * blockDim.x >= vectors) break;
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        values[v][j] -= mean;
        squares += values[v][j] * values[v][j];
      }
    }
  }
  const float scale = rsqrtf(block_sum(squares) / width + eps);
#pragma unroll
  for (int v = 0; v < kNormVectors; ++v) {
    const int i = threadIdx.x + v * blockDim.x;
    if (i >= vectors) break;
    const float4* w = reinterpret_cast<const float4*>(weight) + 2 * i;
    const float4 low = w[0], high = w[1];
    const float factors[kVector] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      values[v][j] *= scale * factors[j];
      if constexpr (kLayerNorm) values[v][j] += bias[i * kVector + j];
    }
    out[int64_t{blockIdx.x} * vectors + i] = pack8<T>(values[v]);
  }
}

template <bool kLayerNorm>
void launch_norm(const char* name, const Launch& on, const NormCall& c) {
  if (c.rows == 0) return;
  const int vectors = c.width / kVector;
  const int threads = threads_for(divide_up(vectors, kNormVectors));
  with_type(c.dtype, [&](auto type) {
    launch(name, on, {dim3(c.rows), dim3(threads)}, norm_kernel<decltype(type), kLayerNorm>,
           static_cast<const uint4*>(c.x), c.weight, c.bias, c.eps, vectors,
           static_cast<uint4*>(c.out));
  });
}

struct RopeParams {
  const uint32_t* qkv;  // pairs of elements
  int num_q_heads, num_kv_heads, head_dim, rotary_dims, block_size;
  const float* cos_sin;
  const float* q_norm;
  const float* k_norm;
  float norm_eps;
  const int32_t* positions;
  const int64_t* slot_mapping;
  uint32_t* q_out;
  uint32_t* keys;
  uint32_t* values;
};

constexpr int kHeadsPerBlock = 8;  // one warp a head

// A warp takes one head of one token. Lane l holds the pairs of elements l, l + 32, … of the head;
// where the head rotates, a pair (2i, 2i + 1) of the first half goes with the one rotary/2 later,
// so half of `rotary` must be even.
template <typename T>
__global__ void __launch_bounds__(kHeadsPerBlock * 32) rope_kernel(const RopeParams p) {
  sm90::let_next_start();
  sm90::wait_for_previous();
  const int heads = p.num_q_heads + 2 * p.num_kv_heads;
  const int head = blockIdx.y * kHeadsPerBlock + threadIdx.x / 32;
  if (head >= heads) return;
  const int lane = threadIdx.x % 32;
  const int64_t token = blockIdx.x;
  const int pairs = p.head_dim / 2;
  const bool is_q = head < p.num_q_heads;
  const bool is_v = head >= p.num_q_heads + p.num_kv_heads;
  const uint32_t* x = p.qkv + (token * heads + head) * pairs;

  uint32_t* out;
  if (is_q) {
    out = p.q_out + (token * p.num_q_heads + head) * pairs;
  } else {
    const int64_t slot = p.slot_mapping[token];
    if (slot < 0) return;
    const int kv_head = (head - p.num_q_heads) % p.num_kv_heads;
    const int64_t row =
        (slot / p.block_size * p.num_kv_heads + kv_head) * p.block_size + slot % p.block_size;
    out = (is_v ? p.values : p.keys) + row * pairs;
  }

  const float* norm = is_q ? p.q_norm : is_v ? nullptr : p.k_norm;
  const int half = is_v ? 0 : p.rotary_dims / 4;  // pairs in half of what rotates
  float scale = 1;
  if (norm) {
    float squares = 0;
    for (int i = lane; i < pairs; i += 32) {
      const float2 v = unpack2<T>(x[i]);
      squares += v.x * v.x + v.y * v.y;
    }
    scale = rsqrtf(warp_sum(squares) / static_cast<float>(p.head_dim) + p.norm_eps);
  }
  const auto read = [&](int i) {
    float2 v = unpack2<T>(x[i]);
    if (norm) {
      v.x *= scale * norm[2 * i];
      v.y *= scale * norm[2 * i + 1];
    }
    return v;
  };
  const float* cos = p.cos_sin + int64_t{p.positions[token]} * p.rotary_dims;
  const float* sin = cos + p.rotary_dims / 2;
  for (int i = lane; i < half; i += 32) {
    const float2 a = read(i), b = read(i + half);
    const float2 c = *reinterpret_cast<const float2*>(cos + 2 * i);
    const float2 s = *reinterpret_cast<const float2*>(sin + 2 * i);
    out[i] = pack2<T>(a.x * c.x - b.x * s.x, a.y * c.y - b.y * s.y);
    out[i + half] = pack2<T>(b.x * c.x + a.x * s.x, b.y * c.y + a.y * s.y);
  }
  for (int i = 2 * half + lane; i < pairs; i += 32) {
    const float2 v = read(i);
    out[i] = pack2<T>(v.x, v.y);
  }
}

// The same for heads that rotate whole, with kHeadDim a power of two: 16-byte accesses, each thread
// holding elements [8 j, 8 j + 8) of both halves of a head of kHeadDim.
template <typename T, int kHeadDim>
__global__ void __launch_bounds__(kHeadsPerBlock * 32)
    rope_whole_kernel(const RopeParams p, int tokens) {
  constexpr int kLanes = kHeadDim / 16;  // of a head
  sm90::let_next_start();
  sm90::wait_for_previous();
  const int heads = p.num_q_heads + 2 * p.num_kv_heads;
  const int64_t item = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kLanes;
  const int lane = threadIdx.x % kLanes;
  const bool active = item < int64_t{tokens} * heads;
  const int64_t token = active ? item / heads : 0;
  const int head = active ? static_cast<int>(item % heads) : 0;
  const bool is_q = head < p.num_q_heads;
  const bool is_v = head >= p.num_q_heads + p.num_kv_heads;
  const auto* x = reinterpret_cast<const uint4*>(p.qkv) + (token * heads + head) * (2 * kLanes);
  uint4 raw[2] = {x[lane], x[lane + kLanes]};

  uint4* out;
  if (is_q) {
    out = reinterpret_cast<uint4*>(p.q_out) + (token * p.num_q_heads + head) * (2 * kLanes);
  } else {
    const int64_t slot = p.slot_mapping[token];
    const int kv_head = (head - p.num_q_heads) % p.num_kv_heads;
    const int64_t row =
        (slot / p.block_size * p.num_kv_heads + kv_head) * p.block_size + slot % p.block_size;
    out = slot < 0 ? nullptr
                   : reinterpret_cast<uint4*>(is_v ? p.values : p.keys) + row * (2 * kLanes);
  }

  const float* norm = is_q ? p.q_norm : is_v ? nullptr : p.k_norm;
  float values[2][kVector];
  unpack8<T>(raw[0], values[0]);
  unpack8<T>(raw[1], values[1]);
  if (p.q_norm) {  // q and k have norms together; every lane takes part in the sum
    float squares = 0;
#pragma unroll
    for (int j = 0; j < kVector; ++j)
      squares += values[0][j] * values[0][j] + values[1][j] * values[1][j];
    squares = warp_sum<kLanes>(squares);
    if (norm) {
      const float scale = rsqrtf(squares / kHeadDim + p.norm_eps);
#pragma unroll
      for (int h = 0; h < 2; ++h) {
#pragma unroll
        for (int j = 0; j < kVector; ++j)
          values[h][j] *= scale * norm[h * kHeadDim / 2 + lane * kVector + j];
      }
    }
  }
  if (!active || out == nullptr) return;
  if (!is_v) {
    const float* table = p.cos_sin + int64_t{p.positions[token]} * kHeadDim + lane * kVector;
    float turn[2][kVector];  // cosines, sines
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int j = 0; j < kVector; j += 4) {
        *reinterpret_cast<float4*>(&turn[h][j]) =
            *reinterpret_cast<const float4*>(table + h * kHeadDim / 2 + j);
      }
    }
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      const float a = values[0][j], b = values[1][j];
      values[0][j] = a * turn[0][j] - b * turn[1][j];
      values[1][j] = b * turn[0][j] + a * turn[1][j];
    }
    raw[0] = pack8<T>(values[0]);
    raw[1] = pack8<T>(values[1]);
  }
  out[lane] = raw[0];
  out[lane + kLanes] = raw[1];
}

__global__ void interleave_kernel(const float* vector, int half, float* out) {
  sm90::let_next_start();
  sm90::wait_for_previous();
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= 2 * half) return;
  const int row = i % half;
  out[row / 8 * 16 + (i >= half ? 8 : 0) + row % 8] = vector[i];
}

// A thread writes two elements of one row; rows are of even width.
template <typename T>
__global__ void noise_kernel(const NoiseCall c) {
  const int64_t pair = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t pairs_per_row = c.width / 2;
  if (pair >= c.rows * pairs_per_row) return;
  const uint64_t bits =
      noise_bits(c.key, static_cast<uint64_t>(c.first_index) / 2 + static_cast<uint64_t>(pair));
  int64_t row = c.first_row + pair / pairs_per_row;
  if (c.gated_rows > 0) {
    const int64_t half = c.gated_rows / 2, within = row % half;
    row = within / 8 * 16 + (row >= half ? 8 : 0) + within % 8;
  }
  static_cast<uint32_t*>(c.out)[row * pairs_per_row + pair % pairs_per_row] = pack2<T>(
      noise_of_bits(static_cast<uint32_t>(bits)), noise_of_bits(static_cast<uint32_t>(bits >> 32)));
}

}  // namespace

void copy_from_host(const Launch& on, const void* from, void* to, size_t bytes) {
  if (bytes == 0) return;
  constexpr int kThreads = 256;
  const auto count = static_cast<int64_t>(bytes / sizeof(uint4));
  launch("copy_from_host", on,
         {dim3(static_cast<unsigned>(divide_up<int64_t>(count, kThreads))), dim3(kThreads)},
         copy_from_host_kernel, static_cast<const uint4*>(from), static_cast<uint4*>(to), count);
}

void embedding(const Launch& on, const EmbeddingCall& c) {
  if (c.tokens == 0) return;
  const int vectors = c.width / kVector;
  with_type(c.dtype, [&](auto type) {
    launch("embedding", on, {dim3(c.tokens), dim3(threads_for(vectors))},
           embedding_kernel<decltype(type)>, c.ids, static_cast<const uint4*>(c.table), c.positions,
           static_cast<const uint4*>(c.position_table), vectors, static_cast<uint4*>(c.out));
  });
}

void gather_rows(const Launch& on, const void* x, const int32_t* rows, int count, int width,
                 void* out) {
  if (count == 0) return;
  const int vectors = width / kVector;
  launch("gather_rows", on, {dim3(count), dim3(threads_for(vectors))}, gather_kernel,
         static_cast<const uint4*>(x), rows, vectors, static_cast<uint4*>(out));
}

void rms_norm(const Launch& on, const NormCall& call) {
  launch_norm<false>("rms_norm", on, call);
}
void layer_norm(const Launch& on, const NormCall& call) {
  launch_norm<true>("layer_norm", on, call);
}

void rope_and_cache(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                    const RopeAndCacheCall& c) {
  if (rows.num_tokens == 0) return;
  const RopeParams params{.qkv = static_cast<const uint32_t*>(c.qkv),
                          .num_q_heads = c.num_q_heads,
                          .num_kv_heads = layer.num_kv_heads,
                          .head_dim = layer.head_dim,
                          .rotary_dims = c.rotary_dims,
                          .block_size = layer.block_size,
                          .cos_sin = c.cos_sin,
                          .q_norm = c.q_norm,
                          .k_norm = c.k_norm,
                          .norm_eps = c.norm_eps,
                          .positions = rows.positions,
                          .slot_mapping = rows.slot_mapping,
                          .q_out = static_cast<uint32_t*>(c.q_out),
                          .keys = static_cast<uint32_t*>(layer.keys),
                          .values = static_cast<uint32_t*>(layer.values)};
  const int heads = c.num_q_heads + 2 * layer.num_kv_heads;
  const bool same_norms = (c.q_norm == nullptr) == (c.k_norm == nullptr);
  if (c.rotary_dims == layer.head_dim && same_norms &&
      (layer.head_dim == 64 || layer.head_dim == 128)) {
    const int64_t threads = int64_t{rows.num_tokens} * heads * (layer.head_dim / 16);
    const dim3 blocks(static_cast<unsigned>(divide_up<int64_t>(threads, 256)));
    with_type(layer.dtype, [&](auto type) {
      using T = decltype(type);
      const auto kernel =
          layer.head_dim == 64 ? rope_whole_kernel<T, 64> : rope_whole_kernel<T, 128>;
      launch("rope_and_cache", on, {blocks, dim3(kHeadsPerBlock * 32)}, kernel, params,
             rows.num_tokens);
    });
    return;
  }
  const dim3 grid(rows.num_tokens, divide_up(heads, kHeadsPerBlock));
  with_type(layer.dtype, [&](auto type) {
    launch("rope_and_cache", on, {grid, dim3(kHeadsPerBlock * 32)}, rope_kernel<decltype(type)>,
           params);
  });
}

void interleave_gate_up(const Launch& on, const float* vector, int half, float* out) {
  launch("interleave_gate_up", on, {dim3(divide_up(2 * half, 256)), dim3(256)}, interleave_kernel,
         vector, half, out);
}

void fill_noise(const Launch& on, const NoiseCall& c) {
  const int64_t pairs = c.rows * c.width / 2;
  if (pairs == 0) return;
  const Launch plain{on.stream, /*overlap=*/false};
  with_type(c.dtype, [&](auto type) {
    launch("fill_noise", plain,
           {dim3(static_cast<unsigned>(divide_up<int64_t>(pairs, 256))), dim3(256)},
           noise_kernel<decltype(type)>, c);
  });
}

}  // namespace octavo::cuda
