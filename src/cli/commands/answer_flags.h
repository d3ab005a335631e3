// The flags that `octavo chat` and `octavo complete` share: who answers, and how. Main thread.
#pragma once

#include <memory>
#include <string>

#include "cli/chat/answerer.h"
#include "cli/flags.h"
#include "cli/options.h"

namespace octavo::cli {

struct AnswerOptions {
  EngineOptions engine;
  ModelSource source;
  std::string url;  // empty: the model runs in this process
  std::string api_key;
  std::string model_name;
  std::string system_prompt;
  AnswerSettings settings;
};

// The targets must outlive `flags`. Declares the engine's flags too.
void declare_answer_flags(FlagSet& flags, AnswerOptions& options);
// Loads the model, or finds the server. Call after flags.parse().
StatusOr<std::unique_ptr<Answerer>> make_answerer(AnswerOptions& options, const FlagSet& flags);

}  // namespace octavo::cli
