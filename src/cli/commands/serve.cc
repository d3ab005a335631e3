// octavo serve: flags → engine → HTTP server, until a signal has drained it.
#include "serve/server.h"

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/commands/commands.h"
#include "cli/options.h"
#include "octavo/engine_client.h"
#include "trace/tracing_client.h"

namespace octavo::cli {
namespace {

// An address that a client on this machine can use.
std::string reachable(const std::string& host) {
  if (host.empty() || host == "0.0.0.0") return "127.0.0.1";
  if (host == "::") return "[::1]";
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

void print_ready(const EngineClient& engine, const serve::ServerOptions& options,
                 const std::string& host, int port, double seconds) {
  const std::string scheme = options.tls.certfile.empty() ? "http://" : "https://";
  const bool uds = !options.uds.empty();
  const std::string place = uds ? "localhost" : reachable(host) + ":" + std::to_string(port);
  const std::string url = scheme + place;
  const std::string curl = uds ? "curl --unix-socket " + options.uds : "curl";
  const std::string& name = options.served_model_names.front();
  const bool chat = engine.text().has_chat_template();
  const std::string key = options.api_keys.empty() && options.api_key_file.empty()
                              ? ""
                              : " -H \"Authorization: Bearer $OCTAVO_API_KEY\"";
  const std::string body = chat ? "\"messages\": [{\"role\": \"user\", \"content\": \"Hello!\"}]"
                                : "\"prompt\": \"Once upon a time\"";
  const std::string browser =
      options.disable_page || uds ? "" : " in a browser, at " + url + "/, or with curl";
  std::printf(
      "Octavo is ready after %.2f s: %s at %s%s/v1\n\nTry it%s:\n"
      "  %s %s/v1/%s%s -H 'Content-Type: application/json' \\\n"
      "    -d '{\"model\": \"%s\", %s, \"max_tokens\": 64}'\n",
      seconds, name.c_str(), uds ? (options.uds + ", ").c_str() : "", url.c_str(), browser.c_str(),
      curl.c_str(), url.c_str(), chat ? "chat/completions" : "completions", key.c_str(),
      name.c_str(), body.c_str());
  std::fflush(stdout);
}

// None without an endpoint.
StatusOr<std::optional<trace::TraceOptions>> tracing_options(const std::string& endpoint) {
  std::optional<trace::TraceOptions> none;
  if (endpoint.empty()) return none;
  ASSIGN_OR_RETURN(trace::TraceOptions options,
                   trace::read_trace_options(endpoint, [](const char* name) -> std::string {
                     const char* value = std::getenv(name);
                     return value == nullptr ? "" : value;
                   }));
  return std::optional(std::move(options));
}

}  // namespace

int serve_command(const Words& args) {
  const double begin = steady_seconds();
  ServeOptions options;
  FlagSet flags = make_serve_flags(options);
  if (const auto code = parse_or_exit(flags, args, "serve")) return *code;
  finish_serve_options(options);
  if (const Status status = apply_log_level(options.source.log_level); !status.ok())
    return report(status, kUsage);
  log_notices(flags);
  const auto prepared = serve::prepare_server(options.server);
  if (!prepared.ok()) return report(prepared.status());
  const auto tracing = tracing_options(options.otlp_traces_endpoint);
  if (!tracing.ok()) return report(tracing.status(), kUsage);

  auto name = resolve_engine_paths(options.engine, options.source);
  if (!name.ok()) return report(name.status());
  if (options.server.served_model_names.empty()) options.server.served_model_names = {*name};
  options.engine.model.served_name = options.server.served_model_names.front();

  const std::string& folder = options.engine.model.model;
  log_info("serve", "loading " + *name + (folder == *name ? "" : " from " + folder));
  auto engine =
      make_engine(options.engine, [](const std::string& line) { log_info("engine", line); });
  if (!engine.ok()) return report(engine.status());
  options.server.on_ready = [&](const serve::Listening& at) {
    print_ready(**engine, options.server, at.host, at.port, steady_seconds() - begin);
  };
  std::optional<trace::TracingClient> traced;
  if (*tracing) traced.emplace(**engine, **tracing, options.server.served_model_names.front());
  EngineClient& client = traced ? *traced : **engine;
  const Status status = serve::run_server(client, options.server, *prepared);
  (*engine)->shutdown(0);
  return status.ok() ? 0 : report(status);
}

}  // namespace octavo::cli
