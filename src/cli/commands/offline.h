// An engine in this process with many requests handed to it at once: what `bench latency` and
// `bench throughput` have in common. Main thread; outputs arrive on the engine's output threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/bench/workload.h"
#include "cli/bench_options.h"
#include "cli/flags.h"
#include "cli/options.h"
#include "octavo/engine_client.h"

namespace octavo::cli {

struct OfflineEngine {
  std::unique_ptr<EngineClient> engine;
  double seconds_to_ready = 0;  // from before the flags' paths were resolved
};
StatusOr<OfflineEngine> start_offline_engine(EngineOptions& options, const ModelSource& source);

// When each output of one request arrived; seconds of the steady clock.
struct OfflineResult {
  std::vector<std::pair<double, int>> arrivals;  // (time, tokens)
  int prompt_tokens = 0;
  int output_tokens = 0;
  Status error;
};

struct OfflineRun {
  double begin = 0;
  double end = 0;
  std::vector<OfflineResult> results;
  int64_t steps = 0;
  double engine_cpu_seconds = 0;  // of the engine thread
};
// Submits all prompts, each for its output_len, with the same sampling, end of sequence ignored,
// and waits for the end. `on_done(n)` is called now and then from this thread. Fails with the first
// request that failed.
StatusOr<OfflineRun> run_offline(EngineClient& engine, const std::vector<bench::Prompt>& prompts,
                                 const BenchSampling& sampling,
                                 const std::function<void(size_t)>& on_done);

// Largest resident size of this process so far, bytes.
int64_t peak_memory_bytes();

// "engine thread: 12.3 us of CPU a step (640 steps); ready after 0.05 s; peak memory 123 MiB"
std::string cost_line(const OfflineRun& run, double seconds_to_ready);

// Writes `text` to `path`; empty path: does nothing.
Status write_text_file(const std::string& path, const std::string& text);

}  // namespace octavo::cli
