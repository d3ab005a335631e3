// Tests of the benchmarks' flags and of what `octavo env` reads.
#include <gtest/gtest.h>

#include <cmath>

#include "cli/bench_options.h"
#include "cli/env.h"

namespace octavo::cli {
namespace {

TEST(BenchLatency, DefaultsAreVllms) {
  LatencyOptions o;
  FlagSet flags = make_latency_flags(o);
  ASSERT_TRUE(flags.parse({"--model", "m", "--batch-size", "600", "--threads", "2"}).ok());
  finish_latency_options(o, flags);
  EXPECT_EQ(o.engine.model.model, "m");
  EXPECT_EQ(o.input_len, 32);
  EXPECT_EQ(o.output_len, 128);
  EXPECT_EQ(o.num_iters_warmup, 10);
  EXPECT_EQ(o.num_iters, 30);
  EXPECT_FALSE(o.engine.cache.enable_prefix_caching);
  EXPECT_EQ(o.engine.scheduler.max_num_seqs, 600);
  EXPECT_EQ(o.engine.device.threads, 2);
}

TEST(BenchThroughput, TakesBothSpellingsOfLengths) {
  ThroughputOptions o;
  FlagSet flags = make_throughput_flags(o);
  ASSERT_TRUE(flags.parse({"--input-len", "7", "--random-output-len", "9", "--seed", "5"}).ok());
  ASSERT_TRUE(finish_throughput_options(o, flags).ok());
  EXPECT_EQ(o.random.input_len, 7);
  EXPECT_EQ(o.random.output_len, 9);
  EXPECT_EQ(o.random.seed, 5u);
  EXPECT_EQ(o.random.num_prompts, 1000);
}

TEST(BenchThroughput, RefusesDatasetsByName) {
  ThroughputOptions o;
  EXPECT_EQ(make_throughput_flags(o).parse({"--dataset-name", "sharegpt"}).message(),
            "--dataset-name: the dataset 'sharegpt' is not supported by octavo yet");
  FlagSet flags = make_throughput_flags(o);
  ASSERT_TRUE(flags.parse({"--dataset-name", "custom"}).ok());
  EXPECT_FALSE(finish_throughput_options(o, flags).ok());
}

BenchServeOptions parse_serve(const Words& args, Status* status = nullptr) {
  BenchServeOptions o;
  Status result = make_bench_serve_flags(o).parse(args);
  if (result.ok()) result = finish_bench_serve_options(o);
  if (status != nullptr)
    *status = result;
  else
    EXPECT_TRUE(result.ok()) << result.message();
  return o;
}

TEST(BenchServe, DefaultsAreVllms) {
  const BenchServeOptions o = parse_serve({});
  EXPECT_EQ(o.base_url, "http://127.0.0.1:8000");
  EXPECT_EQ(o.endpoint, "/v1/completions");
  EXPECT_EQ(o.random.input_len, 1024);
  EXPECT_EQ(o.random.output_len, 128);
  EXPECT_EQ(o.run.num_prompts, 1000);
  EXPECT_TRUE(std::isinf(o.run.request_rate));
  EXPECT_EQ(o.run.burstiness, 1);
  EXPECT_TRUE(o.ignore_eos);
  EXPECT_FALSE(o.temperature);
  EXPECT_EQ(o.percentiles, std::vector<double>{99});
}

TEST(BenchServe, ReadsTrafficMetricsAndGoodput) {
  const BenchServeOptions o = parse_serve({"--backend",
                                           "openai-chat",
                                           "--host",
                                           "::1",
                                           "--port",
                                           "9",
                                           "--request-rate",
                                           "2.5",
                                           "--max-concurrency=64",
                                           "--percentile-metrics",
                                           "ttft,e2el",
                                           "--metric-percentiles",
                                           "50,99.9",
                                           "--goodput",
                                           "ttft:200",
                                           "tpot:20",
                                           "--temperature",
                                           "0",
                                           "--metadata",
                                           "a=b",
                                           "--random-range-ratio",
                                           "0.5"});
  EXPECT_EQ(o.base_url, "http://[::1]:9");
  EXPECT_EQ(o.endpoint, "/v1/chat/completions");
  EXPECT_EQ(o.run.request_rate, 2.5);
  EXPECT_EQ(o.run.selected_metrics, (Words{"ttft", "e2el"}));
  EXPECT_EQ(o.percentiles, (std::vector<double>{50, 99.9}));
  EXPECT_EQ(o.goodput.tpot, 20);
  EXPECT_EQ(o.temperature, 0);
  EXPECT_EQ(o.run.metadata[0].second, "b");
  EXPECT_EQ(o.random.output_ratio, 0.5);
  EXPECT_TRUE(std::isinf(parse_serve({"--request-rate", "inf"}).run.request_rate));
}

TEST(BenchServe, RefusesWhatCannotBe) {
  for (const Words& args : std::vector<Words>{{"--prompt-ids", "--backend", "openai-chat"},
                                              {"--request-rate", "0"},
                                              {"--request-rate", "-inf"},
                                              {"--percentile-metrics", "x"},
                                              {"--metric-percentiles", "101"},
                                              {"--goodput", "ttft"},
                                              {"--random-input-len", "0"},
                                              {"--random-range-ratio", "1"}}) {
    Status status;
    parse_serve(args, &status);
    EXPECT_FALSE(status.ok()) << args[0] << " " << args.back();
  }
}

TEST(Environment, NamesTheFeaturesThatKernelsUse) {
  EXPECT_EQ(useful_features("processor : 0\nflags\t\t: fpu avx2 sse2 amx_tile\n\nflags : fpu\n"),
            (std::vector<std::string>{"avx2", "amx_tile"}));
  EXPECT_TRUE(useful_features("").empty());
}

TEST(Environment, ReportsThisMachine) {
  EXPECT_GE(inspect_cpu().cores_allowed, 1);
  EXPECT_GT(inspect_memory().total, 0);
  const GpuReport gpus = inspect_gpus();
  EXPECT_NE(gpus.error.empty(), gpus.gpus.empty());
  const std::string report = environment_report("1.2.3");
  EXPECT_EQ(report.rfind("octavo:    1.2.3\n", 0), 0u);
}

}  // namespace
}  // namespace octavo::cli
