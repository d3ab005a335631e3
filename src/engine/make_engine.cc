// make_engine_parts: from options to a loaded model and what runs it. The one file of this room
// that names a backend.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <new>
#include <thread>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "engine/engine_parts.h"
#include "engine/executor/worker_executor.h"
#include "engine/memory_plan.h"
#include "engine/model_runner.h"
#include "engine/scheduling_policy.h"
#include "weights/loader.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

constexpr int kStepsInFlight = 2;

std::string gib(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f s", seconds);
  return text;
}

// Everything that lives as long as the model does, and the runner on it. Owned by the executor's
// thread.
class LocalRunner : public StepRunner {
 public:
  LocalRunner(std::unique_ptr<Backend> backend, std::unique_ptr<Model> model,
              const std::vector<KvCacheSpec>& caches, DType activation, const SamplerSpec& sampler)
      : backend_(std::move(backend)),
        model_(std::move(model)),
        runner_(*backend_, *model_, caches, activation, sampler) {}
  void forward(const BatchPlan& plan) override { runner_.forward(plan); }
  void finish(const BatchPlan& plan, const StepMasks& masks) override {
    runner_.finish(plan, masks);
  }
  StepResult collect() override { return runner_.collect(); }
  bool prepare() override { return runner_.prepare(); }

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  ModelRunner runner_;
};

StatusOr<DType> resolve_dtype(const std::string& asked, DType checkpoint) {
  // As vLLM on a CPU: a float32 checkpoint is served in bfloat16 unless the user asks for more.
  if (asked == "auto" || asked.empty())
    return checkpoint == DType::kF32 ? DType::kBF16 : checkpoint;
  StatusOr<DType> dtype = parse_dtype(asked);
  if (!dtype.ok() || (*dtype != DType::kF32 && *dtype != DType::kBF16 && *dtype != DType::kF16)) {
    return invalid_argument("--dtype must be auto, bfloat16, float16 or float32, not '" + asked +
                            "'");
  }
  return dtype;
}

Status check_options(const EngineOptions& o) {
  if (o.device.device != "auto" && o.device.device != "cpu" && o.device.device != "cuda") {
    return invalid_argument("--device must be auto, cpu or cuda, not '" + o.device.device + "'");
  }
  if (o.cache.block_size < 16 || o.cache.block_size % 16 != 0 || o.cache.block_size > 1024) {
    return invalid_argument("--block-size must be a multiple of 16 up to 1024, not " +
                            std::to_string(o.cache.block_size));
  }
  if (o.cache.kv_cache_memory_bytes && *o.cache.kv_cache_memory_bytes < 1) {
    return invalid_argument("--kv-cache-memory-bytes must be positive");
  }
  if (o.scheduler.max_num_seqs < 1) return invalid_argument("--max-num-seqs must be at least 1");
  if (o.scheduler.max_num_batched_tokens < o.scheduler.max_num_seqs) {
    return invalid_argument("--max-num-batched-tokens (" +
                            std::to_string(o.scheduler.max_num_batched_tokens) +
                            ") must be greater than or equal to --max-num-seqs (" +
                            std::to_string(o.scheduler.max_num_seqs) + ")");
  }
  if (o.scheduler.policy != "fcfs" && o.scheduler.policy != "priority") {
    return invalid_argument("--scheduling-policy must be fcfs or priority, not '" +
                            o.scheduler.policy + "'");
  }
  if (o.device.step_timeout_seconds < 0)
    return invalid_argument("--step-timeout must be at least 0");
  if (o.model.max_model_len && *o.model.max_model_len < 1)
    return invalid_argument("--max-model-len must be at least 1");
  return ok_status();
}

// A model has embeddings or rotations for its own positions alone.
Status check_context(const EngineOptions& o, const ModelConfig& c) {
  if (o.model.max_model_len.value_or(0) <= c.max_position) return ok_status();
  return invalid_argument("--max-model-len " + std::to_string(*o.model.max_model_len) +
                          " is greater than the model's context of " +
                          std::to_string(c.max_position) +
                          " tokens (max_position_embeddings in config.json): lower it");
}

// auto takes a GPU wherever there is one, and then no CPU in its stead: a GPU that cannot be used
// is an error.
bool wants_cuda(const EngineOptions& o) {
  return o.device.device == "cuda" || (o.device.device == "auto" && cuda::any_gpu());
}

