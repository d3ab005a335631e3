// Requests to /v1/responses and what comes back, for its tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "serve/testing_server.h"

namespace octavo::serve {

inline constexpr std::string_view kPath = "/v1/responses";
// Members of a request: functions f, of an integer a, and g.
inline constexpr std::string_view kTools =
    R"("tools":[{"type":"function","name":"f","parameters":{"type":"object",)"
    R"("properties":{"a":{"type":"integer"}}}},{"type":"function","name":"g"}])";
// A call of f as the parser "hermes" knows it.
inline constexpr std::string_view kCall =
    "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";

// A request with `fields` beside its input, both JSON.
std::string body(std::string_view fields, std::string_view input = "\"hi\"");

// The prompt that the engine got.
std::string prompt(TestServer& server);

// The answer, which must be a 200.
Value post(TestServer& server, const std::string& request);

// The message of a refusal, which must be a 400 with that param.
std::string refusal(TestServer& server, const std::string& request, const std::string& param);

// The events of a stream: each has its name twice and the next number, and there is no [DONE].
std::vector<Value> stream(TestServer& server, std::string request);

}  // namespace octavo::serve
