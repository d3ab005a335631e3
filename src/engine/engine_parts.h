// EngineParts: a loaded model and what an Engine is made of, before any thread of it runs. Made by
// make_engine.cc for both homes of an engine: this process, and a child (process/).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cache/kv_manager.h"
#include "engine/executor/executor.h"
#include "engine/scheduler.h"
#include "octavo/engine_client.h"
#include "text/text_model.h"

namespace octavo {

struct EngineParts {
  ModelInfo model;
  SchedulerConfig scheduler;
  std::unique_ptr<KvManager> cache;
  std::unique_ptr<Executor> executor;
  double step_timeout_seconds = 0;        // 0: none
  std::unique_ptr<text::TextModel> text;  // null unless asked for
};

// Errors name the file, the tensor or the option at fault. `progress` takes one line per stage.
StatusOr<EngineParts> make_engine_parts(const EngineOptions& options, bool with_text,
                                        const std::function<void(const std::string&)>& progress);

// Tokenizer and chat template of options.model alone; nothing of a device is touched.
StatusOr<std::unique_ptr<text::TextModel>> load_text(const EngineOptions& options);

}  // namespace octavo