// Fills in what the options leave to the device. The figures are vLLM's, but for the GPU's block.
EngineOptions with_device_defaults(EngineOptions o, bool cuda) {
  SchedulerOptions& s = o.scheduler;
  if (o.cache.block_size == 0) o.cache.block_size = cuda ? 32 : 16;
  if (s.max_num_seqs == 0) s.max_num_seqs = cuda ? 1024 : s.offline ? 256 : 128;
  // On a GPU a product of 512 rows is near its best rate, and a step with so many takes a few times
  // one of decode rows alone: larger chunks would only bunch the answers.
  if (s.max_mixed_prefill_tokens < 0) s.max_mixed_prefill_tokens = cuda ? 512 : 0;
  if (s.max_num_batched_tokens == 0) {
    s.max_num_batched_tokens = std::max((cuda ? 8192 : 2048) * (s.offline ? 2 : 1), s.max_num_seqs);
  }
  return o;
}

// What the GPU's kernels ask of a model's shape.
Status check_cuda_model(const ModelConfig& c, DType dtype) {
  const auto refuse = [&](const std::string& what) {
    return unimplemented("CUDA: " + what + "; use --device cpu");
  };
  if (dtype == DType::kF32)
    return refuse("weights and activations are bfloat16 or float16, not float32");
  if (c.head_dim % 16 != 0 || c.head_dim > 256)
    return refuse("head_dim must be a multiple of 16 up to 256, not " + std::to_string(c.head_dim));
  if (c.hidden_size % 8 != 0 || c.intermediate_size % 8 != 0)
    return refuse("hidden_size and intermediate_size must be multiples of 8");
  return ok_status();
}

StatusOr<std::unique_ptr<text::TextModel>> load_text_of(const EngineOptions& options,
                                                        const fs::path& directory, int vocab_size) {
  const fs::path path =
      options.model.tokenizer.empty() ? directory : fs::path(options.model.tokenizer);
  if (options.model.load_format == "dummy" && options.model.tokenizer.empty() &&
      !text::has_tokenizer(path)) {
    return text::TextModel::without_tokenizer(vocab_size);
  }
  return text::TextModel::load(path, options.model.chat_template,
                               options.model.trust_request_special_tokens,
                               options.model.chat_template_content_format);
}

StatusOr<LoadReport> load_weights(const EngineOptions& options, const fs::path& directory,
                                  Model& model, int threads) {
  const std::string& format = options.model.load_format;
  if (format == "dummy")
    return load_dummy(model, static_cast<uint64_t>(options.model.seed), threads);
  if (format == "auto" || format == "safetensors" || format == "hf")
    return load_safetensors(directory, model, threads);
  return unimplemented("--load-format " + format +
                       " is not supported; auto, safetensors and dummy are");
}

// Config, weights and text of a directory, on a backend. The tokenizer is read while the weights
// are.
struct Loaded {
  ModelConfig config;
  DType dtype = DType::kBF16;
  bool on_cuda = false;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Model> model;
  std::unique_ptr<text::TextModel> text;
  LoadReport report;
};

StatusOr<Loaded> load(const EngineOptions& options, bool on_cuda, bool with_text) {
  Loaded l;
  const fs::path directory = options.model.model;
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored)) {
    return not_found("'" + options.model.model + "' is no model directory");
  }
  ASSIGN_OR_RETURN(l.config, read_model_config(directory, options.model.generation_config));
  RETURN_IF_ERROR(check_context(options, l.config));
  ASSIGN_OR_RETURN(l.dtype, resolve_dtype(options.model.dtype, l.config.dtype));
  l.on_cuda = on_cuda;
  if (on_cuda) {
    RETURN_IF_ERROR(check_cuda_model(l.config, l.dtype));
    std::function<void(const std::string&)> profile;
    if (options.device.profile) {
      profile = [](const std::string& tables) { std::fputs(tables.c_str(), stdout); };
    }
    ASSIGN_OR_RETURN(
        l.backend, cuda::make_cuda_backend({.max_tokens = options.scheduler.max_num_batched_tokens,
                                            .max_rows = options.scheduler.max_num_seqs,
                                            .graphs = !options.device.enforce_eager,
                                            .batch_invariant = options.device.batch_invariant,
                                            .tune = options.device.tune,
                                            .profile_report = profile}));
  } else {
    ASSIGN_OR_RETURN(l.backend, cpu::make_cpu_backend({.threads = options.device.threads}));
  }

  StatusOr<std::unique_ptr<text::TextModel>> text = internal_error("not read");
  std::thread reader([&] {
    text = with_text ? load_text_of(options, directory, l.config.vocab_size)
                     : StatusOr<std::unique_ptr<text::TextModel>>(nullptr);
  });
  const int threads = options.device.threads > 0
                          ? options.device.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const Status loaded = [&]() -> Status {
    ASSIGN_OR_RETURN(l.model, make_model(l.config, l.dtype, *l.backend));
    ASSIGN_OR_RETURN(l.report, load_weights(options, directory, *l.model, threads));
    const double begin = steady_seconds();
    RETURN_IF_ERROR(l.backend->weights_loaded());
    l.report.seconds += steady_seconds() - begin;
    return ok_status();
  }();
  reader.join();
  RETURN_IF_ERROR(loaded);
  if (!text.ok()) return text.status();
  l.text = std::move(*text);
  return l;
}

