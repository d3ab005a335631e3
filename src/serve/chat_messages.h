// OpenAI chat messages in the shape that chat templates expect. A pure function; I/O pool.
#pragma once

#include <vector>

#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::serve {

// Checks each message and brings it into the templates' form: content is one string (text parts
// joined by a newline, null becomes ""), tool calls carry their arguments as a dict, reasoning is
// found under both of its names. At least one message is needed; media parts are refused, since no
// model here reads them.
StatusOr<std::vector<Value>> normalise_messages(const Value::List& messages);

}  // namespace octavo::serve
