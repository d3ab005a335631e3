// run_load: sends many streaming requests to one server and notes when each token arrives. One
// thread and one epoll set for all connections: the client shares the machine with the server it
// measures, so an event costs one read() and a scan of its bytes.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "cli/bench/http_call.h"
#include "octavo/status.h"

namespace octavo::bench {

struct LoadRequest {
  std::string body;         // JSON of a streaming request
  double send_at = 0;       // seconds after the start; ascending over the list
  int expected_tokens = 0;  // space to reserve
};

// Times are seconds. `start` counts from the start of the load; the others from `start` of the
// request.
struct LoadResult {
  bool ok = false;
  std::string error;
  double start = 0;
  double ttft = 0;         // first event with choices
  double latency = 0;      // last event with choices
  std::vector<float> itl;  // gaps between events with choices
  int output_tokens = 0;   // as the server's usage says, else the number of events
  int prompt_tokens = -1;  // as the server's usage says, else -1
  std::string events;      // payloads, a line each, if keep_events
};

struct LoadOptions {
  std::string path = "/v1/completions";
  int max_concurrency = 0;  // 0: no limit
  bool keep_events = false;
  std::function<void(size_t done, double now)> on_progress;  // after each finished request
};

struct LoadOutcome {
  std::vector<LoadResult> results;  // in the requests' order
  double duration = 0;              // from the start to the end of the last request
};

// Blocks until every request has ended. A request that fails does not end the load.
StatusOr<LoadOutcome> run_load(const Endpoint& endpoint, const std::vector<LoadRequest>& requests,
                               const LoadOptions& options);

// Lifts the limit of open descriptors to what the system allows this process.
void raise_descriptor_limit();

}  // namespace octavo::bench
