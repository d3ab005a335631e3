// The table of `vllm serve` flags that Octavo does not have, by vLLM's own groups. A flag is
// harmless where what it tunes does not exist here (workers of Python, compilers, CUDA graphs on a
// CPU) or where its value asks for what Octavo does anyway. When Octavo gains a flag, its line
// goes: FlagSet looks here only for foreign names.
#include "cli/vllm_flags.h"

#include <algorithm>

namespace octavo::cli {
namespace {

constexpr Arity kSwitch = Arity::kSwitch;
constexpr Arity kValue = Arity::kValue;
constexpr Arity kMany = Arity::kMany;

constexpr VllmFlag kFlags[] = {
    // Model
    {"runner", "", kValue, "auto|generate"},
    {"convert", "", kValue, "auto|none"},
    {"task", "", kValue, "auto|generate"},
    {"tokenizer-mode", "", kValue, "auto|hf"},
    {"trust-remote-code", "", kSwitch, "*"},
    {"hf-config-path", "", kValue, ""},
    {"allowed-local-media-path", "", kValue, "*"},
    {"allowed-media-domains", "", kMany, "*"},
    {"code-revision", "", kValue, "*"},
    {"tokenizer-revision", "", kValue, ""},
    {"quantization", "q", kValue, "none|None"},
    {"quantization-config", "", kValue, "{}"},
    {"allow-deprecated-quantization", "", kSwitch, "*"},
    {"enable-return-routed-experts", "", kSwitch, ""},
    {"logprobs-mode", "", kValue, "raw_logprobs"},
    {"disable-sliding-window", "", kSwitch, ""},
    {"disable-cascade-attn", "", kSwitch, "*"},
    {"skip-tokenizer-init", "", kSwitch, ""},
    {"enable-prompt-embeds", "", kSwitch, ""},
    {"config-format", "", kValue, "auto|hf"},
    {"hf-token", "", kValue, "*"},
    {"hf-overrides", "", kValue, "{}"},
    {"pooler-config", "", kValue, ""},
    {"override-pooler-config", "", kValue, ""},
    {"logits-processor-pattern", "", kValue, ""},
    {"logits-processors", "", kMany, ""},
    {"override-generation-config", "", kValue, "{}"},
    {"override-attention-dtype", "", kValue, ""},
    {"enable-sleep-mode", "", kSwitch, ""},
    {"model-impl", "", kValue, "auto|vllm"},
    {"io-processor-plugin", "", kValue, ""},
    {"renderer-num-workers", "", kValue, "*"},
    {"rope-scaling", "", kValue, "{}"},
    {"rope-theta", "", kValue, ""},
    {"max-seq-len-to-capture", "", kValue, "*"},
    {"use-v2-block-manager", "", kSwitch, "*"},
    {"disable-async-output-proc", "", kSwitch, "*"},
    {"num-scheduler-steps", "", kValue, "1"},
    {"multi-step-stream-outputs", "", kSwitch, "*"},
    {"guided-decoding-backend", "", kValue, "auto"},
    // Load
    {"safetensors-load-strategy", "", kValue, "*"},
    {"model-loader-extra-config", "", kValue, "{}"},
    {"ignore-patterns", "", kMany, "*"},
    {"use-tqdm-on-load", "", kSwitch, "*"},
    {"pt-load-map-location", "", kValue, "*"},
    // Attention, kernels, compilation
    {"attention-backend", "", kValue, "*"},
    {"attention-config", "ac", kValue, "*"},
    {"cudagraph-capture-sizes", "", kMany, "*"},
    {"cuda-graph-sizes", "", kMany, "*"},
    {"max-cudagraph-capture-size", "", kValue, "*"},
    {"compilation-config", "cc", kValue, "*"},
    {"optimization-level", "O", kValue, "*"},
    {"performance-mode", "", kValue, "*"},
    {"kernel-config", "", kValue, "*"},
    {"enable-flashinfer-autotune", "", kSwitch, "*"},
    {"moe-backend", "", kValue, "*"},
    {"linear-backend", "", kValue, "*"},
    // Structured output, reasoning, tools
    {"reasoning-parser-plugin", "", kValue, ""},
    {"reasoning-config", "", kValue, ""},
    {"structured-outputs-config", "", kValue, "{}"},
    {"tool-parser-plugin", "", kValue, ""},
    {"tool-server", "", kValue, ""},
    // Parallel
    {"distributed-executor-backend", "", kValue, "uni|mp|auto"},
    {"tensor-parallel-size", "tp", kValue, "1"},
    {"pipeline-parallel-size", "pp", kValue, "1"},
    {"data-parallel-size", "dp", kValue, "1"},
    {"data-parallel-rank", "dpn", kValue, "0"},
    {"data-parallel-start-rank", "dpr", kValue, "0"},
    {"data-parallel-size-local", "dpl", kValue, "1"},
    {"data-parallel-address", "dpa", kValue, "*"},
    {"data-parallel-rpc-port", "dpp", kValue, "*"},
    {"data-parallel-backend", "dpb", kValue, "*"},
    {"data-parallel-hybrid-lb", "dph", kSwitch, ""},
    {"data-parallel-external-lb", "dpe", kSwitch, ""},
    {"decode-context-parallel-size", "dcp", kValue, "1"},
    {"prefill-context-parallel-size", "pcp", kValue, "1"},
    {"dcp-comm-backend", "", kValue, "*"},
    {"dcp-kv-cache-interleave-size", "", kValue, "*"},
    {"cp-kv-cache-interleave-size", "", kValue, "*"},
    {"enable-expert-parallel", "ep", kSwitch, ""},
    {"expert-placement-strategy", "", kValue, "*"},
    {"all2all-backend", "", kValue, "*"},
    {"enable-eplb", "", kSwitch, ""},
    {"eplb-config", "", kValue, ""},
    {"enable-elastic-ep", "", kSwitch, ""},
    {"enable-dbo", "", kSwitch, ""},
    {"ubatch-size", "", kValue, "0"},
    {"dbo-decode-token-threshold", "", kValue, "*"},
    {"dbo-prefill-token-threshold", "", kValue, "*"},
    {"disable-nccl-for-dp-synchronization", "", kSwitch, "*"},
    {"disable-custom-all-reduce", "", kSwitch, "*"},
    {"distributed-timeout-seconds", "", kValue, "*"},
    {"max-parallel-loading-workers", "", kValue, "*"},
    {"ray-workers-use-nsight", "", kSwitch, "*"},
    {"master-addr", "", kValue, "*"},
    {"master-port", "", kValue, "*"},
    {"nnodes", "n", kValue, "1"},
    {"node-rank", "r", kValue, "0"},
    {"numa-bind", "", kSwitch, ""},
    {"worker-cls", "", kValue, "auto"},
    {"worker-extension-cls", "", kValue, ""},
    {"api-server-count", "asc", kValue, "1"},
    {"headless", "", kSwitch, ""},
    // KV cache
    {"swap-space", "", kValue, "*"},
    {"kv-cache-dtype", "", kValue, "auto"},
    {"kv-cache-dtype-skip-layers", "", kMany, "*"},
    {"calculate-kv-scales", "", kSwitch, ""},
    {"num-gpu-blocks-override", "", kValue, ""},
    {"prefix-caching-hash-algo", "", kValue, "*"},
    {"cpu-offload-gb", "", kValue, "0|0.0"},
    {"cpu-offload-params", "", kMany, ""},
    {"offload-backend", "", kValue, "auto"},
    {"kv-offloading-size", "", kValue, ""},
    {"kv-offloading-backend", "", kValue, "*"},
    {"kv-sharing-fast-prefill", "", kSwitch, ""},
    {"disable-hybrid-kv-cache-manager", "", kSwitch, ""},
    {"mamba-cache-dtype", "", kValue, "*"},
    {"mamba-ssm-cache-dtype", "", kValue, "*"},
    {"mamba-block-size", "", kValue, "*"},
    {"mamba-cache-mode", "", kValue, "*"},
    {"kv-transfer-config", "", kValue, ""},
    {"kv-events-config", "", kValue, ""},
    {"ec-transfer-config", "", kValue, ""},
    // Multimodal: no model here takes anything but text
    {"language-model-only", "", kSwitch, "*"},
    {"limit-mm-per-prompt", "", kValue, "*"},
    {"enable-mm-embeds", "", kSwitch, ""},
    {"media-io-kwargs", "", kValue, "*"},
    {"mm-processor-kwargs", "", kValue, "*"},
    {"mm-processor-cache-gb", "", kValue, "*"},
    {"mm-processor-cache-type", "", kValue, "*"},
    {"disable-mm-preprocessor-cache", "", kSwitch, "*"},
    {"mm-shm-cache-max-object-size-mb", "", kValue, "*"},
    {"mm-encoder-only", "", kSwitch, ""},
    {"mm-encoder-tp-mode", "", kValue, "*"},
    {"mm-encoder-attn-backend", "", kValue, "*"},
    {"interleave-mm-strings", "", kSwitch, "*"},
    {"skip-mm-profiling", "", kSwitch, "*"},
    {"video-pruning-rate", "", kValue, "*"},
    // LoRA
    {"enable-lora", "", kSwitch, ""},
    {"enable-lora-bias", "", kSwitch, ""},
    {"lora-modules", "", kMany, ""},
    {"max-loras", "", kValue, "*"},
    {"max-lora-rank", "", kValue, "*"},
    {"max-cpu-loras", "", kValue, "*"},
    {"lora-dtype", "", kValue, "*"},
    {"lora-extra-vocab-size", "", kValue, "*"},
    {"lora-target-modules", "", kMany, "*"},
    {"fully-sharded-loras", "", kSwitch, "*"},
    {"default-mm-loras", "", kValue, ""},
    {"enable-tower-connector-lora", "", kSwitch, ""},
    {"specialize-active-lora", "", kSwitch, "*"},
    // Scheduler
    {"max-num-partial-prefills", "", kValue, "1"},
    {"max-long-partial-prefills", "", kValue, "1"},
    {"disable-chunked-mm-input", "", kSwitch, "*"},
    {"scheduler-cls", "", kValue, ""},
    {"scheduler-reserve-full-isl", "", kSwitch, ""},
    {"watermark", "", kValue, "0|0.0"},
    {"num-lookahead-slots", "", kValue, "*"},
    {"preemption-mode", "", kValue, "recompute"},
    {"scheduler-delay-factor", "", kValue, "0|0.0"},
    // Speculative decoding
    {"speculative-config", "sc", kValue, ""},
    {"spec-method", "", kValue, ""},
    {"spec-model", "", kValue, ""},
    {"spec-tokens", "", kValue, "0"},
    {"speculative-model", "", kValue, ""},
    {"num-speculative-tokens", "", kValue, "0"},
    // Observability
    {"show-hidden-metrics-for-version", "", kValue, "*"},
    {"collect-detailed-traces", "", kMany, ""},
    {"kv-cache-metrics", "", kSwitch, ""},
    {"kv-cache-metrics-sample", "", kValue, "*"},
    {"cudagraph-metrics", "", kSwitch, "*"},
    {"enable-layerwise-nvtx-tracing", "", kSwitch, "*"},
    {"enable-mfu-metrics", "", kSwitch, ""},
    {"enable-logging-iteration-details", "", kSwitch, ""},
    {"aggregate-engine-logging", "", kSwitch, "*"},
    {"disable-log-requests", "", kSwitch, "*"},
    {"profiler-config", "", kValue, ""},
    {"weight-transfer-config", "", kValue, ""},
    {"additional-config", "", kValue, "{}"},
    {"fail-on-environ-validation", "", kSwitch, "*"},
    // HTTP front end
    {"uvicorn-log-level", "", kValue, "*"},
    {"disable-uvicorn-access-log", "", kSwitch, "*"},
    {"disable-access-log-for-endpoints", "", kValue, "*"},
    {"log-config-file", "", kValue, "*"},
    {"max-log-len", "", kValue, "*"},
    {"log-error-stack", "", kSwitch, "*"},
    {"enable-log-outputs", "", kSwitch, ""},
    {"enable-log-deltas", "", kSwitch, "*"},
    {"middleware", "", kValue, ""},
    {"disable-frontend-multiprocessing", "", kSwitch, "*"},
    {"disable-fastapi-docs", "", kSwitch, "*"},
    {"enable-offline-docs", "", kSwitch, "*"},
    {"enable-server-load-tracking", "", kSwitch, "*"},
    {"enable-prompt-tokens-details", "", kSwitch, "*"},
    {"tokens-only", "", kSwitch, ""},
    {"grpc", "", kSwitch, ""},
};

}  // namespace

std::span<const VllmFlag> vllm_flags() {
  return kFlags;
}

const VllmFlag* find_vllm_flag(std::string_view name) {
  // Dotted forms set one member of a JSON flag: -cc.mode=0.
  name = name.substr(0, name.find('.'));
  if (name.empty()) return nullptr;
  for (const VllmFlag& flag : kFlags) {
    if (flag.name == name || flag.alias == name) return &flag;
  }
  if (name.size() == 2 && name[0] == 'O') return find_vllm_flag("O");  // -O3
  return nullptr;
}

bool is_harmless(const VllmFlag& flag, std::string_view value) {
  if (flag.harmless == "*") return true;
  if (flag.harmless.empty()) return value.empty() && flag.arity == Arity::kValue;
  std::string_view rest = flag.harmless;
  while (!rest.empty()) {
    const size_t bar = std::min(rest.find('|'), rest.size());
    if (rest.substr(0, bar) == value) return true;
    rest.remove_prefix(std::min(bar + 1, rest.size()));
  }
  return false;
}

}  // namespace octavo::cli
