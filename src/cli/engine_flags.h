// The flags that fill EngineOptions, for every command that loads a model. Names and defaults are
// those of `vllm serve`. Main thread.
#pragma once

#include <string>

#include "cli/flags.h"
#include "octavo/config.h"

namespace octavo::cli {

// What the engine flags say beyond EngineOptions.
struct ModelSource {
  std::string revision;      // branch, tag or commit in the Hugging Face cache; empty: main
  std::string download_dir;  // the cache's folder; empty: where HF_HOME and its kin say
  std::string log_level;     // empty: OCTAVO_LOG_LEVEL, or info
};

// The targets must outlive `flags`.
void declare_engine_flags(FlagSet& flags, EngineOptions& engine, ModelSource& source);

}  // namespace octavo::cli
