// TestingBackend: every op as its header in ops/ states it, in plain loops over float32, without
// layout, SIMD or threads. For tests of modules, models and loading; a second opinion beside the
// CPU backend. One thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "tensor/arena.h"

namespace octavo::testing {

class TestingLinearWeight : public LinearWeight {
 public:
  explicit TestingLinearWeight(const LinearSpec& spec)
      : values(static_cast<size_t>(spec.out_features * spec.in_features), NAN), spec_(spec) {}
  const LinearSpec& spec() const override { return spec_; }
  void load_rows(int64_t first_row, const Tensor& src) override {
    for (int64_t i = 0; i < src.count(); ++i) set(first_row * spec_.in_features + i, src, i);
  }
  void load_transposed(int64_t first_k, int64_t first_n, const Tensor& src) override {
    for (int64_t k = 0; k < src.dim(0); ++k) {
      for (int64_t n = 0; n < src.dim(1); ++n) {
        set((first_n + n) * spec_.in_features + first_k + k, src, k * src.dim(1) + n);
      }
    }
  }
  size_t bytes() const override { return values.size() * sizeof(float); }
  const float* row(int64_t n) const { return values.data() + n * spec_.in_features; }

  std::vector<float> values;  // [out, in]

 private:
  void set(int64_t to, const Tensor& src, int64_t from) {
    CHECK(0 <= to && to < static_cast<int64_t>(values.size()));
    const float v = read_float(src, from);
    values[static_cast<size_t>(to)] = spec_.dtype == DType::kBF16  ? bf16_to_float(float_to_bf16(v))
                                      : spec_.dtype == DType::kF16 ? f16_to_float(float_to_f16(v))
                                                                   : v;
  }
  LinearSpec spec_;
};

class TestingVector : public VectorWeight {
 public:
  explicit TestingVector(int64_t size) : values_(static_cast<size_t>(size), NAN) {
    tensor_ = {values_.data(), DType::kF32, {size}};
  }
  void load(int64_t first, const Tensor& src) override {
    CHECK(first >= 0 && first + src.count() <= tensor_.count());
    for (int64_t i = 0; i < src.count(); ++i)
      values_[static_cast<size_t>(first + i)] = read_float(src, i);
  }
  const Tensor& tensor() const override { return tensor_; }

 private:
  std::vector<float> values_;
  Tensor tensor_;
};

class TestingKvCache : public KvCache {
 public:
  explicit TestingKvCache(const KvCacheSpec& spec)
      : values_(2 * static_cast<size_t>(spec.num_layers) * static_cast<size_t>(spec.num_blocks) *
                static_cast<size_t>(spec.block_size * spec.num_kv_heads * spec.head_dim)),
        spec_(spec) {}
  const KvCacheSpec& spec() const override { return spec_; }
  size_t bytes() const override { return values_.size() * sizeof(float); }
  void read(int layer, int64_t slot, int head, float* k, float* v) const override {
    std::copy_n(at(layer, slot, head, 0), spec_.head_dim, k);
    std::copy_n(at(layer, slot, head, 1), spec_.head_dim, v);
  }
  const float* at(int layer, int64_t slot, int head, int which) const {
    const int64_t slots = int64_t{spec_.num_blocks} * spec_.block_size;
    return values_.data() +
           ((((which * spec_.num_layers + layer) * slots + slot) * spec_.num_kv_heads + head) *
            spec_.head_dim);
  }

 private:
  std::vector<float> values_;
  KvCacheSpec spec_;
};

class TestingBackend : public Backend {
 public:
  std::string name() const override { return "testing"; }
  DType activation_dtype(DType) const override { return DType::kF32; }
  void begin_step() override { workspace_.reset(); }
  Tensor allocate(DType dtype, Shape shape) override {
    Tensor t = workspace_.allocate(dtype, shape);
    std::memset(t.data, 0xFF, t.bytes());  // NaN: whoever reads before writing shows
    return t;
  }
  Staged stage(DType dtype, Shape shape) override {
    const Tensor t = allocate(dtype, shape);
    return {t, t};
  }
  void send_staged() override {}
  std::vector<float> read_back(const Tensor& tensor) override { return read_floats(tensor); }
  std::unique_ptr<LinearWeight> make_linear_weight(const LinearSpec& spec) override {
    return std::make_unique<TestingLinearWeight>(spec);
  }
  std::unique_ptr<VectorWeight> make_vector_weight(int64_t size) override {
    return std::make_unique<TestingVector>(size);
  }
  std::unique_ptr<KvCache> make_kv_cache(const KvCacheSpec& spec) override {
    return std::make_unique<TestingKvCache>(spec);
  }
  size_t kv_block_bytes(const KvCacheSpec& s) const override {
    return static_cast<size_t>(2 * s.num_layers * s.block_size * s.num_kv_heads * s.head_dim) *
           sizeof(float);
  }
  std::unique_ptr<Sampler> make_sampler(const SamplerSpec&) override { return nullptr; }

