#include "base/status_macros.h"
#include "serve/chat_prompt.h"
#include "serve/completions.h"
#include "serve/generation_start.h"
#include "serve/openai_format.h"

namespace octavo::serve {

Status start_chat(ServerContext& context, const HttpRequest& request, const Value& body,
                  std::shared_ptr<HttpExchange> exchange) {
  ASSIGN_OR_RETURN(ChatRequest fields, parse_chat(body, context.engine.model().default_sampling));
  ASSIGN_OR_RETURN(PreparedChat chat, prepare_chat(context, fields));
  auto format = make_chat_format(make_chat_head(context, request, fields, chat, "chatcmpl-"));
  std::vector<AnswerPrompt> prompts;
  prompts.push_back(std::move(chat.prompt));
  return start_generation(context, request, fields, std::move(format), std::move(prompts),
                          std::move(exchange));
}

}  // namespace octavo::serve
