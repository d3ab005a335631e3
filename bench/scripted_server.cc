// The server without a model: run_server() over the true engine, whose device is scripted. Every
// sequence recites one story, at one token a step and a step every --step-ms, so HTTP, templates,
// tokenizer, scheduler, detokeniser and parsers of answers are all there and all real.
//   bench_scripted_server [--model DIR] [--port N] [--step-ms MS] [--max-num-seqs N]
//                         [--max-unsent-bytes N]
// DIR is read for its tokenizer and chat template only. Serves on 127.0.0.1 until SIGTERM. Used by
// bench_serve_cost and by tests/e2e/test_many_streams.py.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/log.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "engine/engine_parts.h"
#include "engine/executor/worker_executor.h"
#include "engine/in_process_client.h"
#include "engine/testing_finished_steps.h"
#include "serve/server.h"

namespace octavo {
namespace {

constexpr std::string_view kStory =
    "The lamp at the end of the pier had burned for as long as anyone in the village could "
    "remember, and nobody had ever asked who filled it. Then, one morning in October, it was out. "
    "The baker saw it first. \"It's only the wind,\" she said, and went in to her ovens; but by "
    "noon there were forty people on the stones, looking at the glass and saying nothing. A boy "
    "of nine climbed up, as boys do, and came back with a note: Gone to see the other end. ";

constexpr int kBlockSize = 16;
constexpr int kMaxModelLen = 4096;

struct Options {
  std::string model = "models/octavo-tiny";
  int port = 0;
  double step_ms = 50;
  int max_num_seqs = 1024;
  size_t max_unsent_bytes = serve::ServerOptions().max_unsent_bytes;
};

// A token depends on its position in the sequence alone.
class ScriptedDevice final : public StepRunner {
 public:
  ScriptedDevice(std::vector<TokenId> script, double seconds_per_step)
      : script_(std::move(script)), period_(seconds_per_step) {}

  void forward(const BatchPlan&) override {
    // At a fixed rate, as long as the host keeps up.
    const auto now = Clock::now();
    next_ = std::max(now, next_) + std::chrono::duration_cast<Clock::duration>(period_);
    std::this_thread::sleep_until(next_);
  }

  void finish(const BatchPlan& plan, const StepMasks&) override {
    StepResult result;
    result.step = plan.step;
    result.samples.resize(plan.samples.size());
    for (size_t i = 0; i < plan.samples.size(); ++i) {
      const PlanRow& row = plan.rows[plan.samples[i].row];
      result.samples[i].token = script_[(row.start + row.num_tokens) % script_.size()];
    }
    finished_.push(std::move(result));
  }

  StepResult collect() override { return finished_.pop(); }

 private:
  using Clock = std::chrono::steady_clock;
  const std::vector<TokenId> script_;
  const std::chrono::duration<double> period_;
  Clock::time_point next_;
  FinishedSteps finished_;
};

Options parse_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const char* value = argv[i + 1];
    if (flag == "--model") options.model = value;
    if (flag == "--port") options.port = std::atoi(value);
    if (flag == "--step-ms") options.step_ms = std::atof(value);
    if (flag == "--max-num-seqs") options.max_num_seqs = std::atoi(value);
    if (flag == "--max-unsent-bytes") options.max_unsent_bytes = std::strtoul(value, nullptr, 10);
  }
  return options;
}

Status serve_script(const Options& options) {
  EngineOptions engine_options;
  engine_options.model.model = options.model;
  ASSIGN_OR_RETURN(std::unique_ptr<text::TextModel> text, load_text(engine_options));
  ASSIGN_OR_RETURN(std::vector<TokenId> script, text->encode(kStory, {}));

  SchedulerConfig config;
  config.max_num_seqs = options.max_num_seqs;
  config.max_num_batched_tokens = std::max(8192, 2 * options.max_num_seqs);
  config.max_model_len = kMaxModelLen;
  config.vocab_size = text->vocab_size();
  const int blocks = options.max_num_seqs * (1024 / kBlockSize);

  ModelInfo model;
  model.name = "scripted";
  model.vocab_size = config.vocab_size;
  model.max_model_len = kMaxModelLen;
  model.block_size = kBlockSize;
  model.num_kv_blocks = blocks;
  model.max_num_seqs = config.max_num_seqs;
  model.max_num_batched_tokens = config.max_num_batched_tokens;

  InProcessClient engine(
      model, engine_options, std::move(text), [&](EngineCore::Listener listener) {
        const std::vector<CacheGroupSpec> groups = {{blocks, 0}};
        return std::make_unique<Engine>(
            config, std::make_unique<KvManager>(groups, kBlockSize, /*prefix caching*/ true),
            std::make_unique<WorkerExecutor>(
                std::make_unique<ScriptedDevice>(std::move(script), options.step_ms * 1e-3), 2),
            std::move(listener), /*step_timeout_seconds=*/300);
      });
  serve::ServerOptions server;
  server.host = "127.0.0.1";
  server.port = options.port;
  server.max_unsent_bytes = options.max_unsent_bytes;
  server.log_stats_seconds = 0;
  server.shutdown_timeout_seconds = 1;
  server.on_ready = [](const serve::Listening& at) {
    std::printf("http://%s:%d\n", at.host.c_str(), at.port);
    std::fflush(stdout);
  };
  return serve::run_server(engine, server);
}

}  // namespace
}  // namespace octavo

int main(int argc, char** argv) {
  octavo::set_log_level(octavo::LogLevel::kError);
  const octavo::Status status = octavo::serve_script(octavo::parse_options(argc, argv));
  if (status.ok()) return 0;
  std::fprintf(stderr, "bench_scripted_server: %s\n", status.message().c_str());
  return 1;
}
