#include "cli/commands/answer_flags.h"

#include <algorithm>
#include <cstdlib>

#include "base/status_macros.h"
#include "cli/chat/server_answerer.h"
#include "cli/commands/commands.h"
#include "cli/commands/local_answerer.h"

namespace octavo::cli {

void declare_answer_flags(FlagSet& flags, AnswerOptions& options) {
  flags.group("Server");
  flags.text("url", &options.url, "URL",
             "ask this OpenAI server, http(s)://host:port[/v1], and load no model");
  flags.text("api-key", &options.api_key, "KEY", "of the server; otherwise OPENAI_API_KEY");
  flags.text("model-name", &options.model_name, "NAME",
             "of the server's models; otherwise its first");
  flags.group("Answers");
  flags.text("system-prompt", &options.system_prompt, "TEXT", "the conversation's system message");
  for (const AnswerSettings::Setting& setting : AnswerSettings::known()) {
    if (setting.name == "seed") continue;  // the engine's flag of that name means the same here
    std::string name(setting.name);
    std::replace(name.begin(), name.end(), '_', '-');
    const char* placeholder = setting.kind == AnswerSettings::Setting::kText      ? "TEXT"
                              : setting.kind == AnswerSettings::Setting::kInteger ? "N"
                                                                                  : "X";
    flags.custom(
        name, placeholder, "", std::string(setting.help),
        [&options, name](const std::string& text) { return options.settings.set(name, text); });
  }
  declare_engine_flags(flags, options.engine, options.source);
  // What the engine says while it loads is of no interest unless it goes wrong.
  if (std::getenv("OCTAVO_LOG_LEVEL") == nullptr) options.source.log_level = "warning";
}

StatusOr<std::unique_ptr<Answerer>> make_answerer(AnswerOptions& options, const FlagSet& flags) {
  RETURN_IF_ERROR(apply_log_level(options.source.log_level));
  log_notices(flags);
  if (flags.given("seed"))
    RETURN_IF_ERROR(options.settings.set("seed", std::to_string(options.engine.model.seed)));
  if (options.url.empty()) {
    if (!options.model_name.empty()) return invalid_argument("--model-name needs --url");
    ASSIGN_OR_RETURN(std::unique_ptr<Answerer> local,
                     LocalAnswerer::load(options.engine, options.source));
    return local;
  }
  const std::string& name =
      options.model_name.empty() ? options.engine.model.model : options.model_name;
  const char* key = std::getenv("OPENAI_API_KEY");
  if (options.api_key.empty() && key != nullptr) options.api_key = key;
  ASSIGN_OR_RETURN(
      std::unique_ptr<Answerer> server,
      ServerAnswerer::connect({.url = options.url, .api_key = options.api_key, .model = name}));
  return server;
}

}  // namespace octavo::cli
