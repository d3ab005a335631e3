// CPU time of the engine thread for one step of decode rows, over a device that answers at once.
//   bench_engine_step [--sequences N] [--prompt N] [--steps N]
// Every step plans, submits, reads and commits that many sequences; their events are thrown away.
// The second figure is the same with the device taking its time, so that the thread parks and finds
// its caches cold.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/clock.h"
#include "engine/engine.h"
#include "engine/executor/worker_executor.h"
#include "engine/testing_fake_runner.h"

namespace octavo {
namespace {

struct Options {
  int sequences = 256;
  int prompt = 1000;
  int steps = 500;
  double seconds_per_step = 0;
};

std::shared_ptr<Request> make_request(const Options& options, int key) {
  auto request = std::make_shared<Request>();
  request->key = RequestKey(key);
  request->prompt = std::make_shared<const std::vector<TokenId>>(
      std::vector<TokenId>(static_cast<size_t>(options.prompt), key));
  request->params = std::make_shared<const SamplingParams>();
  request->max_tokens = options.steps;
  return request;
}

double microseconds_a_step(const Options& options) {
  SchedulerConfig config;
  config.max_num_seqs = options.sequences;
  config.max_num_batched_tokens = options.sequences * options.prompt;  // one step of prompts
  config.max_model_len = options.prompt + options.steps + 1;
  config.vocab_size = 1 << 17;
  const int blocks = options.sequences * ((config.max_model_len + 15) / 16 + 1);
  std::atomic<int> ended = 0;
  Engine engine(
      config, std::make_unique<KvManager>(std::vector<CacheGroupSpec>{{blocks, 0}}, 16, true),
      std::make_unique<WorkerExecutor>(std::make_unique<FakeRunner>(options.seconds_per_step), 2),
      EngineCore::Listener{.on_events = [&](std::vector<SequenceEvent> events) {
        for (const SequenceEvent& event : events) {
          if (event.finish != FinishReason::kNone) ++ended;
        }
      }});
  const auto wait_until = [&](auto&& reached) {
    while (!reached()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  for (int i = 0; i < options.sequences; ++i) engine.add(make_request(options, i));
  const int64_t all = options.sequences;
  wait_until([&] { return engine.stats().generation_tokens >= 20 * all; });  // all decode by now
  const EngineStats before = engine.stats();
  wait_until([&] { return engine.stats().generation_tokens >= (options.steps - 20) * all; });
  const EngineStats after = engine.stats();
  engine.stop();
  return (after.engine_cpu_seconds - before.engine_cpu_seconds) * 1e6 /
         static_cast<double>(after.steps - before.steps);
}

}  // namespace
}  // namespace octavo

int main(int argc, char** argv) {
  octavo::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--sequences") options.sequences = std::atoi(argv[i + 1]);
    if (flag == "--prompt") options.prompt = std::atoi(argv[i + 1]);
    if (flag == "--steps") options.steps = std::atoi(argv[i + 1]);
  }
  const double instant = octavo::microseconds_a_step(options);
  options.seconds_per_step = 5e-3;
  const double slow = octavo::microseconds_a_step(options);
  std::printf(
      "engine thread, %d sequences of %d tokens: %.1f us a step; %.1f us with a device of 5 ms\n",
      options.sequences, options.prompt, instant, slow);
}