  bool carries_norms = false;
  int carried_norm_parts(const LinearArgs&, const LinearArgs&) const override {
    return carries_norms ? 2 : 0;
  }
  void linear(const LinearArgs& a) override {
    const auto& w = static_cast<const TestingLinearWeight&>(*a.weight);
    const int64_t out = w.spec().out_features, in = w.spec().in_features;
    CHECK(a.x.dim(1) == in);
    std::vector<float> y(static_cast<size_t>(out));
    for (int64_t m = 0; m < a.x.dim(0); ++m) {
      const float* x = a.x.as<float>() + m * in;
      for (int64_t n = 0; n < out; ++n) {
        float sum = 0;
        const float* const row = w.row(n);
        for (int64_t k = 0; k < in; ++k) sum += x[k] * row[k];
        if (a.squares.defined()) {
          const float* parts = a.squares.as<float>() + 2 * m;
          sum /= std::sqrt((parts[0] + parts[1]) / static_cast<float>(in) + a.norm_eps);
        }
        y[static_cast<size_t>(n)] = sum + (a.bias ? a.bias->tensor().as<float>()[n] : 0.0f);
      }
      const int64_t wide = a.out.dim(1);
      for (int64_t n = 0; n < wide; ++n) {
        const float v = activate(a.activation, y, n);
        const float r = a.residual.defined() ? a.residual.as<float>()[m * wide + n] : 0.0f;
        a.out.as<float>()[m * wide + n] = v + r;
      }
      if (a.next_norm != nullptr) prepare_norm(a, m);
    }
  }

  void embedding(const EmbeddingArgs& a) override {
    const int64_t hidden = a.out.dim(1);
    for (int64_t t = 0; t < a.out.dim(0); ++t) {
      float* out = a.out.as<float>() + t * hidden;
      std::copy_n(static_cast<const TestingLinearWeight*>(a.table)->row(a.tokens.as<int32_t>()[t]),
                  hidden, out);
      if (a.position_table == nullptr) continue;
      const float* p = static_cast<const TestingLinearWeight*>(a.position_table)
                           ->row(a.positions.as<int32_t>()[t]);
      for (int64_t i = 0; i < hidden; ++i) out[i] += p[i];
    }
  }

  void gather_rows(const GatherRowsArgs& a) override {
    for (int64_t i = 0; i < a.rows.dim(0); ++i) {
      std::copy_n(a.x.as<float>() + a.rows.as<int32_t>()[i] * a.x.dim(1), a.x.dim(1),
                  a.out.as<float>() + i * a.x.dim(1));
    }
  }

  void rms_norm(const RmsNormArgs& a) override {
    for (int64_t t = 0; t < a.x.dim(0); ++t) {
      normalise(a.x.as<float>() + t * a.x.dim(1), a.x.dim(1), *a.weight, a.eps,
                a.out.as<float>() + t * a.x.dim(1));
    }
  }

  void layer_norm(const LayerNormArgs& a) override {
    const int64_t n = a.x.dim(1);
    for (int64_t t = 0; t < a.x.dim(0); ++t) {
      const float* x = a.x.as<float>() + t * n;
      double mean = 0, var = 0;
      for (int64_t i = 0; i < n; ++i) mean += x[i] / static_cast<double>(n);
      for (int64_t i = 0; i < n; ++i) var += (x[i] - mean) * (x[i] - mean) / static_cast<double>(n);
      for (int64_t i = 0; i < n; ++i) {
        a.out.as<float>()[t * n + i] = static_cast<float>((x[i] - mean) / std::sqrt(var + a.eps)) *
                                           a.weight->tensor().as<float>()[i] +
                                       a.bias->tensor().as<float>()[i];
      }
    }
  }

