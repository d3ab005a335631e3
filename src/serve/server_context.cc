#include "serve/server_context.h"

#include <algorithm>

#include "base/clock.h"
#include "serve/running_generations.h"

namespace octavo::serve {

ServerContext::ServerContext(EngineClient& engine_client, const ServerOptions& server_options,
                             AnswerParsers answer_parsers)
    : engine(engine_client),
      options(server_options),
      parsers(std::move(answer_parsers)),
      model_names(options.served_model_names.empty() ? std::vector<std::string>{engine.model().name}
                                                     : options.served_model_names),
      started(unix_seconds()),
      running(options.dev_mode ? std::make_unique<RunningGenerations>() : nullptr),
      responses(options.response_store_bytes, options.response_store_seconds),
      pool(options.io_threads),
      long_body_pool(options.io_threads, TaskPool::Priority::kBackground) {}

ServerContext::~ServerContext() = default;

Status ServerContext::check_model(const std::string& model) const {
  if (model.empty() ||
      std::find(model_names.begin(), model_names.end(), model) != model_names.end()) {
    return ok_status();
  }
  return not_found("The model `" + model + "` does not exist.").with_param("model");
}

}  // namespace octavo::serve
