// octavo bench latency: vLLM's definition (the time from handing a whole batch over until its last
// token), and beside it the two rates that CPU peers report: prefill, until every request has its
// first token, and decode, after that.
#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/bench/metrics.h"
#include "cli/bench_options.h"
#include "cli/commands/commands.h"
#include "cli/commands/offline.h"

namespace octavo::cli {
namespace {

struct Iterations {
  std::vector<double> latency, prefill_rate, decode_rate;  // seconds, tok/s, tok/s
  OfflineRun total;                                        // steps and CPU time of all
};

// Token ids below 10000, as in vLLM: the same for every iteration.
std::vector<bench::Prompt> make_prompts(const LatencyOptions& options, int vocab_size) {
  bench::Random random(static_cast<uint64_t>(options.engine.model.seed));
  std::vector<bench::Prompt> prompts(static_cast<size_t>(options.batch_size));
  for (bench::Prompt& p : prompts) {
    p.output_len = options.output_len;
    p.input_len = options.input_len;
    for (int i = 0; i < options.input_len; ++i) {
      p.ids.push_back(static_cast<TokenId>(random.integer(0, std::min(10000, vocab_size) - 1)));
    }
  }
  return prompts;
}

void add_iteration(Iterations& all, const OfflineRun& run, const LatencyOptions& options) {
  double all_started = run.begin;
  for (const OfflineResult& result : run.results) {
    if (!result.arrivals.empty())
      all_started = std::max(all_started, result.arrivals.front().first);
  }
  int64_t decoded = 0;
  double last = all_started;
  for (const OfflineResult& result : run.results) {
    for (const auto& [time, tokens] : result.arrivals) {
      if (time <= all_started) continue;
      decoded += tokens;
      last = std::max(last, time);
    }
  }
  all.latency.push_back(run.end - run.begin);
  const double prompt_tokens = static_cast<double>(options.batch_size) * options.input_len;
  all.prefill_rate.push_back(prompt_tokens / std::max(all_started - run.begin, 1e-9));
  if (decoded > 0)
    all.decode_rate.push_back(static_cast<double>(decoded) / std::max(last - all_started, 1e-9));
  all.total.steps += run.steps;
  all.total.engine_cpu_seconds += run.engine_cpu_seconds;
}

StatusOr<Iterations> measure(EngineClient& engine, const LatencyOptions& options) {
  const auto prompts = make_prompts(options, engine.model().vocab_size);
  Iterations all;
  const auto warmups = static_cast<size_t>(options.num_iters_warmup);
  const size_t rounds = warmups + static_cast<size_t>(options.num_iters);
  Progress progress("latency", rounds);
  for (size_t i = 0; i < rounds; ++i) {
    ASSIGN_OR_RETURN(const OfflineRun run, run_offline(engine, prompts, options.sampling, nullptr));
    if (i >= warmups) add_iteration(all, run, options);
    progress.show(i + 1);
  }
  return all;
}

std::string result_json(const Iterations& all, const bench::Distribution& latency, double prefill,
                        double decode, double seconds_to_ready) {
  JsonWriter json;
  json.begin_object().key("avg_latency").number(latency.mean).key("latencies").begin_array();
  for (const double l : all.latency) json.number(l);
  json.end_array().key("percentiles").begin_object();
  for (const auto& [p, value] : latency.percentiles)
    json.key(std::to_string(static_cast<int>(p))).number(value);
  json.end_object();
  json.key("prefill_tokens_per_second").number(prefill);
  json.key("decode_tokens_per_second").number(decode);
  json.key("engine_cpu_seconds_per_step");
  json.number(all.total.engine_cpu_seconds /
              static_cast<double>(std::max<int64_t>(all.total.steps, 1)));
  json.key("seconds_to_ready").number(seconds_to_ready);
  json.key("peak_memory_bytes").number(peak_memory_bytes());
  json.end_object();
  return std::move(json).take();
}

}  // namespace

int bench_latency_command(const Words& args) {
  LatencyOptions options;
  FlagSet flags = make_latency_flags(options);
  if (const auto code = parse_or_exit(flags, args, "bench latency")) return *code;
  finish_latency_options(options, flags);
  if (const Status status = apply_log_level(options.source.log_level); !status.ok())
    return report(status, kUsage);
  log_notices(flags);

  auto offline = start_offline_engine(options.engine, options.source);
  if (!offline.ok()) return report(offline.status());
  const auto all = measure(*offline->engine, options);
  offline->engine->shutdown(0);
  if (!all.ok()) return report(all.status());
  const double seconds_to_ready = offline->seconds_to_ready;
  offline->engine.reset();  // reports its profile, if it has one

  const auto latency = bench::describe(all->latency, {10, 25, 50, 75, 90, 99});
  const double prefill = bench::describe(all->prefill_rate, {}).median;
  const double decode = bench::describe(all->decode_rate, {}).median;
  std::printf("Avg latency: %.6f seconds\n", latency.mean);
  for (const auto& [p, value] : latency.percentiles)
    std::printf("%.0f%% percentile latency: %.6f seconds\n", p, value);
  std::printf(
      "Prefill: %.1f tok/s (median of %d batches of %d x %d tokens, until every request has its "
      "first token)\n",
      prefill, options.num_iters, options.batch_size, options.input_len);
  if (decode > 0)
    std::printf("Decode: %.1f tok/s (median; %d requests, after that)\n", decode,
                options.batch_size);
  std::printf("%s\n", cost_line(all->total, seconds_to_ready).c_str());
  const Status written = write_text_file(
      options.output_json, result_json(*all, latency, prefill, decode, seconds_to_ready));
  return written.ok() ? 0 : report(written);
}

}  // namespace octavo::cli
