#include "base/status_macros.h"
#include "serve/generation_start.h"
#include "serve/openai/chat_prompt.h"
#include "serve/openai/completions.h"
#include "serve/openai/openai_format.h"

namespace octavo::serve {

Status start_chat(ServerContext& context, const HttpRequest& request, const Value& body,
                  std::shared_ptr<HttpExchange> exchange) {
  ASSIGN_OR_RETURN(ChatRequest fields, parse_chat(body, context.engine.model().default_sampling));
  RETURN_IF_ERROR(check_max_tokens(fields, context.engine.model().max_model_len));
  ASSIGN_OR_RETURN(PreparedChat chat, prepare_chat(context, fields));
  auto format = make_chat_format(make_chat_head(context, request, fields, chat, "chatcmpl-"));
  std::vector<AnswerPrompt> prompts;
  prompts.push_back(std::move(chat.prompt));
  return start_generation(context, request, fields, std::move(format), std::move(prompts),
                          std::move(exchange));
}

}  // namespace octavo::serve
