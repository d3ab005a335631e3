// octavo bench throughput: all requests handed over at once; requests and tokens by the second.
#include <cstdio>

#include "base/json_writer.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/bench_options.h"
#include "cli/commands/commands.h"
#include "cli/commands/offline.h"

namespace octavo::cli {
namespace {

StatusOr<std::vector<bench::Prompt>> make_prompts(const ThroughputOptions& options,
                                                  const EngineClient& engine) {
  if (options.dataset_name == "random") {
    return bench::make_random_prompts(options.random, engine.model().vocab_size);
  }
  ASSIGN_OR_RETURN(auto prompts,
                   bench::read_custom_dataset(options.dataset_path, options.random.num_prompts,
                                              options.random.output_len));
  for (bench::Prompt& p : prompts) {
    ASSIGN_OR_RETURN(p.ids, engine.text().encode(p.text));
    p.input_len = static_cast<int>(p.ids.size());
  }
  return prompts;
}

}  // namespace

int bench_throughput_command(const Words& args) {
  ThroughputOptions options;
  FlagSet flags = make_throughput_flags(options);
  if (const auto code = parse_or_exit(flags, args, "bench throughput")) return *code;
  if (const Status status = finish_throughput_options(options, flags); !status.ok())
    return report(status, kUsage);
  if (const Status status = apply_log_level(options.source.log_level); !status.ok())
    return report(status, kUsage);
  log_notices(flags);

  auto offline = start_offline_engine(options.engine, options.source);
  if (!offline.ok()) return report(offline.status());
  EngineClient& engine = *offline->engine;
  const auto prompts = make_prompts(options, engine);
  if (!prompts.ok()) return report(prompts.status());
  if (options.num_warmups > 0) {
    bench::RandomDataset warmup = options.random;
    warmup.num_prompts = options.num_warmups;
    warmup.seed = options.random.seed + 1;  // no prefix of the measured prompts
    const auto others = bench::make_random_prompts(warmup, engine.model().vocab_size);
    const auto run = run_offline(engine, others, options.sampling, nullptr);
    if (!run.ok()) return report(run.status());
  }
  Progress progress("requests", prompts->size());
  const auto run =
      run_offline(engine, *prompts, options.sampling, [&](size_t done) { progress.show(done); });
  progress.clear();
  engine.shutdown(0);
  if (!run.ok()) return report(run.status());

  int64_t input = 0, output = 0;
  for (const OfflineResult& result : run->results) {
    input += result.prompt_tokens;
    output += result.output_tokens;
  }
  const double elapsed = run->end - run->begin;
  const auto requests = static_cast<double>(prompts->size());
  std::printf("Throughput: %.2f requests/s, %.2f total tokens/s, %.2f output tokens/s\n",
              requests / elapsed, static_cast<double>(input + output) / elapsed,
              static_cast<double>(output) / elapsed);
  std::printf("Total num prompt tokens:  %lld\nTotal num output tokens:  %lld\n",
              static_cast<long long>(input), static_cast<long long>(output));
  std::printf("%s\n", cost_line(*run, offline->seconds_to_ready).c_str());

  JsonWriter json;
  json.begin_object().key("elapsed_time").number(elapsed);
  json.key("num_requests").number(static_cast<int64_t>(prompts->size()));
  json.key("total_num_tokens").number(input + output);
  json.key("requests_per_second").number(requests / elapsed);
  json.key("tokens_per_second").number(static_cast<double>(input + output) / elapsed);
  json.key("output_tokens_per_second").number(static_cast<double>(output) / elapsed);
  json.end_object();
  const Status written = write_text_file(options.output_json, json.text());
  return written.ok() ? 0 : report(written);
}

}  // namespace octavo::cli
