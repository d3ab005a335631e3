// The HTTP server: OpenAI's API over an EngineClient. `octavo serve` fills ServerOptions and calls
// run_server.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "octavo/engine_client.h"
#include "octavo/status.h"
#include "octavo/value.h"
#include "serve/access/rate_limit.h"
#include "serve/transport/cors.h"
#include "serve/transport/tls.h"

namespace octavo::serve {

// A server that answers requests.
struct Listening {
  std::string host;  // or the path of its Unix socket
  int port = 0;      // 0 with a Unix socket
  // Does what SIGTERM does, to this server alone. Any thread, at any time: once run_server() has
  // returned it does nothing.
  std::function<void()> interrupt;
};

struct ServerOptions {
  std::string host = "0.0.0.0";
  int port = 8000;  // 0: any free port, reported through on_ready
  std::string uds;  // path of a Unix socket to listen on instead; empty: none
  TlsOptions tls;   // without a certificate: plain HTTP
  CorsOptions cors;
  std::string root_path;  // "/prefix" that a proxy puts before our paths (proxy.h)
  std::vector<std::string> forwarded_allow_ips;  // whose X-Forwarded-* are believed (proxy.h)
  std::vector<std::string> api_keys;             // these and the file's; neither: no key asked for
  std::string api_key_file;                      // a key a line; read again when it changes
  ClientLimits limits;
  std::vector<std::string>
      served_model_names;  // first one is reported; empty: the engine's model name
  size_t max_body_bytes = 32u << 20;
  size_t max_header_bytes = 64u << 10;
  int max_header_count = 256;
  double keep_alive_seconds = 5;
  size_t max_unsent_bytes = 1u << 20;  // per stream; a client that reads slower is cut off
  bool enable_log_requests = false;
  bool enable_per_request_metrics = false;  // `include_metrics` in a request is honoured
  bool disable_page = false;                // no page at `/`
  double log_stats_seconds = 10;            // 0: never
  double shutdown_timeout_seconds =
      30;  // drain after SIGTERM or SIGINT; a second signal stops at once
  // Parsers of answers, by vLLM's names. auto: by the model's chat template; none: no parser.
  std::string tool_call_parser = "auto";
  std::string reasoning_parser = "auto";
  bool enable_auto_tool_choice = true;               // false: tools without tool_choice are refused
  bool exclude_tools_when_tool_choice_none = false;  // the template does not see them then
  bool enable_force_include_usage = false;           // every stream tells its usage, in each event
  bool return_tokens_as_token_ids = false;   // in log-probabilities, unless the request says
  Value::Dict default_chat_template_kwargs;  // of requests that do not set them
  std::string response_role = "assistant";   // of a chat's answer
  bool trust_request_chat_template = false;  // a request may bring its own template
  bool enable_request_id_headers = false;    // answers carry X-Request-Id
  bool enable_tokenizer_info_endpoint = false;
  bool dev_mode = false;  // routes for development: dev_routes.h
  // What /v1/responses keeps to be asked for again, in memory alone; 0 bytes: nothing.
  size_t response_store_bytes = 64u << 20;
  double response_store_seconds = 24 * 3600;       // since its last use
  int io_threads = 1;                              // threads that tokenise and render for requests
  int stream_interval = 1;                         // tokens per SSE event
  std::function<void(const Listening&)> on_ready;  // io thread
};

// What the options name outside of them, as it was read: certificates and API keys.
struct PreparedServer;

// All that can be known to be wrong before a model is loaded. Reads certificates and keys, and
// tries the address without listening there. Errors: one of them cannot be used, a bad root path or
// proxy, the port is in use, a bad address.
StatusOr<std::shared_ptr<PreparedServer>> prepare_server(const ServerOptions& options);

// Serves until SIGTERM, SIGINT or Listening::interrupt has drained the engine. Blocks. A signal
// stops every server of the process. `prepared` is of these options, used by no other server, and
// where it is null, made here. Errors: prepare_server's, parsers that do not fit.
Status run_server(EngineClient& engine, const ServerOptions& options,
                  std::shared_ptr<PreparedServer> prepared = nullptr);

}  // namespace octavo::serve
