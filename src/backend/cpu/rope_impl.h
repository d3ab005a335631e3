// rope_and_cache over Vec: per token and head an optional rms_norm, the rotation, and the store of
// K and V into the cache's layout (attention.h). A head is worked on in a buffer of kMaxHeadDim
// floats.
#pragma once

#include "backend/cpu/attention_kernels.h"
#include "backend/cpu/vec_extra.h"

namespace octavo::cpu::OCTAVO_ISA {

// out = x / sqrt(mean(x^2) + eps) * weight. The order of the sum depends on head_dim only.
static void normalise_head(const float* x, const float* weight, float eps, int head_dim,
                           float* out) {
  Vec total = zero();
  int d = 0;
  for (; d + kWidth <= head_dim; d += kWidth) {
    const Vec v = load(x + d);
    total = fma(v, v, total);
  }
  float squares = sum(total);
  for (int i = d; i < head_dim; ++i) squares += x[i] * x[i];
  const float factor = 1.0f / __builtin_sqrtf(squares / static_cast<float>(head_dim) + eps);
  for (int i = 0; i < head_dim; ++i) out[i] = x[i] * factor * weight[i];
}

// Up to kWidth floats, the common case of all lanes without a copy.
OCTAVO_INLINE Vec load_up_to(const float* p, int n) {
  return n >= kWidth ? load(p) : load_first(p, n);
}
OCTAVO_INLINE void store_up_to(float* p, Vec v, int n) {
  n >= kWidth ? store(p, v) : store_first(p, v, n);
}

// (x_i, x_{i+half}) -> (x_i cos - x_{i+half} sin, x_{i+half} cos + x_i sin), in place.
static void rotate_head(const float* cosines, const float* sines, int half, float* x) {
  for (int i = 0; i < half; i += kWidth) {
    const int n = half - i;
    const Vec a = load_up_to(cosines + i, n), b = load_up_to(sines + i, n);
    const Vec low = load_up_to(x + i, n), high = load_up_to(x + half + i, n);
    store_up_to(x + i, fma(low, a, -(high * b)), n);
    store_up_to(x + half + i, fma(high, a, low * b), n);
  }
}

// x [head_dim] in the cache's dtype, to places `stride` elements apart.
static void store_elements(const float* x, int head_dim, KvElement element, int64_t stride,
                           char* to) {
  if (element == KvElement::kF32) {
    for (int d = 0; d < head_dim; ++d) memcpy(to + d * stride * 4, x + d, 4);
    return;
  }
  for (int d = 0; d < head_dim; d += kWidth) {
    const int n = head_dim - d < kWidth ? head_dim - d : kWidth;
    const Vec v = load_up_to(x + d, n);
    const VecH bits = element == KvElement::kBF16 ? to_bf16(v) : to_f16(v);
    uint16_t lanes[kWidth];
    memcpy(lanes, &bits, sizeof bits);
    for (int i = 0; i < n; ++i) memcpy(to + (d + i) * stride * 2, lanes + i, 2);
  }
}

static void rope_token(const RopeTask& task, int t) {
  const KvView& kv = *task.kv;
  const int head_dim = kv.head_dim, half = task.rotary_dims / 2;
  const int num_qk_heads = task.num_q_heads + kv.num_kv_heads;
  const float* x = task.qkv + int64_t{t} * (num_qk_heads + kv.num_kv_heads) * head_dim;
  const float* cosines =
      half ? task.cos_sin + int64_t{task.positions[t]} * task.rotary_dims : nullptr;
  const int64_t slot = task.slots[t];
  const int64_t block = slot / kv.block_size, offset = slot % kv.block_size;
  char* cell =
      kv.cells + block * kv.num_kv_heads * kv.cell_bytes + offset / kSubBlock * kv.sub_block_bytes;
  const int64_t lane = offset % kSubBlock, element_bytes = kv.element == KvElement::kF32 ? 4 : 2;

  for (int h = 0; h < num_qk_heads; ++h, x += head_dim) {
    const bool is_q = h < task.num_q_heads;
    float key[kMaxHeadDim];
    float* head = is_q ? task.q_out + (int64_t{t} * task.num_q_heads + h) * head_dim : key;
    const float* norm = is_q ? task.q_norm : task.k_norm;
    if (norm) {
      normalise_head(x, norm, task.eps, head_dim, head);
    } else {
      memcpy(head, x, static_cast<size_t>(head_dim) * sizeof(float));
    }
    if (half) rotate_head(cosines, cosines + half, half, head);
    if (!is_q) {
      char* keys = cell + (h - task.num_q_heads) * kv.cell_bytes;
      store_elements(key, head_dim, kv.element, kSubBlock, keys + lane * element_bytes);
    }
  }
  for (int h = 0; h < kv.num_kv_heads; ++h, x += head_dim) {
    char* values = cell + h * kv.cell_bytes + kv.value_offset;
    store_elements(x, head_dim, kv.element, 1, values + lane * kv.value_stride * element_bytes);
  }
}

static void rope_and_cache(const RopeTask& task) {
  for (int t = 0; t < task.num_tokens; ++t) rope_token(task, t);
}

}  // namespace octavo::cpu::OCTAVO_ISA
