// OpenAI chat messages in the shape that chat templates expect. A pure function; I/O pool.
#pragma once

#include <string>
#include <vector>

#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::serve {

// Checks each message and brings it into one form: content is a string (null becomes "") or a list
// of text parts, as the template wants it or not (text/chat_content.h); tool calls carry their
// arguments as JSON text or as a dict; reasoning is found under both of its names. At least one
// message is needed; media parts are refused, since no model here reads them.
StatusOr<std::vector<Value>> normalise_messages(const Value::List& messages);

// The text of a normalised message.
std::string message_text(const Value& message);

}  // namespace octavo::serve
