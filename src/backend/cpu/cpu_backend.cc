#include "backend/cpu/cpu_backend.h"

#include <sched.h>

#include <string>
#include <system_error>

#include "backend/cpu/attention.h"
#include "backend/cpu/embedding.h"
#include "backend/cpu/linear.h"
#include "backend/cpu/linear_weight.h"
#include "backend/cpu/norm.h"
#include "backend/cpu/sampler.h"
#include "backend/cpu/thread_pool.h"
#include "backend/cpu/weight_memory.h"
#include "tensor/arena.h"

namespace octavo::cpu {
namespace {

constexpr int kMaxThreads = 1024;

int available_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set);
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(Isa isa, int threads) : isa_(isa), pool_(threads) {}

  std::string name() const override { return "cpu (" + std::string(to_string(isa_)) + ")"; }
  DType activation_dtype(DType) const override { return DType::kF32; }

  void begin_step() override { workspace_.reset(); }
  Tensor allocate(DType dtype, Shape shape) override { return workspace_.allocate(dtype, shape); }
  Staged stage(DType dtype, Shape shape) override {
    const Tensor memory = workspace_.allocate(dtype, shape);
    return {memory, memory};
  }
  void send_staged() override {}
  bool narrows_last_layer(int tokens, int wanted) const override { return wanted < tokens; }
  std::vector<float> read_back(const Tensor& tensor) override { return read_floats(tensor); }

  std::unique_ptr<LinearWeight> make_linear_weight(const LinearSpec& spec) override {
    return std::make_unique<CpuLinearWeight>(isa_, weight_memory_, spec);
  }
  std::unique_ptr<VectorWeight> make_vector_weight(int64_t size) override {
    return std::make_unique<CpuVectorWeight>(size);
  }
  std::unique_ptr<KvCache> make_kv_cache(const KvCacheSpec& spec) override {
    return make_cpu_kv_cache(spec);
  }
  size_t kv_block_bytes(const KvCacheSpec& spec) const override {
    return cpu::kv_block_bytes(spec);
  }
  std::unique_ptr<Sampler> make_sampler(const SamplerSpec& spec) override {
    return make_cpu_sampler(isa_, pool_, spec);
  }

  void linear(const LinearArgs& args) override { cpu::linear(isa_, pool_, linear_scratch_, args); }
  void embedding(const EmbeddingArgs& args) override { cpu::embedding(pool_, args); }
  void gather_rows(const GatherRowsArgs& args) override { cpu::gather_rows(pool_, args); }
  void rms_norm(const RmsNormArgs& args) override { cpu::rms_norm(isa_, pool_, args); }
  void layer_norm(const LayerNormArgs& args) override { cpu::layer_norm(isa_, pool_, args); }
  void rope_and_cache(const RopeAndCacheArgs& args) override {
    cpu::rope_and_cache(isa_, pool_, args);
  }
  void attention(const AttentionArgs& args) override { cpu::attention(isa_, pool_, args); }

 private:
  Isa isa_;
  ThreadPool pool_;
  WeightMemory weight_memory_;
  Workspace workspace_;
  LinearScratch linear_scratch_;
};

}  // namespace

StatusOr<std::unique_ptr<Backend>> make_cpu_backend(const CpuOptions& options) {
  StatusOr<Isa> isa = select_isa(options.isa);
  if (!isa.ok()) return isa.status();
  const int threads = options.threads > 0 ? options.threads : available_processors();
  if (options.threads < 0 || threads > kMaxThreads) {
    return invalid_argument("the number of CPU threads must be between 1 and " +
                            std::to_string(kMaxThreads));
  }
  try {
    return std::unique_ptr<Backend>(std::make_unique<CpuBackend>(*isa, threads));
  } catch (const std::system_error& error) {
    return resource_exhausted("cannot start " + std::to_string(threads) +
                              " threads: " + error.what());
  }
}

}  // namespace octavo::cpu
