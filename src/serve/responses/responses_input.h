// The conversation of /v1/responses: a list of items (messages, function calls and their outputs,
// reasoning), where chats have messages. Items are checked once, as they come in, and brought into
// the form in which the API lists them; behind that everything relies on it. Pure functions, run on
// the I/O pool; fuzzed by tests/fuzz/http_json_fuzz.cc.
#pragma once

#include <string>
#include <vector>

#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::serve {

// `input` as a list of items: each has `type` and `id`, and contents are lists of text parts. A
// text is a user's message; a reference to an item stays one. Errors (param `input`): items and
// parts of other kinds, by name, and those of a wrong shape.
StatusOr<Value::List> read_input_items(const Value& input);

// The items as a chat's messages: what one turn of the assistant thought, said and called is one
// message. REQUIRES: items that read_input_items() has made, or that this server has answered, and
// no references.
void append_messages(const Value::List& items, std::vector<Value>& messages);

bool is_reference(const Value& item);

// Whether the last item is an assistant's message that says of itself that it is unfinished: the
// answer goes on from there.
bool ends_unfinished(const Value::List& items);

}  // namespace octavo::serve
