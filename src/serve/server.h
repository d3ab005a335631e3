// The HTTP server: OpenAI's API over an EngineClient. `octavo serve` fills ServerOptions and calls
// run_server.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "octavo/engine_client.h"
#include "octavo/status.h"

namespace octavo::serve {

struct ServerOptions {
  std::string host = "0.0.0.0";
  int port = 8000;                    // 0: any free port, reported through on_ready
  std::vector<std::string> api_keys;  // empty: no key asked for
  std::vector<std::string>
      served_model_names;  // first one is reported; empty: the engine's model name
  size_t max_body_bytes = 32u << 20;
  size_t max_header_bytes = 64u << 10;
  double keep_alive_seconds = 5;
  size_t max_unsent_bytes = 1u << 20;  // per stream; a client that reads slower is cut off
  bool enable_log_requests = false;
  bool disable_page = false;      // no page at `/`
  double log_stats_seconds = 10;  // 0: never
  double shutdown_timeout_seconds =
      30;  // drain after SIGTERM or SIGINT; a second signal stops at once
  // Parsers of answers, by vLLM's names. auto: by the model's chat template; none: no parser.
  std::string tool_call_parser = "auto";
  std::string reasoning_parser = "auto";
  bool enable_auto_tool_choice = true;               // false: tools without tool_choice are refused
  bool exclude_tools_when_tool_choice_none = false;  // the template does not see them then
  int io_threads = 1;       // threads that tokenise and render for requests
  int stream_interval = 1;  // tokens per SSE event
  std::function<void(const std::string& host, int port)>
      on_ready;  // listening; requests are answered
};

// Serves until SIGTERM or SIGINT has drained the engine. Blocks. Errors: the port is in use, a bad
// address.
Status run_server(EngineClient& engine, const ServerOptions& options);

}  // namespace octavo::serve
