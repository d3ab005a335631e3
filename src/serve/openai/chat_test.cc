// Chats over real sockets, on a fake engine: shapes of whole answers and of streams, lengths,
// errors.
#include <gtest/gtest.h>

#include "serve/openai/testing_chat.h"

namespace octavo::serve {
namespace {

TEST(Chat, WholeAnswer) {
  TestServer server;
  TestClient client(server.port());
  const auto response = client.post(
      "/v1/chat/completions",
      R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"A"},)"
      R"({"type":"text","text":"B"}]}],"max_completion_tokens":2,"logprobs":true,"top_logprobs":1,)"
      R"("return_prompt_text":true,"chat_template_kwargs":{"k":1}})");
  ASSERT_EQ(response.status, 200) << response.body;
  const Value v = response.json();
  EXPECT_EQ(at(v, "object"), Value("chat.completion"));
  EXPECT_EQ(at(v, "choices.0.message.role"), Value("assistant"));
  EXPECT_EQ(at(v, "choices.0.message.content"), Value("ab"));
  EXPECT_EQ(at(v, "choices.0.message").find("tool_calls"), nullptr);
  EXPECT_EQ(at(v, "prompt_text"), Value("system: S\nuser: A\nB\nk=1\nassistant: "));
  EXPECT_EQ(
      to_json(at(v, "choices.0.logprobs.content.0")),
      R"({"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"A","logprob":-0.5,"bytes":[65]}]})");
}

TEST(Chat, ATokenThatIsNamedByItsIdIsStillListedByItsBytes) {
  TestServer server;
  TestClient client(server.port());
  const Value v =
      client
          .post("/v1/chat/completions",
                R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"logprobs":true,)"
                R"("return_tokens_as_token_ids":true})")
          .json();
  EXPECT_EQ(to_json(at(v, "choices.0.logprobs.content.0")),
            R"({"token":"token_id:97","logprob":-0.5,"bytes":[97],"top_logprobs":[]})");
}

TEST(Chat, StreamBeginsWithTheRoleOfEveryChoice) {
  TestServer server;
  TestClient client(server.port());
  const auto events = read_stream(
      client, "/v1/chat/completions",
      R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":3,"n":2,"stream":true})");
  ASSERT_EQ(events.size(), 8u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(to_json(at(events[i], "choices.0.delta")), R"({"role":"assistant","content":""})");
    EXPECT_EQ(at(events[i], "choices.0.index"), Value(i));
  }
  EXPECT_EQ(to_json(at(events[2], "choices.0.delta")), R"({"content":"a"})");
  EXPECT_EQ(at(events[2], "choices.0.index"), Value(0));
  EXPECT_EQ(at(events[7], "choices.0.finish_reason"), Value("length"));
  EXPECT_EQ(events[0].find("usage"), nullptr);
  EXPECT_EQ(events[0].find("system_fingerprint"), nullptr);
  EXPECT_NE(events[7].find("system_fingerprint"), nullptr);
}

TEST(Chat, AnEchoComesAfterTheRoles) {
  TestServer server;
  TestClient client(server.port());
  const auto events = read_stream(
      client, kChatPath,
      R"({"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"He"}],"n":2,)"
      R"("continue_final_message":true,"add_generation_prompt":false,"echo":true,)"
      R"("max_tokens":1,"stream":true})");
  ASSERT_EQ(events.size(), 6u);
  std::string texts[2];
  for (size_t i = 0; i < events.size(); ++i) {
    const Value& delta = at(events[i], "choices.0.delta");
    EXPECT_EQ(delta.find("role") != nullptr, i < 2) << i;
    texts[at(events[i], "choices.0.index").as_int()] += at(delta, "content").as_string();
  }
  EXPECT_EQ(texts[0], "Hea");
  EXPECT_EQ(texts[1], "Hea");
}

TEST(Chat, WithTheUsageAfterItTheEndOfAStreamHasTheFingerprintThere) {
  TestServer server;
  TestClient client(server.port());
  const auto events =
      read_stream(client, "/v1/chat/completions",
                  R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":2,"stream":true,)"
                  R"("stream_options":{"include_usage":true}})");
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(at(events[2], "choices.0.finish_reason"), Value("length"));
  EXPECT_EQ(events[2].find("system_fingerprint"), nullptr);
  EXPECT_NE(events[3].find("system_fingerprint"), nullptr);
}

TEST(Chat, TooManyTokensOrNoneAreRefusedByTheNameTheyWereAskedBy) {
  TestServer server({.max_model_len = 64});
  TestClient client(server.port());
  for (const std::string name : {"max_tokens", "max_completion_tokens"}) {
    const auto response =
        client.post("/v1/chat/completions",
                    R"({"messages":[{"role":"user","content":"hi"}],")" + name + "\":65}");
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(response.error("param"), "\"" + name + "\"");
    EXPECT_NE(response.body.find(name + "=65 cannot be greater"), std::string::npos);
    const auto none = client.post(kChatPath, chat("\"" + name + "\":0"));
    EXPECT_EQ(none.error("param"), "\"" + name + "\"");
    EXPECT_EQ(none.error("message"), "\"" + name + " must be at least 1, got 0.\"");
  }
}

TEST(Chat, WithoutMaxTokensTheContextIsTheLimit) {
  FakeEngine::Options engine{.step_seconds = 0.05, .max_model_len = 100};
  TestServer server(engine);
  TestClient client(server.port());
  client.send_request("POST", "/v1/chat/completions",
                      R"({"messages":[{"role":"user","content":"hi"}]})");
  ASSERT_TRUE(server.engine().wait_until_running(1));
  EXPECT_FALSE(server.engine().last_request().sampling.max_tokens.has_value());
}

TEST(Chat, ToolsAreRenderedAndTemplateErrorsAre400) {
  TestServer server({}, {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  const auto answer = client.post(
      "/v1/chat/completions",
      R"({"messages":[{"role":"user","content":"x"}],"max_tokens":1,"return_prompt_text":true,)"
      R"("tools":[{"type":"function","function":{"name":"f","parameters":{}}}]})");
  ASSERT_EQ(answer.status, 200);
  EXPECT_NE(at(answer.json(), "prompt_text").as_string().find("tools: ["), std::string::npos);
  const auto refused =
      client.post("/v1/chat/completions", R"({"messages":[{"role":"forbidden","content":"x"}]})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.error("message"), "\"the template raised: no such role\"");
}

TEST(Chat, ContentIsATextWhereNoParserIsOn) {
  TestServer server({.says = "<think>Hm.</think>Yes."});
  const Told told = ask(server, chat(R"("max_tokens":50)"));
  EXPECT_EQ(told.content, "<think>Hm.</think>Yes.");
  EXPECT_EQ(told.finish_reason, "stop");
}

}  // namespace
}  // namespace octavo::serve
