// EngineMetrics: the engine's Prometheus metrics under vLLM's names and labels. Observed by output
// threads, read by any thread.
#pragma once

#include <string>

#include "base/metrics.h"
#include "octavo/engine_client.h"

namespace octavo {

class EngineMetrics {
 public:
  explicit EngineMetrics(const ModelInfo& model);

  // Gauges and totals are taken from `stats` when the text is made.
  std::string text(const EngineStats& stats);

  // What is known of a request when it ends. Seconds of the steady clock; tokens.
  struct Finished {
    std::string reason;
    double arrival = 0, first_scheduled = 0, first_token = 0, last_token = 0, now = 0;
    int prompt_tokens = 0, cached_tokens = 0, n = 1, max_tokens = 0;
    int generation_tokens = 0, longest_answer = 0;  // of all answers together; of the longest
  };
  void first_token(double seconds);
  void inter_token(double seconds);
  // As vLLM counts them: those drawn, and the whole prompts of requests that got their first one.
  void step_tokens(int tokens);
  void finished(const Finished& f);

 private:
  MetricLabels with(std::string name, std::string value) const;
  // Raises a counter to a total that is kept elsewhere.
  void count_to(const char* name, const char* help, int64_t total);
  void count_to(const char* name, const char* help, const MetricLabels& labels, int64_t total);

  MetricsRegistry registry_;
  MetricLabels labels_;
  Histogram& ttft_;
  Histogram& itl_;
  Histogram& tpot_;
  Histogram& e2e_;
  Histogram& queue_;
  Histogram& inference_;
  Histogram& prefill_;
  Histogram& decode_;
  Histogram& prompt_tokens_;
  Histogram& generation_tokens_;
  Histogram& max_generation_tokens_;
  Histogram& params_n_;
  Histogram& params_max_tokens_;
  Histogram& prefill_computed_;
  Histogram& iteration_tokens_;
};

}  // namespace octavo
