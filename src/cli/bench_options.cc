// Declares the flags of the benchmarks.
#include "cli/bench_options.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/status_macros.h"

namespace octavo::cli {
namespace {

Words split(const std::string& text, char separator) {
  Words words;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

Status check_dataset(const std::string& name, const std::string& path) {
  if (name == "custom" && path.empty())
    return invalid_argument("--dataset-name custom needs --dataset-path");
  return {};
}

void declare_dataset_name(FlagSet& flags, std::string* name, std::string* path) {
  flags.custom(
      "dataset-name", "random|custom", *name, "made up, or JSONL lines {\"prompt\": …}",
      [name](const std::string& v) -> Status {
        for (const char* other : {"sharegpt", "sonnet", "burstgpt", "hf", "prefix_repetition"}) {
          if (v == other)
            return unimplemented("the dataset '" + v + "' is not supported by octavo yet");
        }
        if (v != "random" && v != "custom")
          return invalid_argument("'" + v + "' is none of random|custom");
        *name = v;
        return {};
      });
  flags.text("dataset-path", path, "FILE", "of --dataset-name custom");
}

// --random-X, and for bench throughput also --X.
void declare_random_lengths(FlagSet& flags, bench::RandomDataset& random,
                            const std::string& before) {
  flags.integer(before + "input-len", &random.input_len, {0, 1 << 24}, "tokens of a prompt");
  flags.integer(before + "output-len", &random.output_len, {1, 1 << 24}, "tokens of an answer");
  flags.integer(before + "prefix-len", &random.prefix_len, {0, 1 << 24},
                "tokens before them that all prompts share");
}

void declare_range_ratio(FlagSet& flags, const std::string& name, bench::RandomDataset& random) {
  flags.custom(name, "R", "0", "lengths vary by this share; also {\"input\": R, \"output\": R}",
               [&random](const std::string& v) { return bench::parse_range_ratio(v, random); });
}

template <typename T>
void declare_optional(FlagSet& flags, std::string name, std::optional<T>* target,
                      std::string help) {
  flags.custom(std::move(name), "X", "", std::move(help), [target](const std::string& v) -> Status {
    if constexpr (std::is_same_v<T, double>) {
      ASSIGN_OR_RETURN(*target, parse_number(v));
    } else {
      ASSIGN_OR_RETURN(*target, parse_integer(v));
    }
    return {};
  });
}

// Offline runs start from the defaults of vLLM's LLM class, not from the server's.
void set_offline_defaults(EngineOptions& engine) {
  engine.scheduler.offline = true;
}

// What both offline benchmarks declare after their own flags.
void declare_offline(FlagSet& flags, OfflineBenchOptions& o) {
  BenchSampling& sampling = o.sampling;
  flags.number("temperature", &sampling.temperature, {0, 2}, "0: greedy");
  flags.number("top-p", &sampling.top_p, {0.001, 1}, "");
  flags.integer("logprobs", &sampling.logprobs, {-1, 20}, "alternatives of each token; -1: none");
  flags.choice("structured-output", &sampling.structured_output,
               {{"none", "none"}, {"json", "json"}},
               "json: every answer follows a JSON schema, without end");
  flags.turn_on(
      "tune", &o.engine.device.tune,
      "on a GPU: find the fastest library kernel for each shape, for this run and later ones");
  flags.text("output-json", &o.output_json, "FILE", "");
  declare_engine_flags(flags, o.engine, o.source);
}

void declare_server_under_test(FlagSet& flags, BenchServeOptions& o) {
  flags.group("Server under test");
  flags.text("base-url", &o.base_url, "URL",
             "http://host:port[/path], instead of --host and --port");
  flags.text("host", &o.host, "ADDRESS", "");
  flags.integer("port", &o.port, {1, 65535}, "");
  flags.choice("backend", &o.run.backend,
               {{"openai", "openai"}, {"vllm", "openai"}, {"openai-chat", "openai-chat"}},
               "completions or chat completions");
  flags.text("endpoint", &o.endpoint, "PATH",
             "otherwise the backend's: /v1/completions, /v1/chat/completions");
  flags.text("model", &o.run.model, "NAME", "otherwise the first of /v1/models");
  flags.list("header", &o.headers, "NAME=VALUE",
             "header lines; OPENAI_API_KEY makes an Authorization");
  flags.number("ready-check-timeout-sec", &o.ready_timeout_seconds, {0},
               "wait so long for the server to answer");
}

void declare_traffic(FlagSet& flags, BenchServeOptions& o) {
  flags.group("Traffic");
  flags.number("request-rate", &o.run.request_rate, {1e-9}, "requests a second; inf: all at once");
  flags.number("burstiness", &o.run.burstiness, {1e-9},
               "shape of the gaps' gamma distribution; 1: Poisson");
  flags.integer("max-concurrency", &o.run.max_concurrency, {0},
                "most requests in flight; 0: no limit");
  flags.integer("num-warmups", &o.num_warmups, {0}, "requests before the measurement");
  flags.group("Requests");
  flags.integer("num-prompts", &o.random.num_prompts, {1, 1 << 24}, "");
  flags.custom("seed", "N", "0", "of prompts and arrivals", [&o](const std::string& v) -> Status {
    ASSIGN_OR_RETURN(const int64_t seed, parse_integer(v));
    o.random.seed = static_cast<uint64_t>(seed);
    return {};
  });
  declare_dataset_name(flags, &o.dataset_name, &o.dataset_path);
  declare_random_lengths(flags, o.random, "random-");
  declare_range_ratio(flags, "random-range-ratio", o.random);
  flags.integer("custom-output-len", &o.custom_output_len, {0},
                "instead of the file's output_tokens; 0: the file's");
  flags.turn_on("prompt-ids", &o.prompt_ids, "send token ids instead of text");
  flags.integer("vocab-size", &o.vocab_size, {0}, "ids are below it; 0: find out from the server");
  flags.turn_on("ignore-eos", &o.ignore_eos, "always on for --dataset-name random");
  declare_optional(flags, "temperature", &o.temperature, "otherwise the server's default");
  declare_optional(flags, "top-p", &o.top_p, "");
  declare_optional(flags, "top-k", &o.top_k, "");
}

void declare_results(FlagSet& flags, BenchServeOptions& o) {
  flags.group("Results");
  flags.custom("percentile-metrics", "LIST", "ttft,tpot,itl", "of ttft, tpot, itl, e2el",
               [&o](const std::string& v) -> Status {
                 o.run.selected_metrics = split(v, ',');
                 for (const std::string& name : o.run.selected_metrics) {
                   if (name != "ttft" && name != "tpot" && name != "itl" && name != "e2el") {
                     return invalid_argument("'" + name + "' is none of ttft, tpot, itl, e2el");
                   }
                 }
                 return {};
               });
  flags.custom("metric-percentiles", "LIST", "99", "like 25,50,99.9",
               [&o](const std::string& v) -> Status {
                 o.percentiles.clear();
                 for (const std::string& word : split(v, ',')) {
                   ASSIGN_OR_RETURN(const double p, parse_number(word));
                   if (p < 0 || p > 100)
                     return invalid_argument("'" + word + "' is not between 0 and 100");
                   o.percentiles.push_back(p);
                 }
                 return {};
               });
  flags.custom_list("goodput", "METRIC:MS", "ttft, tpot, e2el bounds that a good request keeps",
                    [&o](const Words& words) { return bench::parse_goodput(words, o.goodput); });
  flags.turn_on("save-result", &o.save_result, "write a JSON file");
  flags.turn_on("save-detailed", &o.save_detailed, "with the figures and texts of single requests");
  flags.text("result-dir", &o.result_dir, "DIR", "");
  flags.text("result-filename", &o.result_filename, "FILE", "otherwise named after the run");
  flags.text("label", &o.run.label, "TEXT", "first part of the file's name");
  flags.custom_list("metadata", "KEY=VALUE", "further entries of the JSON file",
                    [&o](const Words& words) -> Status {
                      for (const std::string& word : words) {
                        const size_t equals = word.find('=');
                        if (equals == std::string::npos)
                          return invalid_argument("'" + word + "' is not KEY=VALUE");
                        o.run.metadata.emplace_back(word.substr(0, equals),
                                                    word.substr(equals + 1));
                      }
                      return {};
                    });
  flags.turn_on("disable-tqdm", &o.disable_progress, "no progress bar");
}

}  // namespace

FlagSet make_latency_flags(LatencyOptions& o) {
  set_offline_defaults(o.engine);
  o.engine.cache.enable_prefix_caching = false;
  FlagSet flags("octavo bench latency [MODEL] [flags]",
                "Times one batch of equal requests in this process: the whole batch, its prefill "
                "and its decode.");
  flags.group("Benchmark");
  flags.integer("batch-size", &o.batch_size, {1, 1 << 20}, "requests in the batch");
  flags.integer("input-len", &o.input_len, {1, 1 << 24}, "tokens of a prompt");
  flags.integer("output-len", &o.output_len, {1, 1 << 24}, "tokens of an answer");
  flags.integer("num-iters-warmup", &o.num_iters_warmup, {0}, "batches before the measurement");
  flags.integer("num-iters", &o.num_iters, {1}, "batches measured");
  flags.turn_on("profile", &o.engine.device.profile,
                "on a GPU: a table of the time, bytes and operations of each kind of kernel");
  declare_offline(flags, o);
  return flags;
}

void finish_latency_options(LatencyOptions& o, const FlagSet& flags) {
  constexpr int kLeastDefault = 256;
  if (!flags.given("max-num-seqs") && o.batch_size > kLeastDefault)
    o.engine.scheduler.max_num_seqs = o.batch_size;
}

FlagSet make_throughput_flags(ThroughputOptions& o) {
  set_offline_defaults(o.engine);
  FlagSet flags("octavo bench throughput [MODEL] [flags]",
                "Hands many requests at once to an engine in this process and times them all.");
  flags.group("Benchmark");
  flags.integer("num-prompts", &o.random.num_prompts, {1, 1 << 24}, "");
  flags.integer("num-warmups", &o.num_warmups, {0, 1 << 24},
                "prompts of the same kind to run before, unmeasured");
  declare_dataset_name(flags, &o.dataset_name, &o.dataset_path);
  declare_random_lengths(flags, o.random, "");
  declare_random_lengths(flags, o.random, "random-");
  declare_range_ratio(flags, "random-range-ratio", o.random);
  declare_offline(flags, o);
  return flags;
}

Status finish_throughput_options(ThroughputOptions& o, const FlagSet& flags) {
  o.random.seed = static_cast<uint64_t>(o.engine.model.seed);
  const bool length_given = flags.given("output-len") || flags.given("random-output-len");
  if (o.dataset_name == "custom" && !length_given) o.random.output_len = 0;
  return check_dataset(o.dataset_name, o.dataset_path);
}

FlagSet make_bench_serve_flags(BenchServeOptions& o) {
  o.run.backend = "openai";
  FlagSet flags("octavo bench serve [flags]",
                "Measures any server of OpenAI's API from outside: time to first token, time per "
                "token, throughput.\n"
                "Prompts are made through the server's /tokenize and /detokenize, or sent as ids.");
  declare_server_under_test(flags, o);
  declare_traffic(flags, o);
  declare_results(flags, o);
  flags.accept_config_file();
  return flags;
}

Status finish_bench_serve_options(BenchServeOptions& o) {
  RETURN_IF_ERROR(check_dataset(o.dataset_name, o.dataset_path));
  const bool chat = o.run.backend == "openai-chat";
  if (chat && o.prompt_ids)
    return invalid_argument("--prompt-ids needs --backend openai: a chat has no ids");
  if (o.prompt_ids && o.dataset_name != "random")
    return invalid_argument("--prompt-ids needs --dataset-name random");
  if (o.random.input_len + o.random.prefix_len == 0)
    return invalid_argument("--random-input-len must be at least 1");
  if (o.endpoint.empty()) o.endpoint = chat ? "/v1/chat/completions" : "/v1/completions";
  if (o.base_url.empty()) {
    const bool v6 = o.host.find(':') != std::string::npos;
    o.base_url = "http://" + (v6 ? "[" + o.host + "]" : o.host) + ":" + std::to_string(o.port);
  }
  if (o.dataset_name == "random") o.ignore_eos = true;
  o.run.num_prompts = o.random.num_prompts;
  return {};
}

}  // namespace octavo::cli
