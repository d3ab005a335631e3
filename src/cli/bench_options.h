// The flags of `octavo bench latency | throughput | serve`: vLLM's names and defaults. Main thread.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "cli/bench/metrics.h"
#include "cli/bench/workload.h"
#include "cli/flags.h"
#include "cli/options.h"

namespace octavo::cli {

// How the offline benchmarks draw tokens.
struct BenchSampling {
  double temperature = 1;  // 0: greedy
  double top_p = 1;
  int logprobs = -1;  // of each token, with that many alternatives; -1: none
  // "json": every answer is JSON of a schema that never comes to an end; shows what masks cost.
  std::string structured_output = "none";
};

// What the benchmarks of an engine in this process have in common.
struct OfflineBenchOptions {
  EngineOptions engine;
  ModelSource source;
  BenchSampling sampling;
  std::string output_json;
};

// One batch of equal requests, again and again. Prefix caching is off unless asked for.
struct LatencyOptions : OfflineBenchOptions {
  int batch_size = 8;
  int input_len = 32;
  int output_len = 128;
  int num_iters_warmup = 10;
  int num_iters = 30;
};
FlagSet make_latency_flags(LatencyOptions& options);
// What depends on several flags: a step must hold the whole batch.
void finish_latency_options(LatencyOptions& options, const FlagSet& flags);

struct ThroughputOptions : OfflineBenchOptions {
  std::string dataset_name = "random";
  std::string dataset_path;
  bench::RandomDataset random;
  int num_warmups = 0;
};
FlagSet make_throughput_flags(ThroughputOptions& options);
Status finish_throughput_options(ThroughputOptions& options, const FlagSet& flags);

struct BenchServeOptions {
  bench::ServeRun run;  // backend, model, rate, concurrency, metrics
  std::string base_url;
  std::string host = "127.0.0.1";
  int port = 8000;
  std::string endpoint;  // path; empty: the backend's
  Words headers;         // "Name=value"
  std::string dataset_name = "random";
  std::string dataset_path;
  int custom_output_len = 0;
  bench::RandomDataset random;
  int vocab_size = 0;  // 0: found out from the server
  bool prompt_ids = false;
  bool ignore_eos = false;
  std::optional<double> temperature, top_p;
  std::optional<int64_t> top_k;
  int num_warmups = 0;
  double ready_timeout_seconds = 0;
  std::vector<double> percentiles = {99};
  bench::Goodput goodput;
  bool save_result = false;
  bool save_detailed = false;
  std::string result_dir;
  std::string result_filename;
  bool disable_progress = false;
};
FlagSet make_bench_serve_flags(BenchServeOptions& options);
Status finish_bench_serve_options(BenchServeOptions& options);

}  // namespace octavo::cli