  void rope_and_cache(const RopeAndCacheArgs& a) override {
    auto& cache = static_cast<TestingKvCache&>(*a.cache);
    const int d = cache.spec().head_dim, hq = a.num_q_heads, hkv = cache.spec().num_kv_heads;
    CHECK(a.qkv.dim(1) == (hq + 2 * hkv) * d);
    std::vector<float> head(static_cast<size_t>(d));
    for (int64_t t = 0; t < a.qkv.dim(0); ++t) {
      const int64_t slot = a.batch->slot_mapping.as<int64_t>()[t];
      for (int h = 0; h < hq + 2 * hkv; ++h) {
        std::copy_n(a.qkv.as<float>() + t * a.qkv.dim(1) + h * d, d, head.data());
        const VectorWeight* norm = h < hq ? a.q_norm : a.k_norm;
        if (h < hq + hkv) {
          if (norm) normalise(head.data(), d, *norm, a.norm_eps, head.data());
          rotate(a, a.batch->positions.as<int32_t>()[t], head.data());
        }
        float* to =
            h < hq ? a.q_out.as<float>() + t * a.q_out.dim(1) + h * d
                   : const_cast<float*>(cache.at(a.layer, slot, (h - hq) % hkv, (h - hq) / hkv));
        std::copy_n(head.data(), d, to);
      }
    }
  }

  void attention(const AttentionArgs& a) override {
    const auto& cache = static_cast<const TestingKvCache&>(*a.cache);
    const KvCacheSpec& s = cache.spec();
    const AttentionBatch& b = *a.batch;
    for (int r = 0; r < b.num_rows; ++r) {
      for (int t = b.row_begin.as<int32_t>()[r]; t < b.row_begin.as<int32_t>()[r + 1]; ++t) {
        const int p = b.positions.as<int32_t>()[t];
        const int first = s.window > 0 ? std::max(0, p - s.window + 1) : 0;
        std::vector<int64_t> slots;
        for (int j = first; j <= p; ++j) {
          const int block =
              b.blocks.as<int32_t>()[b.block_begin.as<int32_t>()[r] + j / s.block_size];
          CHECK(block >= 0);
          slots.push_back(int64_t{block} * s.block_size + j % s.block_size);
        }
        for (int h = 0; h < a.num_q_heads; ++h) attend(a, cache, t, h, slots);
      }
    }
  }

 private:
  static void prepare_norm(const LinearArgs& a, int64_t m) {
    const int64_t wide = a.out.dim(1);
    float* squares = a.squares_out.as<float>() + 2 * m;
    squares[0] = squares[1] = 0;
    for (int64_t n = 0; n < wide; ++n) {
      const float y = a.out.as<float>()[m * wide + n];
      a.weighted.as<float>()[m * wide + n] = y * a.next_norm->tensor().as<float>()[n];
      squares[n % 2] += y * y;
    }
  }
  static float activate(Activation act, const std::vector<float>& y, int64_t n) {
    const float v = y[static_cast<size_t>(n)];
    switch (act) {
      case Activation::kNone:
        return v;
      case Activation::kGelu:
        return 0.5f * v * (1 + std::erf(v * 0.70710678f));
      case Activation::kGeluTanh:
        return 0.5f * v * (1 + std::tanh(0.79788456f * (v + 0.044715f * v * v * v)));
      case Activation::kSwiGlu:
        return v / (1 + std::exp(-v)) * y[static_cast<size_t>(n) + y.size() / 2];
    }
    return v;
  }

  static void normalise(const float* x, int64_t n, const VectorWeight& weight, float eps,
                        float* out) {
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
    const auto scale = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(n) + eps));
    for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale * weight.tensor().as<float>()[i];
  }

  static void rotate(const RopeAndCacheArgs& a, int position, float* x) {
    const int half = a.rotary_dims / 2;
    for (int i = 0; i < half; ++i) {
      const float* row = a.cos_sin.as<float>() + int64_t{position} * a.rotary_dims;
      const float u = x[i], v = x[i + half];
      x[i] = u * row[i] - v * row[half + i];
      x[i + half] = v * row[i] + u * row[half + i];
    }
  }

  static void attend(const AttentionArgs& a, const TestingKvCache& cache, int t, int h,
                     const std::vector<int64_t>& slots) {
    const int d = cache.spec().head_dim;
    const int kv = h / (a.num_q_heads / cache.spec().num_kv_heads);
    const float* q = a.q.as<float>() + t * a.q.dim(1) + h * d;
    std::vector<double> scores;
    for (int64_t slot : slots) {
      double dot = 0;
      for (int i = 0; i < d; ++i) dot += q[i] * cache.at(a.layer, slot, kv, 0)[i];
      scores.push_back(dot * a.scale);
    }
    const double top = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& s : scores) sum += s = std::exp(s - top);
    float* out = a.out.as<float>() + t * a.out.dim(1) + h * d;
    for (int i = 0; i < d; ++i) {
      double v = 0;
      for (size_t j = 0; j < slots.size(); ++j)
        v += scores[j] / sum * cache.at(a.layer, slots[j], kv, 1)[i];
      out[i] = static_cast<float>(v);
    }
  }

  Workspace workspace_;
};

}  // namespace octavo::testing
