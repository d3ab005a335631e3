// octavo bench serve: prepares prompts, runs the load, prints vLLM's table. Knows the server only
// by its URL.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/clock.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/bench/load_client.h"
#include "cli/bench/metrics.h"
#include "cli/bench/server_tokenizer.h"
#include "cli/bench_options.h"
#include "cli/commands/commands.h"
#include "cli/commands/offline.h"

namespace octavo::cli {
namespace {

StatusOr<bench::Endpoint> connect(const BenchServeOptions& options) {
  ASSIGN_OR_RETURN(bench::Endpoint endpoint, bench::resolve_endpoint(options.base_url));
  if (const char* key = std::getenv("OPENAI_API_KEY"); key != nullptr && *key != '\0') {
    endpoint.headers += std::string("Authorization: Bearer ") + key + "\r\n";
  }
  for (const std::string& header : options.headers) {
    const size_t equals = header.find('=');
    if (equals == std::string::npos || header.find_first_of("\r\n") != std::string::npos) {
      return invalid_argument("--header: '" + header + "' is not NAME=VALUE");
    }
    endpoint.headers += header.substr(0, equals) + ": " + header.substr(equals + 1) + "\r\n";
  }
  return endpoint;
}

// The model's name, asked of the server until it answers or the time is over.
StatusOr<std::string> wait_for_model(const bench::Endpoint& endpoint, double timeout) {
  const double begin = steady_seconds();
  while (true) {
    auto model = bench::first_model(endpoint);
    if (model.ok() || steady_seconds() - begin >= timeout) return model;
    usleep(50'000);
  }
}

// Ids of prompts that no tokenizer checks: below this every model has an entry.
constexpr int kCautiousVocab = 1000;

StatusOr<std::vector<bench::Prompt>> make_prompts(BenchServeOptions& options,
                                                  const bench::Endpoint& endpoint) {
  if (options.dataset_name == "custom") {
    return bench::read_custom_dataset(options.dataset_path, options.random.num_prompts,
                                      options.custom_output_len);
  }
  bench::ServerTokenizer tokenizer(endpoint, options.run.model);
  const auto special = tokenizer.special_tokens();
  if (!special.ok() && !options.prompt_ids) {
    if (options.run.backend == "openai-chat") {
      return special.status().with_context(
          "text prompts need the server's /tokenize and /detokenize");
    }
    log_warning("bench", special.status().message() + "; prompts are sent as token ids");
    options.prompt_ids = true;
  }
  if (options.vocab_size == 0) {
    const auto found = tokenizer.vocab_size();
    options.vocab_size = found.ok() ? *found : kCautiousVocab;
    if (!found.ok())
      log_warning("bench", "the vocabulary's size is unknown: ids are below 1000 (--vocab-size)");
  }
  if (!options.prompt_ids) options.random.special_tokens = *special;
  auto prompts = bench::make_random_prompts(options.random, options.vocab_size);
  if (options.prompt_ids) return prompts;
  Progress progress("prompts", prompts.size(), !options.disable_progress);
  RETURN_IF_ERROR(bench::realign_prompts(tokenizer, options.vocab_size, options.random.seed,
                                         prompts, [&](size_t done) { progress.show(done); }));
  return prompts;
}

std::string request_body(const BenchServeOptions& options, const bench::Prompt& prompt) {
  const bool chat = options.run.backend == "openai-chat";
  JsonWriter json;
  json.begin_object().key("model").string(options.run.model);
  if (chat) {
    json.key("messages").begin_array().begin_object().key("role").string("user");
    json.key("content").string(prompt.text).end_object().end_array();
    json.key("max_completion_tokens").number(prompt.output_len);
  } else {
    json.key("prompt");
    if (options.prompt_ids) {
      json.begin_array();
      for (const TokenId id : prompt.ids) json.number(id);
      json.end_array();
    } else {
      json.string(prompt.text);
    }
    json.key("max_tokens").number(prompt.output_len).key("repetition_penalty").number(1.0);
  }
  json.key("stream").boolean(true).key("stream_options").begin_object();
  json.key("include_usage").boolean(true).end_object();
  if (options.ignore_eos) json.key("ignore_eos").boolean(true);
  if (options.temperature) json.key("temperature").number(*options.temperature);
  if (options.top_p) json.key("top_p").number(*options.top_p);
  if (options.top_k) json.key("top_k").number(*options.top_k);
  json.end_object();
  return std::move(json).take();
}

std::vector<bench::LoadRequest> make_requests(const BenchServeOptions& options,
                                              const std::vector<bench::Prompt>& prompts) {
  const auto times = bench::arrival_times(prompts.size(), options.run.request_rate,
                                          options.run.burstiness, options.random.seed);
  std::vector<bench::LoadRequest> requests(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    requests[i] = {request_body(options, prompts[i]), times[i], prompts[i].output_len};
  }
  return requests;
}

StatusOr<bench::LoadOutcome> run(const BenchServeOptions& options, const bench::Endpoint& endpoint,
                                 const std::vector<bench::Prompt>& prompts) {
  const auto requests = make_requests(options, prompts);
  bench::LoadOptions load{.path = options.endpoint, .max_concurrency = options.run.max_concurrency};
  if (options.num_warmups > 0) {
    bench::LoadRequest first = requests[0];
    first.send_at = 0;
    const std::vector<bench::LoadRequest> warmups(static_cast<size_t>(options.num_warmups), first);
    RETURN_IF_ERROR(bench::run_load(endpoint, warmups, load).status());
  }
  Progress progress("requests", requests.size(), !options.disable_progress);
  load.keep_events = options.save_detailed;
  load.on_progress = [&](size_t done, double) { progress.show(done); };
  return bench::run_load(endpoint, requests, load);
}

void warn_of_failures(const bench::LoadOutcome& outcome, int failed) {
  for (const bench::LoadResult& result : outcome.results) {
    if (result.ok) continue;
    log_warning("bench",
                std::to_string(failed) + " requests failed, the first one with: " + result.error);
    return;
  }
}

Status save(const BenchServeOptions& options, const bench::ServeMetrics& metrics,
            const std::vector<bench::Prompt>& prompts, const bench::LoadOutcome& outcome) {
  std::string name = options.result_filename.empty() ? bench::default_result_name(options.run)
                                                     : options.result_filename;
  if (!options.result_dir.empty()) name = options.result_dir + "/" + name;
  return write_text_file(name, bench::serve_json(options.run, metrics, prompts,
                                                 options.save_detailed ? &outcome : nullptr));
}

}  // namespace

int bench_serve_command(const Words& args) {
  BenchServeOptions options;
  FlagSet flags = make_bench_serve_flags(options);
  if (const auto code = parse_or_exit(flags, args, "bench serve")) return *code;
  if (const Status status = finish_bench_serve_options(options); !status.ok())
    return report(status, kUsage);
  if (const Status status = apply_log_level(""); !status.ok()) return report(status, kUsage);
  log_notices(flags);
  bench::raise_descriptor_limit();

  auto endpoint = connect(options);
  if (!endpoint.ok()) return report(endpoint.status());
  const auto model = wait_for_model(*endpoint, options.ready_timeout_seconds);
  if (!model.ok() && options.run.model.empty()) return report(model.status());
  if (options.run.model.empty()) options.run.model = *model;
  const auto prompts = make_prompts(options, *endpoint);
  if (!prompts.ok()) return report(prompts.status());

  const time_t now = std::time(nullptr);
  char date[32];
  std::strftime(date, sizeof date, "%Y%m%d-%H%M%S", std::localtime(&now));
  options.run.date = date;
  options.run.num_prompts = static_cast<int>(prompts->size());
  const double cpu_before = thread_cpu_seconds();
  const auto outcome = run(options, *endpoint, *prompts);
  if (!outcome.ok()) return report(outcome.status());
  const double cpu = thread_cpu_seconds() - cpu_before;

  const auto metrics =
      bench::compute_metrics(*prompts, *outcome, options.percentiles, options.goodput);
  if (metrics.failed > 0) warn_of_failures(*outcome, metrics.failed);
  std::fputs(bench::serve_table(options.run, metrics).c_str(), stdout);
  std::fflush(stdout);
  std::fprintf(stderr, "The client used %.2f s of CPU.\n", cpu);
  if (options.save_result || options.save_detailed) {
    if (const Status status = save(options, metrics, *prompts, *outcome); !status.ok())
      return report(status);
  }
  return metrics.completed > 0 ? 0 : kFailed;
}

}  // namespace octavo::cli
