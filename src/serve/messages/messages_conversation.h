// The conversation of a /v1/messages request, in the form that chat templates expect. A pure
// function; I/O pool.
#pragma once

#include <vector>

#include "octavo/status.h"
#include "octavo/text.h"
#include "octavo/value.h"

namespace octavo::serve {

// Makes chat.messages of `system` (null: none; text or text blocks) and `messages`. Neighbours of
// one role are one turn; a turn's tool results become messages of role `tool` before its text. A
// last turn of the assistant is one that the answer goes on with (continue_final_message).
//
// Errors name the block, "messages.0.content.2": a wrong shape, a block that its role cannot say,
// media.
Status read_conversation(const Value* system, const Value::List& messages, ChatPrompt& chat);

}  // namespace octavo::serve
