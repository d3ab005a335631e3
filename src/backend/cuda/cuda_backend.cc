#include "backend/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include <array>
#include <atomic>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "backend/cuda/cluster_linear.h"
#include "backend/cuda/cublaslt.h"
#include "backend/cuda/decode_attention.h"
#include "backend/cuda/device_arena.h"
#include "backend/cuda/elementwise.h"
#include "backend/cuda/kv_cache.h"
#include "backend/cuda/large_linear.h"
#include "backend/cuda/prefill_attention.h"
#include "backend/cuda/profiler.h"
#include "backend/cuda/sampler.h"
#include "backend/cuda/skinny_linear.h"
#include "backend/cuda/step_graphs.h"
#include "backend/cuda/step_inputs.h"
#include "backend/cuda/weights.h"
#include "base/check.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"

namespace octavo::cuda {
namespace {

// The most rows of x for which the skinny kernel is the fastest, and the most in small matrices, as
// those of a layer with hidden size 1024, for which it has too few tiles to keep all SMs at work.
constexpr int kFewRows = 64, kFewRowsSmall = 32;
// cuBLASLt beats ours with fewer rows of x than this, SwiGLU apart, and in small matrices with
// fewer than the second.
constexpr int kLibraryRows = 768, kLibraryRowsSmall = 2048;
constexpr int64_t kSmallMatrix = int64_t{6} << 20;
// What the last layer must be spared before that pays for gathering rows and planning once more.
constexpr int kTokensWorthNarrowing = 128;

bool is_small(const LinearCall& call) {
  return int64_t{call.n} * call.k <= kSmallMatrix;
}

bool is_skinny(const LinearCall& call) {
  return call.m <= (is_small(call) ? kFewRowsSmall : kFewRows) && skinny_linear_takes(call);
}

bool is_for_library(const LinearCall& call) {
  return call.m < (is_small(call) ? kLibraryRowsSmall : kLibraryRows) && CublasLt::takes(call);
}

// What a product may run on.
enum class ProductKernel { kSkinny, kCluster, kLibrary, kLarge };

// Whether `kernel` can do all of `call`, a carried norm included.
bool takes(ProductKernel kernel, const LinearCall& call) {
  switch (kernel) {
    case ProductKernel::kSkinny:
      return skinny_linear_takes(call);
    case ProductKernel::kCluster:
      return cluster_linear_takes(call);
    case ProductKernel::kLibrary:
      return CublasLt::takes(call);
    case ProductKernel::kLarge:
      return large_linear_takes(call);
  }
  return false;
}

// REQUIRES: takes(kernel, call), which has next_gain.
int square_parts(ProductKernel kernel, const LinearCall& call) {
  switch (kernel) {
    case ProductKernel::kSkinny:
      return skinny_linear_square_parts(call);
    case ProductKernel::kCluster:
      return cluster_linear_square_parts(call);
    case ProductKernel::kLarge:
      return large_linear_square_parts(call);
    case ProductKernel::kLibrary:
      break;
  }
  return 0;
}

// Memory that a kernel wants beside its arguments, at a fixed address.
class Scratch {
 public:
  ~Scratch() { cudaFree(data_); }
  // Zeros at first, for the work that `stream` gets from now on. REQUIRES: not while recording,
  // where this asks for more than ever before. Throws bad_alloc.
  void* at_least(size_t bytes, cudaStream_t stream) {
    if (bytes <= bytes_) return data_;
    cudaDeviceSynchronize();
    cudaFree(data_);
    data_ = nullptr;
    bytes_ = 0;
    if (cudaMalloc(&data_, bytes) != cudaSuccess) {
      cudaGetLastError();
      throw OutOfMemory(bytes, "device memory for a kernel");
    }
    cudaMemsetAsync(data_, 0, bytes, stream);
    bytes_ = bytes;
    return data_;
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// What the attention kernels keep for the rows of one cache group.
struct GroupState {
  Scratch decode, prefill;
  // The batches that the two hold the plans of.
  const AttentionBatch* decode_planned = nullptr;
  const AttentionBatch* prefill_planned = nullptr;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(Device device, const CudaOptions& options, cudaStream_t stream,
              std::unique_ptr<DeviceArena> weights, std::unique_ptr<DeviceArena> activations,
              std::unique_ptr<StepInputs> inputs)
      : device_(std::move(device)),
        options_(options),
        launch_{stream},
        weight_arena_(std::move(weights)),
        activation_arena_(std::move(activations)),
        weight_memory_(*weight_arena_),
        activation_memory_(*activation_arena_),
        inputs_(std::move(inputs)),
        graphs_(stream, options.graphs && !options.profile_report) {
    if (options_.profile_report) profiler_ = std::make_unique<Profiler>(device_);
    if (options_.batch_invariant) return;
    library_opening_ = true;
    library_opener_ = std::thread([this] { open_library(); });
  }

  ~CudaBackend() override {
    if (library_opener_.joinable()) library_opener_.join();
    cudaStreamSynchronize(launch_.stream);
    if (profiler_) options_.profile_report(profiler_->report());
    profiler_.reset();
    cudaStreamDestroy(launch_.stream);
  }

  std::string name() const override { return "cuda: " + device_.name; }
  DType activation_dtype(DType model_dtype) const override { return model_dtype; }

  void begin_step() override {
    activation_memory_.reset();
    inputs_->begin_step();
    for (auto& [cache, state] : groups_) state.decode_planned = state.prefill_planned = nullptr;
  }
  Tensor allocate(DType dtype, Shape shape) override {
    const size_t bytes = static_cast<size_t>(shape.count()) * size_of(dtype);
    return {activation_memory_.allocate(bytes), dtype, shape, DeviceKind::kCuda};
  }
  Staged stage(DType dtype, Shape shape) override { return inputs_->stage(dtype, shape); }
  void send_staged() override { inputs_->send(); }

  bool narrows_last_layer(int tokens, int wanted) const override {
    return tokens - wanted >= kTokensWorthNarrowing;
  }
  int max_shared_prefixes() const override {
    return options_.batch_invariant ? 0 : SharedPrefixes::kMaxGroups;
  }
  int padded_rows(int decode_rows) const override {
    if (!options_.graphs) return decode_rows;
    // Powers of two up to 8, then multiples of 8.
    int rows = 1;
    while (rows < decode_rows && rows < 8) rows *= 2;
    if (decode_rows > 8) rows = (decode_rows + 7) / 8 * 8;
    return std::max(decode_rows, std::min(rows, options_.max_rows));
  }
  bool replay(uint64_t key) override { return graphs_.replay(key); }
  void begin_recording(uint64_t key) override { graphs_.begin_recording(key); }
  void end_recording() override { graphs_.end_recording(); }
  bool wants_recording(uint64_t key) const override { return graphs_.wants(key); }

  void wait() override {
    const cudaError_t error = cudaStreamSynchronize(launch_.stream);
    if (error != cudaSuccess) note_error("the end of a step", error);
  }

  std::vector<float> read_back(const Tensor& tensor) override {
    std::vector<std::byte> raw(tensor.bytes());
    cudaStreamSynchronize(launch_.stream);
    const cudaError_t error =
        cudaMemcpy(raw.data(), tensor.data, raw.size(), cudaMemcpyDeviceToHost);
    if (error != cudaSuccess) note_error("read_back", error);
    return read_floats({raw.data(), tensor.dtype, tensor.shape});
  }

  std::unique_ptr<LinearWeight> make_linear_weight(const LinearSpec& spec) override {
    return std::make_unique<CudaLinearWeight>(weight_store(), spec);
  }
  std::unique_ptr<VectorWeight> make_vector_weight(int64_t size) override {
    return std::make_unique<CudaVectorWeight>(weight_store(), size);
  }
  Status weights_loaded() override {
    uploader_.finish();
    cudaStreamSynchronize(launch_.stream);
    return take_error();
  }
  Status take_error() override {
    const DeviceError error = cuda::take_error();
    if (error.code == cudaSuccess) return ok_status();
    const std::string what = std::string("CUDA: ") + error.op + ": " + describe_error(error.code);
    // An error that a kernel left behind stays, and every later call fails with it.
    const cudaError_t now = cudaStreamQuery(launch_.stream);
    const bool lost = now != cudaSuccess && now != cudaErrorNotReady;
    return lost ? unavailable(what) : internal_error(what);
  }
  std::unique_ptr<KvCache> make_kv_cache(const KvCacheSpec& spec) override {
    return std::make_unique<CudaKvCache>(spec, launch_.stream);
  }
  size_t kv_block_bytes(const KvCacheSpec& spec) const override {
    return cuda::kv_block_bytes(spec);
  }
  std::unique_ptr<Sampler> make_sampler(const SamplerSpec& spec) override {
    return make_cuda_sampler(spec, launch_, std::max(options_.max_tokens, options_.max_rows));
  }

  int carried_norm_parts(const LinearArgs& first, const LinearArgs& second) const override;
  void linear(const LinearArgs& a) override;
  void embedding(const EmbeddingArgs& a) override;
  void gather_rows(const GatherRowsArgs& a) override;
  void rms_norm(const RmsNormArgs& a) override;
  void layer_norm(const LayerNormArgs& a) override;
  void rope_and_cache(const RopeAndCacheArgs& a) override;
  bool appends_in_attention(const RopeAndCacheArgs& a) const override;
  void attention(const AttentionArgs& a) override;

 private:
  ProductKernel kernel_for(LinearCall call, bool has_library = true) const;
  CublasLt* library_for(const LinearCall& call);
  WeightStore weight_store() { return {&weight_memory_, &uploader_, launch_}; }
  static const float* vector_of(const VectorWeight* vector) {
    return vector ? static_cast<const float*>(vector->tensor().data) : nullptr;
  }
  // Labels the launches until it goes, if there is a profiler.
  class Labelled {
   public:
    Labelled(Profiler* profiler, const char* op, double bytes, double flops) : profiler_(profiler) {
      if (profiler_) profiler_->label(op, bytes, flops);
    }
    Labelled(Profiler* profiler, const std::string& op, double bytes, double flops)
        : Labelled(profiler, op.c_str(), bytes, flops) {}
    ~Labelled() {
      if (profiler_) profiler_->end_label();
    }

   private:
    Profiler* profiler_;
  };
  // Without the library all products are ours.
  void open_library() {
    auto library = CublasLt::open();
    if (library.ok()) {
      owned_library_ = std::move(*library);
      library_.store(owned_library_.get(), std::memory_order_release);
    }
    library_opening_.store(false, std::memory_order_release);
  }
  static PagedRows rows_of(const AttentionBatch& batch);
  static LinearCall call_of(const LinearArgs& args);
  static RopeAndCacheCall call_of(const RopeAndCacheArgs& args);

  const Device device_;
  const CudaOptions options_;
  const Launch launch_;
  std::unique_ptr<DeviceArena> weight_arena_, activation_arena_;
  DeviceBump weight_memory_, activation_memory_;
  Uploader uploader_;
  std::unique_ptr<StepInputs> inputs_;
  StepGraphs graphs_;
  Scratch skinny_scratch_, library_scratch_;
  std::unique_ptr<CublasLt> owned_library_;
  std::atomic<CublasLt*> library_{nullptr};
  std::atomic<bool> library_opening_{false};
  std::thread library_opener_;                   // sets the three above
  std::set<std::array<int, 3>> library_shapes_;  // m, n, k that it has run
  std::unique_ptr<Profiler> profiler_;
  std::map<const KvCache*, GroupState> groups_;
};

// The fastest for a product, whether or not it carries a norm; with `has_library` cuBLASLt as well.
ProductKernel CudaBackend::kernel_for(LinearCall call, bool has_library) const {
  call.next_gain = call.squares = nullptr;
  if (options_.batch_invariant) return ProductKernel::kLarge;
  if (is_skinny(call)) return ProductKernel::kSkinny;
  if (cluster_linear_takes(call)) return ProductKernel::kCluster;
  if (has_library && is_for_library(call)) return ProductKernel::kLibrary;
  // Beyond its few rows it still beats the last.
  if (!is_small(call) && skinny_linear_takes(call)) return ProductKernel::kSkinny;
  return ProductKernel::kLarge;
}

// cuBLASLt for a product that is best done by it, once it has been opened: that takes a while and
// goes on beside the first steps, of which those that want it are not recorded until then. Its
// first run of a shape loads kernels, which may not be recorded.
CublasLt* CudaBackend::library_for(const LinearCall& call) {
  if (library_opening_.load(std::memory_order_acquire)) {
    graphs_.postpone();
    return nullptr;
  }
  CublasLt* library = library_.load(std::memory_order_acquire);
  if (!library) return nullptr;
  const std::array<int, 3> shape{call.m, call.n, call.k};
  if (graphs_.recording()) return library_shapes_.contains(shape) ? library : nullptr;
  const bool is_new = library_shapes_.insert(shape).second;
  if (is_new && options_.tune) {
    const Status tuned = library->tune(
        launch_, call, library_scratch_.at_least(CublasLt::kWorkspaceBytes, launch_.stream),
        CublasLt::kWorkspaceBytes);
    if (!tuned.ok()) note_error("tuning of cuBLASLt", cudaErrorNotSupported);
  }
  return library;
}

LinearCall CudaBackend::call_of(const LinearArgs& a) {
  const auto* weight = static_cast<const CudaLinearWeight*>(a.weight);
  const LinearSpec& spec = weight->spec();
  return {.dtype = spec.dtype,
          .m = a.x.defined() ? static_cast<int>(a.x.dim(0)) : 0,
          .n = static_cast<int>(spec.out_features),
          .k = static_cast<int>(spec.in_features),
          .x = a.x.data,
          .weight = weight->data(),
          .bias = vector_of(a.bias),
          .residual = a.residual.data,
          .activation = a.activation,
          .out = a.out.data,
          .out_is_float = a.out.dtype == DType::kF32,
          .next_gain = vector_of(a.next_norm),
          .weighted = a.weighted.data,
          .squares_out = static_cast<float*>(a.squares_out.data),
          .squares = static_cast<const float*>(a.squares.data),
          .square_parts = a.squares.defined() ? static_cast<int>(a.squares.dim(1)) : 0,
          .norm_eps = a.norm_eps};
}

int CudaBackend::carried_norm_parts(const LinearArgs& a, const LinearArgs& b) const {
  static constexpr float kSome = 1;  // the kernels only ask whether there is a norm
  LinearCall first = call_of(a), second = call_of(b);
  if (first.m == 0 || options_.batch_invariant) return 0;
  second.m = first.m;
  first.out_is_float = second.out_is_float = false;
  first.next_gain = second.squares = &kSome;
  const ProductKernel kernel = kernel_for(first);
  if (!takes(kernel, first) || !takes(kernel_for(second), second)) return 0;
  return square_parts(kernel, first);
}

void CudaBackend::linear(const LinearArgs& a) {
  const LinearSpec& spec = a.weight->spec();
  LinearCall call = call_of(a);
  if (call.m == 0) return;
  const double element = 2, m = call.m, n = call.n, k = call.k;
  const Labelled labelled(profiler_.get(),
                          profiler_ ? "linear " + std::to_string(call.n) + " x " +
                                          std::to_string(call.k) + (spec.gated ? " swiglu" : "")
                                    : std::string(),
                          n * k * element + m * k * element + double(a.out.bytes()) +
                              (call.residual ? m * n * element : 0),
                          2 * m * n * k);
  if (spec.gated && call.bias) {
    const Tensor ordered = allocate(DType::kF32, {spec.out_features});
    interleave_gate_up(launch_, call.bias, call.n / 2, static_cast<float*>(ordered.data));
    call.bias = static_cast<const float*>(ordered.data);
  }
  ProductKernel kernel = kernel_for(call);
  CublasLt* const library = kernel == ProductKernel::kLibrary ? library_for(call) : nullptr;
  if (kernel == ProductKernel::kLibrary && library == nullptr) kernel = kernel_for(call, false);
  DCHECK(takes(kernel, call));
  switch (kernel) {
    case ProductKernel::kSkinny:
      return skinny_linear(
          launch_, call, skinny_scratch_.at_least(skinny_linear_workspace_bytes(), launch_.stream));
    case ProductKernel::kCluster:
      return cluster_linear(launch_, call);
    case ProductKernel::kLarge:
      return large_linear(launch_, call, large_linear_tiles(call, !options_.batch_invariant));
    case ProductKernel::kLibrary:
      break;
  }
  if (launch_observer) launch_observer->before_launch("cublaslt", launch_.stream);
  library->run(launch_, call, library_scratch_.at_least(CublasLt::kWorkspaceBytes, launch_.stream),
               CublasLt::kWorkspaceBytes);
  if (launch_observer) launch_observer->after_launch(launch_.stream);
}

void CudaBackend::embedding(const EmbeddingArgs& a) {
  const auto* table = static_cast<const CudaLinearWeight*>(a.table);
  const auto* positions = static_cast<const CudaLinearWeight*>(a.position_table);
  if (profiler_) profiler_->begin_step(std::to_string(a.tokens.dim(0)) + " tokens");
  cuda::embedding(launch_, {.dtype = table->spec().dtype,
                            .tokens = static_cast<int>(a.tokens.dim(0)),
                            .width = static_cast<int>(table->spec().in_features),
                            .ids = static_cast<const int32_t*>(a.tokens.data),
                            .table = table->data(),
                            .positions = static_cast<const int32_t*>(a.positions.data),
                            .position_table = positions ? positions->data() : nullptr,
                            .out = a.out.data});
}

void CudaBackend::gather_rows(const GatherRowsArgs& a) {
  cuda::gather_rows(launch_, a.x.data, static_cast<const int32_t*>(a.rows.data),
                    static_cast<int>(a.rows.dim(0)), static_cast<int>(a.x.dim(1)), a.out.data);
}

void CudaBackend::rms_norm(const RmsNormArgs& a) {
  cuda::rms_norm(launch_, {.dtype = a.x.dtype,
                           .rows = static_cast<int>(a.x.dim(0)),
                           .width = static_cast<int>(a.x.dim(1)),
                           .x = a.x.data,
                           .weight = vector_of(a.weight),
                           .eps = a.eps,
                           .out = a.out.data});
}

void CudaBackend::layer_norm(const LayerNormArgs& a) {
  cuda::layer_norm(launch_, {.dtype = a.x.dtype,
                             .rows = static_cast<int>(a.x.dim(0)),
                             .width = static_cast<int>(a.x.dim(1)),
                             .x = a.x.data,
                             .weight = vector_of(a.weight),
                             .bias = vector_of(a.bias),
                             .eps = a.eps,
                             .out = a.out.data});
}

PagedRows CudaBackend::rows_of(const AttentionBatch& b) {
  const bool decode_only = b.num_decode_rows == b.num_rows;
  return {.num_rows = b.num_rows,
          .num_decode_rows = b.num_decode_rows,
          .num_tokens = b.num_tokens,
          .max_query_len = decode_only ? 0 : b.max_query_len,
          .max_kv_len = decode_only ? 0 : b.max_kv_len,
          .row_begin = static_cast<const int32_t*>(b.row_begin.data),
          .kv_len = static_cast<const int32_t*>(b.kv_len.data),
          .block_begin = static_cast<const int32_t*>(b.block_begin.data),
          .blocks = static_cast<const int32_t*>(b.blocks.data),
          .positions = static_cast<const int32_t*>(b.positions.data),
          .slot_mapping = static_cast<const int64_t*>(b.slot_mapping.data)};
}

RopeAndCacheCall CudaBackend::call_of(const RopeAndCacheArgs& a) {
  return {.qkv = a.qkv.data,
          .num_q_heads = a.num_q_heads,
          .rotary_dims = a.rotary_dims,
          .cos_sin = static_cast<const float*>(a.cos_sin.data),
          .q_norm = vector_of(a.q_norm),
          .k_norm = vector_of(a.k_norm),
          .norm_eps = a.norm_eps,
          .q_out = a.q_out.data};
}

void CudaBackend::rope_and_cache(const RopeAndCacheArgs& a) {
  const auto* cache = static_cast<const CudaKvCache*>(a.cache);
  cuda::rope_and_cache(launch_, cache->layer(a.layer), rows_of(*a.batch), call_of(a));
}

// Decode attention alone can append, and its kernel for shared prefixes reads finished queries.
bool CudaBackend::appends_in_attention(const RopeAndCacheArgs& a) const {
  const auto* cache = static_cast<const CudaKvCache*>(a.cache);
  return !options_.batch_invariant && a.batch->num_decode_rows == a.batch->num_rows &&
         a.batch->shared_prefixes.capacity == 0 &&
         decode_attention_takes(cache->layer(a.layer), a.num_q_heads);
}

void CudaBackend::attention(const AttentionArgs& a) {
  const auto* cache = static_cast<const CudaKvCache*>(a.cache);
  const PagedLayer layer = cache->layer(a.layer);
  const PagedRows rows = rows_of(*a.batch);
  const AttentionCall call{.q = a.q.data,
                           .num_q_heads = a.num_q_heads,
                           .scale = a.scale,
                           .out = a.out.data,
                           .batch_invariant = options_.batch_invariant};
  GroupState& state = groups_[cache];
  const bool decode_only = rows.num_decode_rows == rows.num_rows;
  const double head = layer.head_dim;
  const Labelled labelled(
      profiler_.get(), decode_only ? "attention, decode" : "attention, prefill and mixed",
      4.0 * head * layer.num_kv_heads * double(a.batch->kv_tokens) + double(2 * a.out.bytes()),
      4.0 * head * a.num_q_heads * double(a.batch->scores));
  const auto prefill_scratch = [&] {
    return state.prefill.at_least(prefill_attention_workspace_bytes(
                                      layer, a.num_q_heads, options_.max_rows, options_.max_tokens),
                                  launch_.stream);
  };
  if (options_.batch_invariant) {
    invariant_attention(launch_, layer, rows, call, prefill_scratch());
    return;
  }
  const SharedPrefixBatch& shared = a.batch->shared_prefixes;
  const SharedPrefixes prefixes{
      .capacity = shared.capacity,
      .num_groups = static_cast<const int32_t*>(shared.num_groups.data),
      .prefix_len = static_cast<const int32_t*>(shared.prefix_len.data),
      .member_begin = static_cast<const int32_t*>(shared.member_begin.data),
      .members = static_cast<const int32_t*>(shared.members.data)};
  if (rows.num_decode_rows > 0) {
    void* scratch =
        state.decode.at_least(decode_workspace_bytes(options_.max_rows, a.num_q_heads,
                                                     layer.num_kv_heads, layer.head_dim),
                              launch_.stream);
    // Kernels of this step lie behind the plan by then, and the copy of its inputs before them all.
    const bool early = state.decode_planned == a.batch;
    if (!early) {
      // A second plan in one step takes the place of one that kernels before it may still read.
      const Launch on{launch_.stream, launch_.overlap && state.decode_planned == nullptr};
      plan_decode(on, layer, rows, prefixes, a.num_q_heads, false, scratch);
      state.decode_planned = a.batch;
    }
    RopeAndCacheCall append;
    if (a.append != nullptr) append = call_of(*a.append);
    decode_attention(launch_, layer, rows, prefixes, call, a.append ? &append : nullptr, early,
                     scratch);
  }
  if (rows.num_decode_rows < rows.num_rows) {
    void* scratch = prefill_scratch();
    if (state.prefill_planned != a.batch) {
      plan_prefill_attention(launch_, layer, a.num_q_heads, rows, scratch);
      state.prefill_planned = a.batch;
    }
    planned_prefill_attention(launch_, layer, rows, call, scratch);
  }
}

}  // namespace

StatusOr<std::unique_ptr<Backend>> make_cuda_backend(const CudaOptions& options) {
  ASSIGN_OR_RETURN(Device device, open_device());
  cudaStream_t stream = nullptr;
  const cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) return unavailable("CUDA: " + describe_error(error));
  const auto everything = static_cast<size_t>(device.total_bytes);
  ASSIGN_OR_RETURN(auto weights, DeviceArena::reserve(MemoryTag::kWeights, everything));
  ASSIGN_OR_RETURN(auto activations, DeviceArena::reserve(MemoryTag::kWorkspace, everything));
  ASSIGN_OR_RETURN(auto inputs, StepInputs::create({stream}));
  return std::unique_ptr<Backend>(
      std::make_unique<CudaBackend>(std::move(device), options, stream, std::move(weights),
                                    std::move(activations), std::move(inputs)));
}

}  // namespace octavo::cuda
