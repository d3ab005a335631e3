// The order here is the order of the help.
#include "cli/engine_flags.h"

#include "base/status_macros.h"

namespace octavo::cli {
namespace {

void declare_model_flags(FlagSet& flags, ModelOptions& model, ModelSource& source) {
  flags.group("Model");
  flags.text("tokenizer", &model.tokenizer, "PATH",
             "folder or tokenizer's file; otherwise the model's");
  flags.choice("dtype", &model.dtype,
               {{"auto", "auto"},
                {"bfloat16", "bfloat16"},
                {"float16", "float16"},
                {"half", "float16"},
                {"float32", "float32"},
                {"float", "float32"}},
               "type of weights and activations");
  flags.choice(
      "load-format", &model.load_format,
      {{"auto", "auto"}, {"hf", "auto"}, {"safetensors", "safetensors"}, {"dummy", "dummy"}},
      "dummy: random weights from config.json alone");
  flags.custom("max-model-len", "N|auto", "the model's, as far as the KV cache holds it",
               "longest prompt and answer together; takes 32k, 32K",
               [&model](const std::string& v) -> Status {
                 model.max_model_len.reset();
                 if (v == "auto" || v == "-1") return {};
                 ASSIGN_OR_RETURN(const int64_t n, parse_count(v));
                 if (n < 1 || n > 1'000'000'000)
                   return invalid_argument("must be at least 1, or auto");
                 model.max_model_len = static_cast<int>(n);
                 return {};
               });
  flags.text("generation-config", &model.generation_config, "auto|vllm|DIR",
             "where default sampling comes from; vllm: none");
  flags.text("chat-template", &model.chat_template, "FILE|TEXT", "otherwise the model's");
  flags.choice("chat-template-content-format", &model.chat_template_content_format,
               {{"auto", "auto"}, {"string", "string"}, {"openai", "openai"}},
               "text as one string, or as a list of parts; auto: tried out on the template");
  flags.toggle("trust-request-special-tokens", &model.trust_request_special_tokens,
               "special tokens in chat messages count, role markers too");
  flags.integer("seed", &model.seed, {}, "seed of requests that bring none");
  flags.text("revision", &source.revision, "REV",
             "branch, tag or commit of owner/name; otherwise main");
  flags.text("download-dir", &source.download_dir, "DIR",
             "the Hugging Face cache; otherwise as HF_HOME says");
}

void declare_cache_flags(FlagSet& flags, CacheOptions& cache) {
  flags.group("KV cache");
  flags.integer("block-size", &cache.block_size, {0, 65536},
                "tokens in a block; 0: 16, on a GPU 32");
  flags.custom("kv-cache-memory-bytes", "BYTES", "", "memory for the cache; takes 512M, 4G",
               [&cache](const std::string& v) -> Status {
                 ASSIGN_OR_RETURN(const int64_t n, parse_count(v));
                 if (n < 1) return invalid_argument("must be at least 1");
                 cache.kv_cache_memory_bytes = n;
                 return {};
               });
  flags.number("memory-share", &cache.memory_share, {0.01, 1},
               "share of the memory left after the weights, without --kv-cache-memory-bytes");
  flags.number("gpu-memory-utilization", &cache.gpu_memory_utilization, {0.01, 1},
               "share of the GPU's memory to use, without --kv-cache-memory-bytes");
  flags.toggle("enable-prefix-caching", &cache.enable_prefix_caching,
               "reuse the blocks of equal prefixes");
}

void declare_scheduler_flags(FlagSet& flags, EngineOptions& engine) {
  SchedulerOptions& scheduler = engine.scheduler;
  flags.group("Scheduler");
  flags.count("max-num-batched-tokens", &scheduler.max_num_batched_tokens, {0, 1 << 24},
              "tokens computed in one step; 0: 2048, on a GPU 8192");
  flags.count("max-num-seqs", &scheduler.max_num_seqs, {0, 1 << 20},
              "sequences in one step; 0: 128, on a GPU 1024");
  flags.integer("max-mixed-prefill-tokens", &scheduler.max_mixed_prefill_tokens, {-1, 1 << 24},
                "prompt tokens in a step in which answers decode; 0: no limit; -1: 512 on a GPU");
  flags.count("long-prefill-token-threshold", &scheduler.long_prefill_token_threshold, {0},
              "most prompt tokens of one request in a step; 0: no limit");
  flags.number("max-step-ms", &scheduler.max_step_ms, {0},
               "time of a step that answers may wait for while prompts are computed; 0: any");
  flags.toggle("enable-chunked-prefill", &scheduler.enable_chunked_prefill,
               "split long prompts over several steps");
  flags.choice("scheduling-policy", &scheduler.policy, {{"fcfs", "fcfs"}, {"priority", "priority"}},
               "who goes first: the earliest, or the lowest `priority`");
  flags.toggle("async-scheduling", &scheduler.async_scheduling,
               "plan a step while the one before it runs");
  flags.integer("max-logprobs", &engine.max_logprobs, {-1},
                "most log-probabilities that a request may ask for; -1: no limit");
}

void declare_device_flags(FlagSet& flags, EngineOptions& engine, ModelSource& source) {
  flags.group("Device");
  flags.choice("device", &engine.device.device,
               {{"auto", "auto"}, {"cpu", "cpu"}, {"cuda", "cuda"}}, "where the model runs");
  flags.integer("threads", &engine.device.threads, {0, 4096},
                "threads of the CPU backend; 0: one a core");
  flags.number("step-timeout", &engine.device.step_timeout_seconds, {0},
               "seconds after which a step counts as hung, and the device as lost; 0: never");
  flags.toggle("enforce-eager", &engine.device.enforce_eager,
               "GPU: launch every kernel, no graphs");
  flags.toggle("batch-invariant", &engine.device.batch_invariant,
               "GPU: a token does not depend on its batch, bit for bit; slower");
  flags.integer("output-threads", &engine.output_threads, {1, 256},
                "threads that turn tokens into text");
  flags.toggle("engine-process", &engine.engine_process,
               "run the model in a child process, and replace it when it dies");
  flags.choice("log-level", &source.log_level,
               {{"debug", "debug"},
                {"info", "info"},
                {"warning", "warning"},
                {"error", "error"},
                {"off", "off"}},
               "otherwise OCTAVO_LOG_LEVEL, or info");
}

}  // namespace

void declare_engine_flags(FlagSet& flags, EngineOptions& engine, ModelSource& source) {
  flags.positional(&engine.model.model);
  flags.accept_config_file();
  declare_model_flags(flags, engine.model, source);
  declare_cache_flags(flags, engine.cache);
  declare_scheduler_flags(flags, engine);
  declare_device_flags(flags, engine, source);
}

}  // namespace octavo::cli
