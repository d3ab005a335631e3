// From the times of single requests to the figures of `vllm bench serve`: the same definitions, the
// same table, the same JSON keys. Pure functions.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/bench/load_client.h"
#include "cli/bench/workload.h"

namespace octavo::bench {

// Of a list of samples; all 0 for an empty one. The deviation is the population's, percentiles
// interpolate linearly between neighbours: numpy's std() and percentile().
struct Distribution {
  double mean = 0;
  double median = 0;
  double std = 0;
  std::vector<std::pair<double, double>> percentiles;  // (99, value)
};
Distribution describe(std::vector<double> samples, const std::vector<double>& percentiles);
double percentile(const std::vector<double>& sorted, double p);

// Bounds in milliseconds that a request must keep to count as good.
struct Goodput {
  std::optional<double> ttft, tpot, e2el;
  bool asked() const { return ttft || tpot || e2el; }
};
Status parse_goodput(const std::vector<std::string>& words,
                     Goodput& goodput);  // {"ttft:200", "tpot:20"}

// Times in milliseconds.
struct ServeMetrics {
  int completed = 0;
  int failed = 0;
  double duration = 0;  // seconds
  int64_t total_input = 0;
  int64_t total_output = 0;
  double request_throughput = 0;
  std::optional<double> request_goodput;
  double output_throughput = 0;
  double total_token_throughput = 0;
  double max_output_tokens_per_s = 0;  // in the best of 1 s buckets
  int max_concurrent_requests = 0;     // in flight during one of them
  Distribution ttft, tpot, itl, e2el;
};
ServeMetrics compute_metrics(const std::vector<Prompt>& prompts, const LoadOutcome& outcome,
                             const std::vector<double>& percentiles, const Goodput& goodput);

// What was run, for the table's head and the JSON file.
struct ServeRun {
  std::string backend, model, label, date;
  std::string base_model_name() const { return model.substr(model.rfind('/') + 1); }
  int num_prompts = 0;
  double request_rate = std::numeric_limits<double>::infinity();
  double burstiness = 1;
  int max_concurrency = 0;  // 0: none
  std::vector<std::string> selected_metrics = {"ttft", "tpot", "itl"};
  std::vector<std::pair<std::string, std::string>> metadata;
};
std::string serve_table(const ServeRun& run, const ServeMetrics& metrics);
// `detailed`: with the lists of single requests' figures and texts; else null.
std::string serve_json(const ServeRun& run, const ServeMetrics& metrics,
                       const std::vector<Prompt>& prompts, const LoadOutcome* detailed);
// "openai-infqps-concurrency64-octavo-tiny-20260102-030405.json"
std::string default_result_name(const ServeRun& run);

}  // namespace octavo::bench
