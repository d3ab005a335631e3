// Options of an engine: plain structs, one per concern, filled once and const from then on.
// Names and defaults follow `vllm serve`; docs/architecture.md says where we differ.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace octavo {

struct ModelOptions {
  std::string model;        // a directory with config.json, or owner/name in the Hugging Face cache
  std::string served_name;  // as clients and metrics name it; empty: `model`
  std::string tokenizer;    // directory or a tokenizer's file; empty: the model's
  std::string dtype = "auto";        // auto, bfloat16, float16, float32
  std::string load_format = "auto";  // auto, safetensors, dummy
  std::optional<int> max_model_len;  // none: config.json's, lowered to what the KV cache holds
  std::string generation_config =
      "auto";  // auto: the model's generation_config.json; vllm: none; or a directory
  std::string chat_template;  // file or template text; empty: the model's
  // Special tokens written in the messages of a chat are recognised, as in vLLM: whoever writes a
  // message can then write the model's role markers too.
  bool trust_request_special_tokens = false;
  std::string chat_template_content_format = "auto";  // auto, string, openai (a list of parts)
  int64_t seed = 0;
};

struct CacheOptions {
  int block_size = 0;                            // tokens per KV block; 0: 16, on a GPU 32
  std::optional<int64_t> kv_cache_memory_bytes;  // none: memory_share of free memory
  double memory_share = 0.4;                     // of the memory free after the weights (CPU)
  double gpu_memory_utilization = 0.92;  // share of the GPU's memory that this process may take
  bool enable_prefix_caching = true;
};

struct SchedulerOptions {
  // Tokens computed per step, prompt and decode together; 0: 2048, on a GPU 8192 (offline twice as
  // many).
  int max_num_batched_tokens = 0;
  int max_num_seqs = 0;  // sequences in one step; 0: 128 (offline 256), on a GPU 1024
  // Most prompt tokens in a step in which answers decode; 0: no limit; -1: 512 on a GPU, else 0.
  int max_mixed_prefill_tokens = -1;
  bool offline = false;  // nobody waits for single tokens: the LLM class, benchmarks of throughput
  int long_prefill_token_threshold = 0;  // most prompt tokens of one request per step; 0: no limit
  bool enable_chunked_prefill = true;
  // While sequences decode, prompts get no more of a step than it takes this long with; 0: no
  // limit. Not offline, and not without chunked prefill.
  double max_step_ms = 50;
  std::string policy = "fcfs";   // fcfs, priority
  bool async_scheduling = true;  // false: one step at a time, for tests
};

struct DeviceOptions {
  std::string device = "auto";  // auto, cpu, cuda
  int threads = 0;              // CPU backend; 0: one per core this process may use
  bool enforce_eager = false;   // GPU: no CUDA graphs
  bool profile = false;         // GPU: time every kernel, and report when the engine goes
  bool tune = false;  // GPU: time cuBLASLt's kernels for each new shape, and keep the best
  bool batch_invariant = false;  // GPU: a token does not depend on its batch, bit for bit; slower
  double step_timeout_seconds = 300;  // a step that takes longer is a fault of the device; 0: never
};

struct EngineOptions {
  ModelOptions model;
  CacheOptions cache;
  SchedulerOptions scheduler;
  DeviceOptions device;
  int max_logprobs = 20;   // largest `logprobs` a request may ask for
  int output_threads = 1;  // threads that detokenise and hand outputs to sinks
  // The model runs in a child process (this program, started again); when it dies it is replaced
  // and the requests in flight go on. Only for programs that can be that child (engine_child.h).
  bool engine_process = false;
};

}  // namespace octavo
