#include "serve/messages/messages.h"

#include "base/json_writer.h"
#include "base/status_macros.h"
#include "serve/generation_start.h"
#include "serve/messages/messages_format.h"
#include "serve/messages/messages_request.h"
#include "serve/openai/chat_prompt.h"

namespace octavo::serve {

namespace {

// A budget for the thinking of a model that does not think is kept by itself: clients ask for one
// without knowing the model.
StatusOr<PreparedChat> prepare(const ServerContext& context, ChatRequest& fields) {
  if (context.parsers.reasoning.empty()) fields.thinking_token_budget.reset();
  return prepare_chat(context, fields);
}

// Clients ask for as many tokens as some other model could answer with. How many there is room for,
// where that is less; max_tokens becomes so many.
std::optional<int> limit_to_context(const ServerContext& context, const PreparedChat& chat,
                                    ChatRequest& fields) {
  const int left =
      context.engine.model().max_model_len - static_cast<int>(chat.prompt.token_ids.size());
  if (left < 1 || *fields.max_tokens <= left) return std::nullopt;
  fields.max_tokens = left;
  return left;
}

}  // namespace

Status start_messages(ServerContext& context, const HttpRequest& request, const Value& body,
                      std::shared_ptr<HttpExchange> exchange) {
  ASSIGN_OR_RETURN(ChatRequest fields,
                   parse_messages(body, context.engine.model().default_sampling));
  ASSIGN_OR_RETURN(PreparedChat chat, prepare(context, fields));
  const std::optional<int> context_left = limit_to_context(context, chat, fields);
  auto format = make_messages_format(make_chat_head(context, request, fields, chat, "msg_"),
                                     request.id, context_left);
  std::vector<AnswerPrompt> prompts;
  prompts.push_back(std::move(chat.prompt));
  return start_generation(context, request, fields, std::move(format), std::move(prompts),
                          std::move(exchange));
}

StatusOr<std::string> count_message_tokens(const ServerContext& context, const Value& body) {
  ASSIGN_OR_RETURN(ChatRequest fields, parse_count_tokens(body));
  ASSIGN_OR_RETURN(const PreparedChat chat, prepare(context, fields));
  JsonWriter w;
  w.begin_object().key("input_tokens");
  w.number(static_cast<int64_t>(chat.prompt.token_ids.size())).end_object();
  return std::move(w).take();
}

}  // namespace octavo::serve
