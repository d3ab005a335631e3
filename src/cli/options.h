// The flags of `serve` and `run-batch`, which fill EngineOptions and ServerOptions. Names and
// defaults are those of `vllm serve`. Main thread.
#pragma once

#include <string>

#include "cli/engine_flags.h"
#include "cli/flags.h"
#include "octavo/config.h"
#include "octavo/status.h"
#include "serve/server.h"

namespace octavo::cli {

struct ServeOptions {
  EngineOptions engine;
  ModelSource source;
  serve::ServerOptions server;
  bool disable_log_stats = false;
  std::string otlp_traces_endpoint;  // a URL; empty: no traces
};

// Of `octavo run-batch`, beside ServeOptions.
struct RunBatchOptions {
  std::string input_file, output_file;  // "-": standard input, standard output
  int max_concurrency = 0;              // 0: twice what the model runs at once
};

// The targets must outlive the flags.
FlagSet make_serve_flags(ServeOptions& options);
FlagSet make_run_batch_flags(ServeOptions& options, RunBatchOptions& batch);
// What follows from several flags and the environment together: API keys from OCTAVO_API_KEY or
// VLLM_API_KEY, no statistics with --disable-log-stats. Call after flags.parse().
void finish_serve_options(ServeOptions& options);

// Resolves options.model.model (and the tokenizer) to paths, and returns the name to serve the
// model under: what the user wrote, or the bundled model's name.
StatusOr<std::string> resolve_engine_paths(EngineOptions& engine, const ModelSource& source);

// debug, info, warning, error, off; anything else is refused. Empty: OCTAVO_LOG_LEVEL's, or info.
Status apply_log_level(const std::string& level);

}  // namespace octavo::cli
