// How chats and Responses tell an answer that was ended because it went in circles, over real
// sockets, on a fake engine.
#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kChat = "/v1/chat/completions", kResponses = "/v1/responses";
constexpr std::string_view kHalfACall = R"(<tool_call>{"name": "f", "arguments": {"a": [1, 1, 1)";

FakeEngine::Options that_says(std::string_view text) {
  return {.says = std::string(text), .says_ends = FinishReason::kRepetition};
}

std::string asking(std::string_view members) {
  return R"({"messages":[{"role":"user","content":"hi"}])" + std::string(members) + "}";
}

TEST(RepeatedAnswer, EndsAChatWithThatReason) {
  TestServer server(that_says("ha ha ha "));
  TestClient client(server.port());
  const Value answer = client.post(kChat, asking("")).json();
  EXPECT_EQ(at(answer, "choices.0.message.content"), Value("ha ha ha "));
  EXPECT_EQ(at(answer, "choices.0.finish_reason"), Value("repetition"));
}

TEST(RepeatedAnswer, LeavesACallUnfinishedLikeOneThatTheLimitCutOff) {
  TestServer server(that_says(kHalfACall), {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  const Value answer =
      client
          .post(kChat,
                asking(R"(,"tools":[{"type":"function","function":{"name":"f","parameters":{}}}])"))
          .json();
  EXPECT_EQ(at(answer, "choices.0.message.tool_calls.0.function.arguments"),
            Value(R"({"a": [1, 1, 1)"));
  EXPECT_EQ(at(answer, "choices.0.finish_reason"), Value("repetition"));
}

TEST(RepeatedAnswer, IsAResponseThatCompleted) {
  TestServer server(that_says("ha ha ha "));
  TestClient client(server.port());
  const Value answer = client.post(kResponses, R"({"input":"hi"})").json();
  EXPECT_EQ(at(answer, "status"), Value("completed"));
  EXPECT_EQ(at(answer, "output.0.status"), Value("completed"));
}

TEST(RepeatedAnswer, LeavesAResponsesCallIncomplete) {
  TestServer server(that_says(kHalfACall), {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  const Value answer =
      client
          .post(kResponses,
                R"({"input":"hi","tools":[{"type":"function","name":"f","parameters":{}}]})")
          .json();
  EXPECT_EQ(at(answer, "output.0.type"), Value("function_call"));
  EXPECT_EQ(at(answer, "output.0.status"), Value("incomplete"));
}

}  // namespace
}  // namespace octavo::serve