// Device memory that a step takes beside weights and cache, at most: activations of all tokens,
// logits of all rows with room to edit them, and what the kernels, graphs and the driver keep.
int64_t step_bytes(const EngineOptions& options, const Loaded& l) {
  constexpr int64_t kFixed = int64_t{3} << 29;
  const ModelConfig& c = l.config;
  const int64_t heads = int64_t{c.head_dim} * (3 * c.num_heads + 2 * c.num_kv_heads);
  const int64_t token = static_cast<int64_t>(size_of(l.dtype)) *
                        (6 * int64_t{c.hidden_size} + heads + 2 * int64_t{c.intermediate_size});
  const int64_t logits = int64_t{c.vocab_size} * static_cast<int64_t>(sizeof(float));
  return kFixed + options.scheduler.max_num_batched_tokens * token +
         options.scheduler.max_num_seqs * logits * 5 / 4;
}

StatusOr<int64_t> kv_budget(const EngineOptions& options, const Loaded& l, std::string& account) {
  if (options.cache.kv_cache_memory_bytes) return *options.cache.kv_cache_memory_bytes;
  if (!l.on_cuda) {
    return static_cast<int64_t>(static_cast<double>(available_memory_bytes()) *
                                options.cache.memory_share);
  }
  ASSIGN_OR_RETURN(const cuda::DeviceMemory memory, cuda::device_memory());
  const auto share = static_cast<int64_t>(static_cast<double>(memory.total) *
                                          options.cache.gpu_memory_utilization);
  const int64_t step = step_bytes(options, l);
  const int64_t used = memory.total - memory.free;
  const int64_t left = share - used - step;
  account = "GPU memory: " + gib(memory.total) + ", of which " +
            std::to_string(std::lround(100 * options.cache.gpu_memory_utilization)) +
            " % may be used; taken by weights, driver and other processes " + gib(used) +
            ", kept for steps " + gib(step);
  if (left <= 0) {
    return resource_exhausted(account +
                              ": nothing is left for the KV cache. Free memory on the GPU, "
                              "raise --gpu-memory-utilization, or lower --max-num-batched-tokens "
                              "and --max-num-seqs");
  }
  return left;
}

SchedulerConfig scheduler_config(const EngineOptions& options, int max_model_len, int vocab_size) {
  const SchedulerOptions& asked = options.scheduler;
  SchedulerConfig config;
  config.max_num_batched_tokens = asked.max_num_batched_tokens;
  config.max_num_seqs = asked.max_num_seqs;
  config.max_model_len = max_model_len;
  config.long_prefill_token_threshold = asked.long_prefill_token_threshold;
  config.chunked_prefill = asked.enable_chunked_prefill;
  config.policy =
      asked.policy == "priority" ? SchedulingPolicy::kPriority : SchedulingPolicy::kFcfs;
  config.vocab_size = vocab_size;
  if (!asked.offline) {  // nobody waits for the next token of an offline answer
    config.max_step_seconds = asked.max_step_ms / 1000;
    config.max_mixed_prefill = asked.max_mixed_prefill_tokens;
  }
  return config;
}

StatusOr<MemoryPlan> plan_for(const EngineOptions& options, const Loaded& l,
                              std::vector<KvCacheSpec>& groups, std::string& account) {
  MemoryDemand demand;
  for (KvCacheSpec& group : groups) {
    group.block_size = options.cache.block_size;
    group.dtype = l.dtype;
    demand.block_bytes.push_back(static_cast<int64_t>(l.backend->kv_block_bytes(group)));
  }
  demand.groups = groups;
  ASSIGN_OR_RETURN(demand.kv_budget, kv_budget(options, l, account));
  demand.max_position = l.config.max_position;
  demand.asked_max_model_len = options.model.max_model_len;
  demand.max_num_seqs = options.scheduler.max_num_seqs;
  const int context = options.model.max_model_len.value_or(l.config.max_position);
  demand.max_chunk = max_chunk(scheduler_config(options, context, l.config.vocab_size));
  ASSIGN_OR_RETURN(MemoryPlan plan, plan_memory(demand, options.cache.block_size));
  for (size_t g = 0; g < groups.size(); ++g) groups[g].num_blocks = plan.num_blocks[g];
  return plan;
}

