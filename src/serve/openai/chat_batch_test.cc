// Batches of conversations, SageMaker's path, and the routes for development, on a fake engine.
#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr const char* kBatch = "/v1/chat/completions/batch";

std::string batch_of(int count, std::string_view more) {
  std::string body = R"({"messages":[)";
  for (int i = 0; i < count; ++i) {
    body += i > 0 ? "," : "";
    body += R"([{"role":"user","content":")" + std::string(i + 1, 'x') + "\"}]";
  }
  return body + "]," + std::string(more) + "}";
}

TEST(ChatBatch, IsOneAnswerInTheConversationsOrder) {
  TestServer server;
  TestClient client(server.port());
  const Value v =
      client.post(kBatch, batch_of(5, R"("max_tokens":3,"return_token_ids":true)")).json();
  ASSERT_EQ(at(v, "choices").as_list().size(), 5u);
  for (int i = 0; i < 5; ++i) {
    const std::string choice = "choices." + std::to_string(i);
    EXPECT_EQ(at(v, choice + ".index"), Value(i));
    EXPECT_EQ(at(v, choice + ".message.content"), Value("abc"));
    EXPECT_EQ(at(v, choice + ".token_ids").as_list().size(), 3u);
  }
  EXPECT_EQ(at(v, "usage.completion_tokens"), Value(15));
  const int64_t one = client
                          .post("/v1/chat/completions",
                                R"({"messages":[{"role":"user","content":"x"}],"max_tokens":3})")
                          .json()
                          .find("usage")
                          ->find("prompt_tokens")
                          ->as_int();
  EXPECT_EQ(at(v, "usage.prompt_tokens"), Value(5 * one + 1 + 2 + 3 + 4));
  EXPECT_TRUE(at(v, "prompt_token_ids").is_null()) << "they would be of one conversation";
}

TEST(ChatBatch, FailsAsAWholeAndEndsWhatHasBegun) {
  FakeEngine::Options engine;
  engine.step_seconds = 0.01;
  TestServer server(engine);
  TestClient client(server.port());
  const auto response =
      client.post(kBatch, R"({"messages":[[{"role":"user","content":"a"}],[{"role":"forbidden"}]],)"
                          R"("max_tokens":100000})");
  EXPECT_EQ(response.status, 400);
  EXPECT_TRUE(server.engine().wait_until_running(0));
}

TEST(ChatBatch, OfAClientThatLeavesIsCancelled) {
  FakeEngine::Options engine;
  engine.step_seconds = 0.01;
  TestServer server(engine);
  TestClient client(server.port());
  client.send_request("POST", kBatch, batch_of(3, R"("max_tokens":100000)"));
  ASSERT_TRUE(server.engine().wait_until_running(3));
  client.close();
  EXPECT_TRUE(server.engine().wait_until_running(0));
}

TEST(ChatBatch, OfAFailingEngineTellsTheFailureOnce) {
  FakeEngine::Options engine;
  engine.fail_at_token = 2;
  TestServer server(engine);
  TestClient client(server.port());
  EXPECT_EQ(client.post(kBatch, batch_of(4, R"("max_tokens":9)")).status, 500);
  EXPECT_EQ(client.request("GET", "/health").status, 200) << "the connection goes on";
}

TEST(DevRoutes, AbortEndsARequestByTheClientsId) {
  FakeEngine::Options engine;
  engine.step_seconds = 0.01;
  ServerOptions options;
  options.dev_mode = true;
  TestServer server(engine, options);
  TestClient one(server.port()), other(server.port()), dev(server.port());
  one.send_request("POST", "/v1/completions",
                   R"({"prompt":"x","max_tokens":100000,"request_id":"one"})");
  other.send_request("POST", "/v1/completions",
                     R"({"prompt":"x","max_tokens":100000,"request_id":"other"})");
  ASSERT_TRUE(server.engine().wait_until_running(2));
  EXPECT_EQ(dev.post("/abort_requests", R"({"request_ids":["cmpl-one"]})").status, 200);
  EXPECT_EQ(at(one.read_response().json(), "choices.0.finish_reason"), Value("abort"));
  EXPECT_TRUE(server.engine().wait_until_running(1));
  EXPECT_EQ(dev.post("/abort_requests", "{}").status, 200);
  EXPECT_EQ(at(other.read_response().json(), "choices.0.finish_reason"), Value("abort"));
  EXPECT_EQ(dev.post("/abort_requests", R"({"request_ids":5})").status, 400);
}

TEST(DevRoutes, AreAbsentOutsideOfDevMode) {
  TestServer server;
  TestClient client(server.port());
  EXPECT_EQ(client.post("/abort_requests", "{}").status, 404);
  EXPECT_EQ(client.request("POST", "/reset_prefix_cache").status, 404);
  EXPECT_EQ(client.request("GET", "/server_info").status, 404);
  EXPECT_EQ(client.request("GET", "/tokenizer_info").status, 404);
}

}  // namespace
}  // namespace octavo::serve
