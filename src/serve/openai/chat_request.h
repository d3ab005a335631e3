// The body of /v1/chat/completions as native types. Pure functions, run on the I/O pool; the rules
// are those of openai_request.h.
#pragma once

#include <string>

#include "octavo/text.h"
#include "octavo/value.h"
#include "serve/json_fields.h"
#include "serve/openai/openai_request.h"
#include "serve/openai/tool_choice.h"

namespace octavo::serve {

struct ChatRequest : GenerationFields {
  ChatPrompt chat;
  ToolChoice tool_choice;
  std::string role = "assistant";  // of the answer
  std::string echo_text;           // with echo: the last message, which the answer goes on from
  bool include_reasoning = true;   // false: the thinking is taken off and not shown
  std::string call_id_prefix = "chatcmpl-tool-";  // of tool calls' ids, before 32 digits
};

StatusOr<ChatRequest> parse_chat(const Value& body, const SamplingParams& defaults);

// The conversation: messages, tools and the template's variables.
ToolChoice read_chat_prompt(JsonFields& fields, ChatPrompt& chat);

}  // namespace octavo::serve