ModelInfo describe(const EngineOptions& options, const Loaded& l, const MemoryPlan& plan,
                   int64_t weight_bytes) {
  ModelInfo info;
  info.name = options.model.served_name.empty() ? options.model.model : options.model.served_name;
  info.architecture = l.config.architecture;
  info.dtype = std::string(to_string(l.dtype));
  info.device = l.backend->name();
  info.vocab_size = l.config.vocab_size;
  info.max_model_len = plan.max_model_len;
  info.block_size = options.cache.block_size;
  info.num_kv_blocks = plan.num_blocks.empty() ? 0 : plan.num_blocks[0];
  info.num_parameters = l.report.num_parameters;
  info.weight_bytes = weight_bytes;
  info.kv_cache_bytes = plan.kv_bytes;
  info.max_num_seqs = options.scheduler.max_num_seqs;
  info.max_logprobs = options.max_logprobs;
  info.max_num_batched_tokens = options.scheduler.max_num_batched_tokens;
  info.prefix_caching = options.cache.enable_prefix_caching;
  info.eos_token_ids = l.config.eos_token_ids;
  info.default_sampling = l.config.default_sampling;
  return info;
}

}  // namespace

StatusOr<std::unique_ptr<text::TextModel>> load_text(const EngineOptions& options) {
  ASSIGN_OR_RETURN(const ModelConfig config,
                   read_model_config(options.model.model, options.model.generation_config));
  return load_text_of(options, options.model.model, config.vocab_size);
}

StatusOr<EngineParts> make_engine_parts(const EngineOptions& asked, bool with_text,
                                        const std::function<void(const std::string&)>& progress) {
  const auto say = [&](const std::string& line) {
    if (progress) progress(line);
  };
  const bool on_cuda = wants_cuda(asked);
  const EngineOptions options = with_device_defaults(asked, on_cuda);
  RETURN_IF_ERROR(check_options(options));
  ASSIGN_OR_RETURN(Loaded l, load(options, on_cuda, with_text));
  const int64_t weight_bytes = l.report.num_parameters * static_cast<int64_t>(size_of(l.dtype));
  say(l.config.architecture + ", " + std::to_string(l.report.num_parameters / 1'000'000) +
      " M parameters as " + std::string(to_string(l.dtype)) + " on " + l.backend->name() +
      ", loaded in " + seconds_text(l.report.seconds));

  std::vector<KvCacheSpec> groups = l.model->kv_groups();
  std::string account;
  ASSIGN_OR_RETURN(MemoryPlan plan, plan_for(options, l, groups, account));
  if (!account.empty()) say(account);
  if (!plan.notice.empty()) say(plan.notice);
  say("memory plan: weights " + gib(weight_bytes) + ", KV cache " + gib(plan.kv_bytes) + " (" +
      std::to_string(groups[0].num_blocks) + " blocks of " +
      std::to_string(options.cache.block_size) + " tokens" + (on_cuda ? "" : ", taken as used") +
      "), context " + std::to_string(plan.max_model_len) + " tokens");

  std::vector<CacheGroupSpec> cache_groups;
  cache_groups.reserve(groups.size());
  for (const KvCacheSpec& group : groups) cache_groups.push_back({group.num_blocks, group.window});
  EngineParts parts;
  parts.cache = std::make_unique<KvManager>(std::move(cache_groups), options.cache.block_size,
                                            options.cache.enable_prefix_caching);
  parts.scheduler = scheduler_config(options, plan.max_model_len, l.config.vocab_size);
  parts.model = describe(options, l, plan, weight_bytes);
  const SamplerSpec sampler{options.scheduler.max_num_seqs, l.config.vocab_size,
                            plan.max_model_len};
  const DType activation = l.backend->activation_dtype(l.dtype);
  std::unique_ptr<LocalRunner> runner;
  try {
    runner = std::make_unique<LocalRunner>(std::move(l.backend), std::move(l.model), groups,
                                           activation, sampler);
  } catch (const std::bad_alloc&) {
    return resource_exhausted("no memory for a KV cache of " + gib(plan.kv_bytes) +
                              ": set a smaller --kv-cache-memory-bytes");
  }
  parts.executor = std::make_unique<WorkerExecutor>(
      std::move(runner), options.scheduler.async_scheduling ? kStepsInFlight : 1);
  parts.text = std::move(l.text);
  parts.step_timeout_seconds = options.device.step_timeout_seconds;
  return parts;
}

}  // namespace octavo
