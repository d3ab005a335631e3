// run_batch: OpenAI's batch files through the server's own routes, without a socket. `octavo
// run-batch` calls it. A line of the input is {"custom_id", "method": "POST", "url", "body"}; a
// line of the output is {"id", "custom_id", "response": {"status_code", "request_id", "body"},
// "error"}, in the input's order. What one line gets wrong is told in its own line.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "octavo/engine_client.h"
#include "octavo/status.h"
#include "serve/server.h"

namespace octavo::serve {

struct BatchOptions {
  size_t max_in_flight = 0;                       // requests under way; 0: twice the model's batch
  std::function<bool(std::string&)> read;         // the next line; false: there is none
  std::function<Status(std::string_view)> write;  // a line, without its end
  std::function<void(size_t done)> on_progress;   // lines written so far; may be null
};

struct BatchResult {
  size_t lines = 0;
  size_t failed = 0;  // of them, those without an answer of status 200
};

// Blocks; calls back on this thread alone. Lines in memory are bounded, however long the input is
// and however slow one of them. Errors: what `write` returned; requests under way are cancelled.
StatusOr<BatchResult> run_batch(EngineClient& engine, const ServerOptions& server,
                                const BatchOptions& options);

}  // namespace octavo::serve
