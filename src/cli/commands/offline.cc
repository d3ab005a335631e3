// Runs requests on an engine in this process and keeps the arrival times of their tokens.
#include "cli/commands/offline.h"

#include <sys/resource.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <mutex>

#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace octavo::cli {
namespace {

// Counts the requests that have ended.
struct Finish {
  std::mutex mutex;
  std::condition_variable changed;
  size_t done = 0;
};

class RecordingSink : public StreamSink {
 public:
  RecordingSink(OfflineResult& result, Finish& finish, int output_len)
      : result_(result), finish_(finish) {
    result_.arrivals.reserve(static_cast<size_t>(output_len));
  }
  bool on_output(RequestOutput output) override {
    int tokens = 0;
    for (const CompletionOutput& completion : output.outputs)
      tokens += static_cast<int>(completion.token_ids.size());
    if (tokens > 0) result_.arrivals.emplace_back(steady_seconds(), tokens);
    result_.output_tokens += tokens;
    if (!output.finished) return true;
    result_.prompt_tokens = output.num_prompt_tokens;
    result_.error = output.error;
    const std::lock_guard lock(finish_.mutex);
    ++finish_.done;
    finish_.changed.notify_one();
    return true;
  }

 private:
  OfflineResult& result_;
  Finish& finish_;
};

}  // namespace

StatusOr<OfflineEngine> start_offline_engine(EngineOptions& options, const ModelSource& source) {
  const double begin = steady_seconds();
  RETURN_IF_ERROR(resolve_engine_paths(options, source).status());
  OfflineEngine offline;
  ASSIGN_OR_RETURN(offline.engine,
                   make_engine(options, [](const std::string& line) { log_info("engine", line); }));
  offline.seconds_to_ready = steady_seconds() - begin;
  return offline;
}

// A list of records as long as the answer may be.
StructuredOutput endless_json() {
  return {.kind = StructuredOutput::Kind::kJsonSchema,
          .text = R"({"type": "array", "minItems": 1000000, "items": {"type": "object",
                      "properties": {"name": {"type": "string"}, "value": {"type": "number"},
                                     "tags": {"type": "array", "items": {"type": "string"}}},
                      "required": ["name", "value", "tags"]}})"};
}

StatusOr<OfflineRun> run_offline(EngineClient& engine, const std::vector<bench::Prompt>& prompts,
                                 const BenchSampling& sampling,
                                 const std::function<void(size_t)>& on_done) {
  // Shared with the sinks, so that a sink which outlives a failed submit finds its place.
  struct Shared {
    Finish finish;
    std::vector<OfflineResult> results;
  };
  auto shared = std::make_shared<Shared>();
  shared->results.resize(prompts.size());
  const EngineStats before = engine.stats();
  OfflineRun run;
  run.begin = steady_seconds();
  for (size_t i = 0; i < prompts.size(); ++i) {
    GenerateRequest request;
    request.prompt_token_ids = prompts[i].ids;
    request.sampling.temperature = static_cast<float>(sampling.temperature);
    request.sampling.top_p = static_cast<float>(sampling.top_p);
    if (sampling.logprobs >= 0) request.sampling.logprobs = sampling.logprobs;
    request.sampling.max_tokens = prompts[i].output_len;
    request.sampling.ignore_eos = true;
    if (sampling.structured_output == "json") request.sampling.structured_output = endless_json();
    auto sink =
        std::make_shared<RecordingSink>(shared->results[i], shared->finish, prompts[i].output_len);
    const std::shared_ptr<StreamSink> owning(sink.get(), [shared, sink](StreamSink*) {});
    RETURN_IF_ERROR(engine.submit(std::move(request), owning).status());
  }
  std::unique_lock lock(shared->finish.mutex);
  while (shared->finish.done < prompts.size()) {
    shared->finish.changed.wait_for(lock, std::chrono::milliseconds(200));
    if (on_done) on_done(shared->finish.done);
    if (const Status health = engine.health(); !health.ok()) return health;
  }
  run.end = steady_seconds();
  lock.unlock();
  const EngineStats after = engine.stats();
  run.steps = after.steps - before.steps;
  run.engine_cpu_seconds = after.engine_cpu_seconds - before.engine_cpu_seconds;
  run.results = std::move(shared->results);
  for (const OfflineResult& result : run.results) RETURN_IF_ERROR(result.error);
  return run;
}

int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

std::string cost_line(const OfflineRun& run, double seconds_to_ready) {
  const double steps = run.steps > 0 ? static_cast<double>(run.steps) : 1;
  char text[200];
  std::snprintf(
      text, sizeof text,
      "Engine thread: %.1f us of CPU a step (%lld steps); ready after %.3f s; peak memory %.1f MiB",
      run.engine_cpu_seconds * 1e6 / steps, static_cast<long long>(run.steps), seconds_to_ready,
      static_cast<double>(peak_memory_bytes()) / (1 << 20));
  return text;
}

Status write_text_file(const std::string& path, const std::string& text) {
  if (path.empty()) return {};
  std::ofstream file(path);
  file << text << "\n";
  file.close();
  if (!file) return unavailable("cannot write " + path);
  return {};
}

}  // namespace octavo::cli
