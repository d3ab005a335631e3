// What all routes of one server share. Lives in run_server(), longer than every request.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "octavo/engine_client.h"
#include "serve/answer_parsers.h"
#include "serve/http_metrics.h"
#include "serve/server.h"
#include "serve/task_pool.h"

namespace octavo::serve {

struct ServerContext {
  ServerContext(EngineClient& engine, const ServerOptions& options, AnswerParsers parsers);

  EngineClient& engine;
  const ServerOptions options;
  const AnswerParsers parsers;
  const std::vector<std::string> model_names;  // the first is reported
  const int64_t started;                       // unix seconds
  std::atomic<bool> draining = false;          // a signal has come: no new work
  std::atomic<int> load = 0;                   // requests to the model under way
  HttpMetrics metrics;
  TaskPool pool;  // last: its tasks use the rest

  // Not found unless `model` is empty or one of ours.
  Status check_model(const std::string& model) const;
};

}  // namespace octavo::serve
