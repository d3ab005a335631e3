// The body of /v1/responses as native types. The dialect is chat's with other names, so a body
// becomes a chat's body, which chat_request.h reads; what has no counterpart there is read here.
// Pure functions, run on the I/O pool; the rules are those of openai_request.h.
#pragma once

#include <string>
#include <vector>

#include "octavo/status.h"
#include "octavo/value.h"
#include "serve/openai/chat_request.h"

namespace octavo::serve {

struct ResponsesRequest {
  Value chat = Value::Dict{};  // the body of the chat that this is, without messages
  Value::List items;           // `input`: responses_input.h
  std::string instructions;    // of this response alone; a conversation does not keep them
  std::string previous_id;     // of the response that this one goes on from; empty: none
  bool store = true;
  Value echo = Value::Dict{};  // what the answer repeats of the request, less the sampling
};

StatusOr<ResponsesRequest> parse_responses(const Value& body);

// The chat, of the conversation before and what `request` adds; takes what it needs out of
// `request`. Errors: as parse_chat(), in this dialect's names.
StatusOr<ChatRequest> make_chat_request(ResponsesRequest& request, std::vector<Value> messages,
                                        const SamplingParams& defaults);

// The members of the answer that say how it was asked for, as JSON without braces.
std::string echo_members(const ResponsesRequest& request, const ChatRequest& chat);

}  // namespace octavo::serve
