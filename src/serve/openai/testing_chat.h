// Requests to /v1/chat/completions and what comes back, for its tests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/testing_server.h"

namespace octavo::serve {

inline constexpr std::string_view kChatPath = "/v1/chat/completions";
// Members of a chat's body: functions f, of an integer a, and g.
inline constexpr std::string_view kChatTools =
    R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object",)"
    R"("properties":{"a":{"type":"integer"}}}}},{"type":"function","function":{"name":"g"}}])";

// A chat's body with `fields` beside the messages.
std::string chat(std::string_view fields);
std::string chat_with_tools(std::string_view fields = {});

using Calls = std::vector<std::string>;  // "f:{…}"

// What a client has understood of an answer.
struct Told {
  std::string reasoning, content, finish_reason;
  Calls calls;
  std::vector<std::string> ids;
};
// A stream's deltas put together as clients do it, as a message.
Told told_by(const std::vector<Value>& events);
Told told_by(const Value& answer);

// The same request whole and as a stream: both must tell the same.
Told ask(TestServer& server, const std::string& body);

}  // namespace octavo::serve
