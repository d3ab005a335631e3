// A chat's thinking, content and tool calls as JSON: the members of a message, and of a stream's
// delta. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "serve/openai/chat_answer.h"

namespace octavo::serve {

// {"role":…,"content":…,…,"tool_calls":[…],"reasoning":…}: `before` comes first in the content,
// which is null where there is none beside thinking or calls.
void append_message(std::string& out, std::string_view role, std::string_view before,
                    const ChatDelta& answer);

// The members that `delta` has something for. `parsed`: nothing may be said; else there is always
// a content.
void append_delta(std::string& out, const ChatDelta& delta, bool parsed);

}  // namespace octavo::serve
