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

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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
  // Integers that the host gives to the ops of this step: fill `host` of all that were staged, then
  // send_staged() once, before the first op. On the CPU both are the same memory.
  struct Staged {
    Tensor host, device;
  };
  virtual Staged stage(DType dtype, Shape shape) = 0;
  virtual void send_staged() = 0;

  // Whether it is faster for the last layer to go on with the `wanted` of `tokens` tokens alone,
  // once all keys and values are in the cache (Batch::wanted_groups).
  virtual bool narrows_last_layer(int tokens, int wanted) const { return false; }

  // How many groups of rows with a common prefix attention can make use of.
  virtual int max_shared_prefixes() const { return 0; }

  // Steps that repeat. Where a device gains by it (CUDA graphs), steps of decode rows alone are
  // filled up to padded_rows() and named by a key on which all arguments of their ops depend, those
  // in staged memory apart. replay() launches the ops recorded under a key, if there are any;
  // otherwise the caller makes the step's calls between begin_recording() and end_recording(),
  // where the backend may record them. Either way the ops have been launched afterwards.
  virtual int padded_rows(int decode_rows) const { return decode_rows; }
  virtual bool replay(uint64_t key) { return false; }
  virtual void begin_recording(uint64_t key) {}
  virtual void end_recording() {}
  // Whether the steps of this key have yet to be recorded. Making a few does it, be they of padding
  // alone.
  virtual bool wants_recording(uint64_t key) const { return false; }

  // Waits for the ops called before.
  virtual void wait() {}
  // The same. The elements of a float tensor, as float32: for tests.
  virtual std::vector<float> read_back(const Tensor& tensor) = 0;

  virtual std::unique_ptr<LinearWeight> make_linear_weight(const LinearSpec& spec) = 0;
  virtual std::unique_ptr<VectorWeight> make_vector_weight(int64_t size) = 0;
  // All weights have been given; waits until they have arrived.
  virtual Status weights_loaded() { return ok_status(); }
  // Not ok if an op of the steps so far could not be launched; names the op. kUnavailable: the
  // device is lost, no later step can run either. Clears it.
  virtual Status take_error() { return ok_status(); }
  virtual std::unique_ptr<KvCache> make_kv_cache(const KvCacheSpec& spec) = 0;
  virtual size_t kv_block_bytes(const KvCacheSpec& spec) const = 0;  // one block, all layers
  virtual std::unique_ptr<Sampler> make_sampler(const SamplerSpec& spec) = 0;

  // Whether the products `first` and `second` carry the norm between them, because that is faster
  // than rms_norm() (linear.h): the parts of a row of LinearArgs::squares, or 0. Both without what
  // the norm adds to them, and without outputs; `second` without x.
  virtual int carried_norm_parts(const LinearArgs& first, const LinearArgs& second) const {
    return 0;
  }
  virtual void linear(const LinearArgs& args) = 0;
  virtual void embedding(const EmbeddingArgs& args) = 0;
  virtual void gather_rows(const GatherRowsArgs& args) = 0;
  virtual void rms_norm(const RmsNormArgs& args) = 0;
  virtual void layer_norm(const LayerNormArgs& args) = 0;
  virtual void rope_and_cache(const RopeAndCacheArgs& args) = 0;
  // Whether attention() of this batch takes AttentionArgs::append, because that is faster than
  // rope_and_cache() before it.
  virtual bool appends_in_attention(const RopeAndCacheArgs& args) const { return false; }
  virtual void attention(const AttentionArgs& args) = 0;
};

}  // namespace octavo
