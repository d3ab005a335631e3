// How chats and Responses tell an answer that was ended because it went in circles, over real
// sockets, on a fake engine.
#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kChat = "/v1/chat/completions", kResponses = "/v1/responses";
constexpr std::string_view kHalfACall = R"(<tool_call>{"name": "f", "arguments": {"a": [1, 1, 1)";

// What is answered to `body` where the model has said `text`.
Value answer_to(std::string_view path, std::string_view body, std::string_view text,
                ServerOptions options = {}) {
  TestServer server({.says = std::string(text), .says_ends = FinishReason::kRepetition},
                    std::move(options));
  return TestClient(server.port()).post(path, body).json();
}

std::string asking(std::string_view members) {
  return R"({"messages":[{"role":"user","content":"hi"}])" + std::string(members) + "}";
}

TEST(RepeatedAnswer, EndsAChatWithThatReason) {
  const Value answer = answer_to(kChat, asking(""), "ha ha ha ");
  EXPECT_EQ(at(answer, "choices.0.message.content"), Value("ha ha ha "));
  EXPECT_EQ(at(answer, "choices.0.finish_reason"), Value("repetition"));
}

TEST(RepeatedAnswer, LeavesACallUnfinishedLikeOneThatTheLimitCutOff) {
  const Value answer = answer_to(
      kChat, asking(R"(,"tools":[{"type":"function","function":{"name":"f","parameters":{}}}])"),
      kHalfACall, {.tool_call_parser = "hermes"});
  EXPECT_EQ(at(answer, "choices.0.message.tool_calls.0.function.arguments"),
            Value(R"({"a": [1, 1, 1)"));
  EXPECT_EQ(at(answer, "choices.0.finish_reason"), Value("repetition"));
}

TEST(RepeatedAnswer, IsAResponseThatCompleted) {
  const Value answer = answer_to(kResponses, R"({"input":"hi"})", "ha ha ha ");
  EXPECT_EQ(at(answer, "status"), Value("completed"));
  EXPECT_EQ(at(answer, "output.0.status"), Value("completed"));
}

TEST(RepeatedAnswer, LeavesAResponsesCallIncomplete) {
  const Value answer = answer_to(
      kResponses, R"({"input":"hi","tools":[{"type":"function","name":"f","parameters":{}}]})",
      kHalfACall, {.tool_call_parser = "hermes"});
  EXPECT_EQ(at(answer, "output.0.type"), Value("function_call"));
  EXPECT_EQ(at(answer, "output.0.status"), Value("incomplete"));
}

}  // namespace
}  // namespace octavo::serve
