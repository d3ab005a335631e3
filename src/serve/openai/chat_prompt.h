// From a chat's fields to what the engine gets. Here meet the conversation, the parsers of this
// server's model, and the grammar of a forced call. Every dialect that has conversations comes
// through here. I/O pool.
#pragma once

#include <memory>
#include <string_view>

#include "serve/answer_format.h"
#include "serve/openai/chat_request.h"
#include "serve/server_context.h"

namespace octavo::serve {

struct PreparedChat {
  AnswerPrompt prompt;
  std::shared_ptr<const ChatParsing> parsing;  // null: the answers are content as they are
};

// Renders and tokenises the conversation; `fields.sampling` gains what the parsers and a forced
// call ask of it. Errors: an unknown model, a template that refuses the conversation, what this
// server has no parser for.
StatusOr<PreparedChat> prepare_chat(const ServerContext& context, ChatRequest& fields);

// What the server's options say of every conversation: adds the variables that the request leaves
// out. Errors: the request brings a template of its own, and is not trusted with it.
Status settle_template(const ServerOptions& options, ChatPrompt& chat);

// The head of a chat's answer.
AnswerHead make_chat_head(const ServerContext& context, const HttpRequest& request,
                          const ChatRequest& fields, const PreparedChat& chat,
                          std::string_view id_prefix);

}  // namespace octavo::serve
