// Declares the flags of the server. The order here is the order of the help.
#include "cli/options.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/log.h"
#include "base/status_macros.h"
#include "cli/model_path.h"
#include "cli/transport_flags.h"
#include "hub/names.h"
#include "text/parsers/output_parser.h"

namespace octavo::cli {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void declare_served_names(FlagSet& flags, serve::ServerOptions& server) {
  flags.custom_list("served-model-name", "NAME", "names in requests; the first one is reported",
                    [&server](const Words& names) -> Status {
                      if (std::find(names.begin(), names.end(), "") != names.end())
                        return invalid_argument("a name is empty");
                      server.served_model_names = names;
                      return {};
                    });
}

void declare_parser_flags(FlagSet& flags, serve::ServerOptions& server) {
  const auto choices = [](const std::vector<std::string_view>& parsers) {
    std::vector<std::pair<std::string, std::string>> out = {{"auto", "auto"}, {"none", "none"}};
    for (const std::string_view name : parsers) out.emplace_back(name, name);
    return out;
  };
  flags.choice("tool-call-parser", &server.tool_call_parser, choices(text::tool_parser_names()),
               "how the model writes tool calls; auto: as its chat template shows");
  flags.choice("reasoning-parser", &server.reasoning_parser,
               choices(text::reasoning_parser_names()),
               "how the model marks its thinking; auto: as its chat template shows");
  flags.toggle("enable-auto-tool-choice", &server.enable_auto_tool_choice,
               "tools may be given without tool_choice");
  flags.toggle("exclude-tools-when-tool-choice-none", &server.exclude_tools_when_tool_choice_none,
               "the chat template does not see the tools then");
}

// What answers look like where a request does not say.
void declare_answer_flags(FlagSet& flags, serve::ServerOptions& server) {
  flags.integer("stream-interval", &server.stream_interval, {1}, "tokens in one event of a stream");
  flags.toggle("enable-force-include-usage", &server.enable_force_include_usage,
               "every stream tells its usage, in each event");
  flags.toggle("return-tokens-as-token-ids", &server.return_tokens_as_token_ids,
               "log-probabilities name tokens by their ids");
  flags.text("response-role", &server.response_role, "ROLE", "role of a chat's answer");
  flags.custom("default-chat-template-kwargs", "JSON", "{}",
               "variables of the chat template that requests leave out",
               [&server](const std::string& v) -> Status {
                 ASSIGN_OR_RETURN(Value kwargs, parse_json(v));
                 if (!kwargs.is_dict()) return invalid_argument("must be a JSON object");
                 server.default_chat_template_kwargs = std::move(kwargs.as_dict());
                 return {};
               });
  flags.toggle("enable-request-id-headers", &server.enable_request_id_headers,
               "answers carry X-Request-Id: the request's, or one made for it");
  flags.toggle("enable-tokenizer-info-endpoint", &server.enable_tokenizer_info_endpoint,
               "GET /tokenizer_info shows tokenizer_config.json");
  flags.toggle("trust-request-chat-template", &server.trust_request_chat_template,
               "requests may bring a chat template of their own");
}

// Who may call, how often, and how much at once. The limits are off unless given.
void declare_limit_flags(FlagSet& flags, serve::ServerOptions& server) {
  const auto bytes = [&flags](std::string name, size_t* target, std::string help,
                              int64_t least = 1024) {
    flags.custom(std::move(name), "BYTES", std::to_string(*target), std::move(help),
                 [target, least](const std::string& v) -> Status {
                   ASSIGN_OR_RETURN(const int64_t n, parse_count(v));
                   if (n < least)
                     return invalid_argument("must be at least " + std::to_string(least));
                   *target = static_cast<size_t>(n);
                   return {};
                 });
  };
  const auto rate = [&flags](std::string name, serve::RateLimit* target, std::string help) {
    flags.custom(std::move(name), "N[/s|/m|/h]", "", std::move(help),
                 [target](const std::string& v) -> Status {
                   ASSIGN_OR_RETURN(*target, serve::parse_rate_limit(v));
                   return {};
                 });
  };
  flags.list("api-key", &server.api_keys, "KEY",
             "keys to ask for; otherwise OCTAVO_API_KEY or VLLM_API_KEY");
  flags.text("api-key-file", &server.api_key_file, "FILE",
             "more keys, one a line; read again when it changes");
  flags.integer("max-streams-per-client", &server.limits.max_streams_per_client, {0},
                "requests that one API key, or one address, may have under way; 0: any");
  rate("rate-limit-per-client", &server.limits.rate_per_client,
       "requests of one API key, or one address");
  rate("key-failures-per-client", &server.limits.key_failures_per_client,
       "wrong API keys from one address");
  flags.integer("max-queue", &server.limits.max_queue, {0},
                "requests that may wait for the model; further ones get 503; 0: any");
  bytes("max-body-bytes", &server.max_body_bytes, "largest request body");
  bytes("max-header-bytes", &server.max_header_bytes, "largest request header");
  bytes("h11-max-incomplete-event-size", &server.max_header_bytes, "vLLM's --max-header-bytes");
  flags.integer("h11-max-header-count", &server.max_header_count, {1, 1 << 20},
                "header fields in one request");
  bytes("max-unsent-bytes", &server.max_unsent_bytes,
        "a stream whose client reads slower than this is cut off");
  bytes("response-store-bytes", &server.response_store_bytes,
        "memory for the answers of /v1/responses that are kept; 0: none", 0);
  flags.number("response-store-seconds", &server.response_store_seconds, {0},
               "how long one is kept after its last use");
}

void declare_server_flags(FlagSet& flags, ServeOptions& options) {
  serve::ServerOptions& server = options.server;
  flags.group("Server");
  declare_transport_flags(flags, server);
  declare_served_names(flags, server);
  declare_parser_flags(flags, server);
  declare_answer_flags(flags, server);
  declare_limit_flags(flags, server);
  flags.number("shutdown-timeout", &server.shutdown_timeout_seconds, {0},
               "seconds that requests may take to end after SIGTERM");
  flags.toggle("enable-per-request-metrics", &server.enable_per_request_metrics,
               "requests may ask for their own times with include_metrics");
  flags.toggle("enable-log-requests", &server.enable_log_requests, "log each request");
  flags.turn_on("disable-page", &server.disable_page, "no page for browsers at /");
  flags.turn_on("disable-log-stats", &options.disable_log_stats,
                "no line of statistics every 10 s");
  flags.text("otlp-traces-endpoint", &options.otlp_traces_endpoint, "URL",
             "collector that gets a trace of each request, by OTLP over HTTP");
  flags.number("keep-alive-seconds", &server.keep_alive_seconds, {0},
               "how long an idle connection stays");
  flags.integer("io-threads", &server.io_threads, {1, 256}, "threads that tokenise requests");
}

}  // namespace

