#include "engine/engine_metrics.h"

#include <algorithm>

namespace octavo {
namespace {

// vLLM's buckets.
const std::vector<double> kTtft = {0.001, 0.005, 0.01, 0.02,  0.04,  0.06,  0.08, 0.1,
                                   0.25,  0.5,   0.75, 1.0,   2.5,   5.0,   7.5,  10.0,
                                   20.0,  40.0,  80.0, 160.0, 640.0, 2560.0};
const std::vector<double> kPerToken = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                                       0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
const std::vector<double> kLatency = {0.3,  0.5,   0.8,   1.0,   1.5,   2.0,    2.5,
                                      5.0,  10.0,  15.0,  20.0,  30.0,  40.0,   50.0,
                                      60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
const std::vector<double> kCounts = {1, 2, 5, 10, 20};
const std::vector<double> kIteration = {1,   8,    16,   32,   64,   128,  256,
                                        512, 1024, 2048, 4096, 8192, 16384};

// 1, 2, 5, 10, 20, 50 … up to the context's length.
std::vector<double> tokens_up_to(int limit) {
  std::vector<double> buckets;
  for (double decade = 1; decade <= limit; decade *= 10) {
    for (double digit : {1.0, 2.0, 5.0}) {
      if (digit * decade <= limit) buckets.push_back(digit * decade);
    }
  }
  return buckets;
}

MetricLabels base_labels(const ModelInfo& model) {
  return {{"model_name", model.name}, {"engine", "0"}};
}

}  // namespace

#define OCTAVO_HISTOGRAM(name, help, buckets) \
  registry_.histogram("vllm:" name, help, buckets, labels_)

EngineMetrics::EngineMetrics(const ModelInfo& model)
    : labels_(base_labels(model)),
      ttft_(OCTAVO_HISTOGRAM("time_to_first_token_seconds",
                             "Histogram of time to first token in seconds.", kTtft)),
      itl_(OCTAVO_HISTOGRAM("inter_token_latency_seconds",
                            "Histogram of inter-token latency in seconds.", kPerToken)),
      tpot_(OCTAVO_HISTOGRAM("request_time_per_output_token_seconds",
                             "Histogram of time per output token in seconds per request.",
                             kPerToken)),
      e2e_(OCTAVO_HISTOGRAM("e2e_request_latency_seconds",
                            "Histogram of e2e request latency in seconds.", kLatency)),
      queue_(OCTAVO_HISTOGRAM("request_queue_time_seconds", "Histogram of time spent waiting.",
                              kLatency)),
      inference_(OCTAVO_HISTOGRAM("request_inference_time_seconds",
                                  "Histogram of time spent running.", kLatency)),
      prefill_(OCTAVO_HISTOGRAM("request_prefill_time_seconds",
                                "Histogram of time spent in prefill.", kLatency)),
      decode_(OCTAVO_HISTOGRAM("request_decode_time_seconds", "Histogram of time spent in decode.",
                               kLatency)),
      prompt_tokens_(OCTAVO_HISTOGRAM("request_prompt_tokens",
                                      "Number of prefill tokens processed.",
                                      tokens_up_to(model.max_model_len))),
      generation_tokens_(OCTAVO_HISTOGRAM("request_generation_tokens",
                                          "Number of generation tokens processed.",
                                          tokens_up_to(model.max_model_len))),
      max_generation_tokens_(
          OCTAVO_HISTOGRAM("request_max_num_generation_tokens",
                           "Histogram of maximum number of requested generation tokens.",
                           tokens_up_to(model.max_model_len))),
      params_n_(
          OCTAVO_HISTOGRAM("request_params_n", "Histogram of the n request parameter.", kCounts)),
      params_max_tokens_(OCTAVO_HISTOGRAM("request_params_max_tokens",
                                          "Histogram of the max_tokens request parameter.",
                                          tokens_up_to(model.max_model_len))),
      prefill_computed_(OCTAVO_HISTOGRAM(
          "request_prefill_kv_computed_tokens",
          "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
          tokens_up_to(model.max_model_len))),
      iteration_tokens_(OCTAVO_HISTOGRAM(
          "iteration_tokens_total", "Histogram of number of tokens per engine_step.", kIteration)) {
  MetricLabels info = labels_;
  info.emplace_back("block_size", std::to_string(model.block_size));
  info.emplace_back("num_gpu_blocks", std::to_string(model.num_kv_blocks));
  info.emplace_back("cache_dtype", "auto");
  info.emplace_back("enable_prefix_caching", model.prefix_caching ? "True" : "False");
  registry_.gauge("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", info)
      .set(1);
  for (const char* reason : {"stop", "length", "abort", "error", "repetition"}) {
    registry_.counter("vllm:request_success_total", "Count of successfully processed requests.",
                      with("finished_reason", reason));
  }
}
#undef OCTAVO_HISTOGRAM

MetricLabels EngineMetrics::with(std::string name, std::string value) const {
  MetricLabels labels = labels_;
  labels.emplace_back(std::move(name), std::move(value));
  return labels;
}

void EngineMetrics::count_to(const char* name, const char* help, int64_t total) {
  count_to(name, help, labels_, total);
}

void EngineMetrics::count_to(const char* name, const char* help, const MetricLabels& labels,
                             int64_t total) {
  registry_.counter(name, help, labels).raise_to(static_cast<double>(total));
}

std::string EngineMetrics::text(const EngineStats& s) {
  registry_
      .gauge("vllm:num_requests_running", "Number of requests in model execution batches.", labels_)
      .set(s.running);
  registry_
      .gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", labels_)
      .set(s.waiting);
  registry_
      .gauge("vllm:num_requests_waiting_by_reason", "Number of waiting requests by reason.",
             with("reason", "capacity"))
      .set(s.waiting);
  registry_
      .gauge("vllm:num_requests_waiting_by_reason", "Number of waiting requests by reason.",
             with("reason", "deferred"))
      .set(0);
  registry_.gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", labels_)
      .set(s.kv_cache_usage);
  count_to("vllm:num_preemptions_total", "Cumulative number of preemption from the engine.",
           s.num_preemptions);
  count_to("vllm:prompt_tokens_total", "Number of prefill tokens processed.", s.prompt_tokens);
  count_to("vllm:generation_tokens_total", "Number of generation tokens processed.",
           s.generation_tokens);
  count_to("vllm:prefix_cache_queries_total",
           "Prefix cache queries, in terms of number of queried tokens.", s.prefix_cache_queries);
  count_to("vllm:prefix_cache_hits_total",
           "Prefix cache hits, in terms of number of cached tokens.", s.prefix_cache_hits);
  count_to("vllm:prompt_tokens_cached_total", "Number of cached prompt tokens.",
           s.prefix_cache_hits);
  const auto count_source = [&](const char* source, int64_t total) {
    count_to("vllm:prompt_tokens_by_source_total", "Number of prompt tokens by source.",
             with("source", source), total);
  };
  count_source("local_compute", s.prompt_tokens - s.prefix_cache_hits);
  count_source("local_cache_hit", s.prefix_cache_hits);
  count_source("external_kv_transfer", 0);
  return registry_.text();
}

void EngineMetrics::first_token(double seconds) {
  ttft_.observe(seconds);
}
void EngineMetrics::inter_token(double seconds) {
  itl_.observe(seconds);
}
void EngineMetrics::step_tokens(int tokens) {
  iteration_tokens_.observe(tokens);
}

void EngineMetrics::finished(const Finished& f) {
  registry_
      .counter("vllm:request_success_total", "Count of successfully processed requests.",
               with("finished_reason", f.reason))
      .add();
  e2e_.observe(f.now - f.arrival);
  prompt_tokens_.observe(f.prompt_tokens);
  generation_tokens_.observe(f.generation_tokens);
  max_generation_tokens_.observe(f.longest_answer);
  params_n_.observe(f.n);
  params_max_tokens_.observe(f.max_tokens);
  if (f.first_scheduled > 0) {
    queue_.observe(f.first_scheduled - f.arrival);
    inference_.observe(f.now - f.first_scheduled);
    prefill_computed_.observe(f.prompt_tokens - f.cached_tokens);
  }
  if (f.first_token > 0) {
    prefill_.observe(f.first_token - f.first_scheduled);
    decode_.observe(f.last_token - f.first_token);
    const int per_sequence = f.generation_tokens / std::max(1, f.n);
    if (per_sequence > 1) tpot_.observe((f.last_token - f.first_token) / (per_sequence - 1));
  }
}

}  // namespace octavo
