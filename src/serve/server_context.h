// What all routes of one server share. Lives in run_server(), longer than every request.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "octavo/engine_client.h"
#include "serve/answer_parsers.h"
#include "serve/http_metrics.h"
#include "serve/responses/response_store.h"
#include "serve/server.h"
#include "serve/task_pool.h"

namespace octavo::serve {

class RunningGenerations;

struct ServerContext {
  ServerContext(EngineClient& engine, const ServerOptions& options, AnswerParsers parsers);
  ~ServerContext();

  EngineClient& engine;
  const ServerOptions options;
  const AnswerParsers parsers;
  const std::vector<std::string> model_names;  // the first is reported
  const int64_t started;                       // unix seconds
  std::atomic<bool> draining = false;          // a signal has come: no new work
  // Requests to the model under way. Shared with their tickets.
  const std::shared_ptr<std::atomic<int>> load = std::make_shared<std::atomic<int>>(0);
  // What is under way by the clients' ids; null outside of dev mode.
  const std::unique_ptr<RunningGenerations> running;
  HttpMetrics metrics;
  ResponseStore responses;  // of /v1/responses
  // Last: their tasks use the rest. A long body has threads of its own, so that neither the short
  // ones nor the streams under way wait for it.
  TaskPool pool;
  TaskPool long_body_pool;
  TaskPool& pool_for(size_t body_bytes) { return body_bytes < kLongBody ? pool : long_body_pool; }
  static constexpr size_t kLongBody = size_t{128} << 10;  // some milliseconds of tokenising

  // Not found unless `model` is empty or one of ours.
  Status check_model(const std::string& model) const;
};

}  // namespace octavo::serve
