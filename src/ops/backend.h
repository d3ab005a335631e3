// Backend: one device and its op table. A model calls ops through this interface and never learns
// which device it runs on. Each op's header (linear.h, attention.h, …) is its specification:
// formula, shapes, dtypes, precision. All outputs are allocated by the caller and written whole; no
// op works in place.
//
// Thread: all ops of one backend are called from its one worker thread; an op may use the backend's
// own threads inside, and on an asynchronous device returns before the work is done.
//
// Activations have the dtype activation_dtype(): float32 on the CPU, the model's dtype on a GPU.
//
// Determinism (design decision 9): the result for one row (token) must not depend, bit for bit, on
// how many other rows there are, on how a sequence was cut into chunks, or on the number of
// threads. On the CPU every op keeps this; a GPU backend has a form of each that does.
#pragma once

#include <memory>
#include <string>

#include "ops/attention.h"
#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/sampler.h"
#include "tensor/tensor.h"

namespace octavo {

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;  // "cpu (amx)", "cuda: NVIDIA H200"
  virtual DType activation_dtype(DType model_dtype) const = 0;

  // Memory of a step's activations, valid until the next begin_step().
  virtual void begin_step() = 0;
  virtual Tensor allocate(DType dtype, Shape shape) = 0;
  // A copy of host integers, usable by the ops of this step. On the CPU the same memory.
  virtual Tensor upload(const Tensor& host) = 0;

  virtual std::unique_ptr<LinearWeight> make_linear_weight(const LinearSpec& spec) = 0;
  virtual std::unique_ptr<VectorWeight> make_vector_weight(int64_t size) = 0;
  virtual std::unique_ptr<KvCache> make_kv_cache(const KvCacheSpec& spec) = 0;
  virtual size_t kv_block_bytes(const KvCacheSpec& spec) const = 0;  // one block, all layers
  virtual std::unique_ptr<Sampler> make_sampler(const SamplerSpec& spec) = 0;

  virtual void linear(const LinearArgs& args) = 0;
  virtual void embedding(const EmbeddingArgs& args) = 0;
  virtual void gather_rows(const GatherRowsArgs& args) = 0;
  virtual void rms_norm(const RmsNormArgs& args) = 0;
  virtual void layer_norm(const LayerNormArgs& args) = 0;
  virtual void rope_and_cache(const RopeAndCacheArgs& args) = 0;
  virtual void attention(const AttentionArgs& args) = 0;
};

}  // namespace octavo
