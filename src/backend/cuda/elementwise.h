// The small ops: embedding, gather_rows, the norms, and rope_and_cache, as ops/*.h state them, on
// plain pointers into device memory. Each is bound by memory, or at small batches by its latency.
#pragma once

#include "backend/cuda/launch.h"
#include "backend/cuda/paged.h"

namespace octavo::cuda {

// to[0, bytes) = from[0, bytes), host memory that the device can read; both aligned to 16 bytes, of
// which `bytes` is a multiple. `from` is read while kernels before this one may still run. The next
// kernel starts when all is written, so that every kernel behind this one may read it at once.
void copy_from_host(const Launch& on, const void* from, void* to, size_t bytes);

// Widths (hidden, table columns, …) are multiples of 8 elements, at most kMaxNormWidth for the
// norms; pointers to rows are 16-byte aligned. dtype is kBF16 or kF16.
inline constexpr int kMaxNormWidth = 32768;

struct EmbeddingCall {
  DType dtype = DType::kBF16;
  int tokens = 0, width = 0;
  const int32_t* ids = nullptr;
  const void* table = nullptr;
  const int32_t* positions = nullptr;    // with position_table
  const void* position_table = nullptr;  // optional
  void* out = nullptr;
};
void embedding(const Launch& on, const EmbeddingCall& call);

// out[i] = x[rows[i]], rows of `width` 16-bit elements.
void gather_rows(const Launch& on, const void* x, const int32_t* rows, int count, int width,
                 void* out);

struct NormCall {
  DType dtype = DType::kBF16;
  int rows = 0, width = 0;
  const void* x = nullptr;
  const float* weight = nullptr;
  const float* bias = nullptr;  // layer_norm
  float eps = 0;
  void* out = nullptr;
};
void rms_norm(const Launch& on, const NormCall& call);
void layer_norm(const Launch& on, const NormCall& call);

struct RopeAndCacheCall {
  const void* qkv = nullptr;  // [num_tokens, (Hq + 2 Hkv) * D], dtype of the layer
  int num_q_heads = 0;
  int rotary_dims = 0;             // a multiple of 4, or 0
  const float* cos_sin = nullptr;  // [position, rotary_dims]
  const float* q_norm = nullptr;   // [D], optional
  const float* k_norm = nullptr;
  float norm_eps = 0;
  void* q_out = nullptr;
};
// The layer's keys and values are written.
void rope_and_cache(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                    const RopeAndCacheCall& call);

// out = the vector [2 * half] with gate and up entries in alternating blocks of eight, as the rows
// of a gated weight lie (linear_call.h).
void interleave_gate_up(const Launch& on, const float* vector, int half, float* out);

// Elements [first, first + count) of the noise `key` (ops/noise.h), rounded to dtype, for logical
// rows of `width` elements that begin with row `first_row`; `gated_rows` is the number of logical
// rows of a gated weight, whose rows are interleaved, and 0 for others. `out` is the weight's
// beginning.
struct NoiseCall {
  DType dtype = DType::kBF16;
  uint64_t key = 0;
  int64_t first_index = 0;  // of the noise, for the first element
  int64_t first_row = 0, rows = 0, width = 0;
  int64_t gated_rows = 0;
  void* out = nullptr;
};
void fill_noise(const Launch& on, const NoiseCall& call);

}  // namespace octavo::cuda