FlagSet make_serve_flags(ServeOptions& options) {
  FlagSet flags(
      "octavo serve [MODEL] [flags]",
      "Serves MODEL over OpenAI's API. MODEL is a folder with config.json, or "
      "owner/name[@revision]\n"
      "of the Hugging Face hub, which is downloaded when it is not in the cache; without it the\n"
      "bundled octavo-tiny is served.\n"
      "--config FILE reads flags from YAML (`max-num-seqs: 64`); the command line wins over it.\n"
      "--help=WORD shows the flags about WORD.");
  declare_server_flags(flags, options);
  declare_engine_flags(flags, options.engine, options.source);
  return flags;
}

FlagSet make_run_batch_flags(ServeOptions& options, RunBatchOptions& batch) {
  FlagSet flags(
      "octavo run-batch -i FILE -o FILE [MODEL] [flags]",
      "Answers a file of requests as OpenAI's batches have them: one JSON object a line, with\n"
      "`custom_id`, `method`, `url` (/v1/chat/completions, /v1/completions, /v1/responses,\n"
      "/v1/messages) and `body`. The answers are in the same order. Exit code 0: all have been\n"
      "answered; 1: some have failed, and their lines say why.");
  flags.group("Batch");
  flags.text("input-file", &batch.input_file, "FILE", "the requests; also -i; - is standard input");
  flags.text("output-file", &batch.output_file, "FILE",
             "the answers; also -o; - is standard output");
  flags.integer("max-concurrency", &batch.max_concurrency, {0, 1 << 16},
                "requests under way at once; 0: twice --max-num-seqs");
  declare_served_names(flags, options.server);
  flags.integer("io-threads", &options.server.io_threads, {1, 256},
                "threads that tokenise requests");
  declare_parser_flags(flags, options.server);
  declare_answer_flags(flags, options.server);
  declare_engine_flags(flags, options.engine, options.source);
  return flags;
}

void finish_serve_options(ServeOptions& options) {
  if (options.server.api_keys.empty() && options.server.api_key_file.empty()) {
    for (const char* name : {"OCTAVO_API_KEY", "VLLM_API_KEY"}) {
      if (const std::string key = environment(name); !key.empty()) {
        options.server.api_keys = {key};
        break;
      }
    }
  }
  if (options.disable_log_stats) options.server.log_stats_seconds = 0;
  const std::string dev_mode = environment("VLLM_SERVER_DEV_MODE");
  options.server.dev_mode = !dev_mode.empty() && dev_mode != "0";
}

StatusOr<std::string> resolve_engine_paths(EngineOptions& engine, const ModelSource& source) {
  const ModelPlaces places = places_of_this_machine(source.download_dir);
  std::string name = engine.model.model;
  if (name.empty()) {
    name = std::string(kBundledModel);
    ASSIGN_OR_RETURN(engine.model.model, find_bundled_model(places));
  } else {
    const auto wanted = engine.model.load_format == "dummy" ? hub::Wanted::kAllButWeights
                                                            : hub::Wanted::kEverything;
    ASSIGN_OR_RETURN(engine.model.model, obtain_model(name, source.revision, places, wanted));
  }
  if (!engine.model.tokenizer.empty() && !std::filesystem::exists(engine.model.tokenizer)) {
    auto tokenizer = obtain_model(engine.model.tokenizer, "", places, hub::Wanted::kAllButWeights);
    if (!tokenizer.ok()) return tokenizer.status().with_context("--tokenizer");
    engine.model.tokenizer = *tokenizer;
  }
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  if (std::filesystem::exists(name)) return name;
  // Clients name a model of the hub without its revision.
  const auto reference = hub::parse_model_reference(name);
  return reference.ok() ? reference->model : name;
}

Status apply_log_level(const std::string& level) {
  const std::string word = level.empty() ? environment("OCTAVO_LOG_LEVEL") : level;
  if (word == "debug")
    set_log_level(LogLevel::kDebug);
  else if (word == "warning")
    set_log_level(LogLevel::kWarning);
  else if (word == "error")
    set_log_level(LogLevel::kError);
  else if (word == "off")
    set_log_level(LogLevel::kOff);
  else if (word.empty() || word == "info")
    set_log_level(LogLevel::kInfo);
  else
    return invalid_argument("OCTAVO_LOG_LEVEL: '" + word +
                            "' is none of debug|info|warning|error|off");
  return {};
}

}  // namespace octavo::cli
