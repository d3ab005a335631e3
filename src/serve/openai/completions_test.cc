// Completions over real sockets, on a fake engine: answers, streams, and what reaches the engine.
#include <gtest/gtest.h>

#include "serve/openai/openai_request.h"
#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

TEST(Completions, WholeAnswer) {
  TestServer server;
  TestClient client(server.port());
  const auto response =
      client.post("/v1/completions", R"({"model":"fake/model","prompt":"hello","max_tokens":4})");
  ASSERT_EQ(response.status, 200) << response.body;
  const Value v = response.json();
  EXPECT_EQ(at(v, "object"), Value("text_completion"));
  EXPECT_EQ(at(v, "model"), Value("fake/model"));
  EXPECT_TRUE(at(v, "id").as_string().starts_with("cmpl-"));
  EXPECT_EQ(at(v, "choices.0.text"), Value("abcd"));
  EXPECT_EQ(at(v, "choices.0.finish_reason"), Value("length"));
  ASSERT_NE(at(v, "choices.0").find("logprobs"), nullptr);
  EXPECT_TRUE(at(v, "choices.0.logprobs").is_null());
  EXPECT_EQ(at(v, "usage.prompt_tokens"), Value(6));
  EXPECT_EQ(at(v, "usage.completion_tokens"), Value(4));
  EXPECT_EQ(at(v, "usage.total_tokens"), Value(10));
  EXPECT_EQ(at(v, "usage.prompt_tokens_details.cached_tokens"), Value(3));
}

TEST(Completions, DefaultIs16TokensAndModelDefaultsApply) {
  FakeEngine::Options engine;
  engine.default_sampling.temperature = 0.6f;
  engine.default_sampling.top_k = 20;
  TestServer server(engine);
  TestClient client(server.port());
  ASSERT_EQ(client.post("/v1/completions", R"({"prompt":"x","top_k":5})").status, 200);
  const SamplingParams sampling = server.engine().last_request().sampling;
  EXPECT_EQ(sampling.max_tokens, 16);
  EXPECT_FLOAT_EQ(sampling.temperature, 0.6f);
  EXPECT_EQ(sampling.top_k, 5);
  ASSERT_EQ(client.post("/v1/completions", R"({"prompt":"x","max_tokens":null})").status, 200);
  EXPECT_EQ(server.engine().last_request().sampling.max_tokens, 16);
}

TEST(Completions, PromptsOfEveryKindAndNChoices) {
  TestServer server;
  TestClient client(server.port());
  auto v = client.post("/v1/completions", R"({"prompt":[104,105],"max_tokens":1})").json();
  EXPECT_EQ(at(v, "usage.prompt_tokens"), Value(2));
  v = client.post("/v1/completions", R"({"prompt":["one","two"],"n":2,"max_tokens":2})").json();
  ASSERT_EQ(at(v, "choices").as_list().size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(at(v, "choices." + std::to_string(i) + ".index"), Value(i));
  EXPECT_EQ(at(v, "usage.prompt_tokens"), Value(8));
  EXPECT_EQ(at(v, "usage.completion_tokens"), Value(8));
  v = client
          .post("/v1/completions",
                R"({"prompt":[[1,2],[3]],"max_tokens":1,"return_token_ids":true})")
          .json();
  EXPECT_EQ(to_json(at(v, "choices.1.prompt_token_ids")), "[3]");
  EXPECT_EQ(to_json(at(v, "choices.1.token_ids")), "[97]");
}

TEST(Completions, LogprobsAndEcho) {
  TestServer server;
  TestClient client(server.port());
  auto v = client.post("/v1/completions", R"({"prompt":"hi","max_tokens":2,"logprobs":2})").json();
  EXPECT_EQ(to_json(at(v, "choices.0.logprobs")),
            R"({"text_offset":[0,1],"token_logprobs":[-0.5,-0.5],"tokens":["a","b"],)"
            R"("top_logprobs":[{"a":-0.5,"A":-0.5,"B":-1.5},{"b":-0.5,"A":-0.5,"B":-1.5}]})");
  v = client
          .post(
              "/v1/completions",
              R"({"prompt":"hi","max_tokens":1,"logprobs":0,"echo":true,"add_special_tokens":false})")
          .json();
  EXPECT_EQ(at(v, "choices.0.text"), Value("hia"));
  EXPECT_EQ(to_json(at(v, "choices.0.logprobs.text_offset")), "[0,1,2]");
  EXPECT_EQ(to_json(at(v, "choices.0.logprobs.token_logprobs")), "[null,-0.5,-0.5]");
  v = client.post("/v1/completions", R"({"prompt":"hi","max_tokens":0,"logprobs":1,"echo":true})")
          .json();
  EXPECT_EQ(at(v, "choices.0.text"), Value("hi"));
  EXPECT_EQ(at(v, "choices.0.logprobs.tokens").as_list().size(), 3u);
  EXPECT_EQ(at(v, "usage.completion_tokens"), Value(0));
  v = client
          .post("/v1/completions",
                R"({"prompt":"hi","max_tokens":1,"logprobs":1,"return_tokens_as_token_ids":true})")
          .json();
  EXPECT_EQ(to_json(at(v, "choices.0.logprobs.tokens")), R"(["token_id:97"])");
}

TEST(Completions, StreamIsOneEventPerToken) {
  TestServer server;
  TestClient client(server.port());
  const auto events = read_stream(
      client, "/v1/completions",
      R"({"prompt":"x","max_tokens":5,"stream":true,"stream_options":{"include_usage":true}})");
  ASSERT_EQ(events.size(), 6u);
  std::string text;
  for (int i = 0; i < 5; ++i) {
    text += at(events[i], "choices.0.text").as_string();
    EXPECT_EQ(at(events[i], "choices.0.finish_reason"), i == 4 ? Value("length") : Value());
  }
  EXPECT_EQ(text, "abcde");
  EXPECT_TRUE(at(events[5], "choices").as_list().empty());
  EXPECT_EQ(at(events[5], "usage.completion_tokens"), Value(5));
}

TEST(Completions, StreamOfSeveralPromptsContinuousUsageAndEcho) {
  TestServer server;
  TestClient client(server.port());
  const auto events = read_stream(
      client, "/v1/completions",
      R"({"prompt":["p","q"],"n":2,"max_tokens":3,"stream":true,"echo":true,"stream_options":)"
      R"({"include_usage":true,"continuous_usage_stats":true}})");
  ASSERT_EQ(events.size(), 13u);
  std::string texts[4];
  for (int i = 0; i < 12; ++i) {
    texts[at(events[i], "choices.0.index").as_int()] += at(events[i], "choices.0.text").as_string();
    EXPECT_EQ(at(events[i], "usage.prompt_tokens"), Value(2));
  }
  EXPECT_EQ(texts[0] + texts[1] + texts[2] + texts[3], "pabcpabcqabcqabc");
  EXPECT_EQ(at(events[12], "usage.completion_tokens"), Value(12));
}

TEST(Completions, TheLastMessageOfAStreamHasTheFingerprint) {
  TestServer server;
  TestClient client(server.port());
  for (const bool usage : {false, true}) {
    const auto events =
        read_stream(client, "/v1/completions",
                    std::string(R"({"prompt":"p","max_tokens":2,"stream":true,"stream_options":)") +
                        (usage ? R"({"include_usage":true}})" : "null}"));
    ASSERT_EQ(events.size(), usage ? 3u : 2u);
    for (const Value& event : events) {
      EXPECT_EQ(event.find("system_fingerprint") != nullptr, &event == &events.back());
    }
  }
}

TEST(Completions, StreamIntervalJoinsTokensAfterTheFirst) {
  TestServer server;
  TestClient client(server.port());
  const auto events = read_stream(
      client, "/v1/completions",
      R"({"prompt":"x","max_tokens":6,"stream":true,"stream_interval":3,"logprobs":0})");
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(at(events[0], "choices.0.text"), Value("a"));
  EXPECT_EQ(at(events[1], "choices.0.text"), Value("bcd"));
  EXPECT_EQ(to_json(at(events[2], "choices.0.logprobs.text_offset")), "[4,5]");
}

TEST(Completions, TruncationKeepsTheEndTheUserAskedFor) {
  TestServer server;
  TestClient client(server.port());
  client.post("/v1/completions", R"({"prompt":[1,2,3,4],"truncate_prompt_tokens":2})");
  EXPECT_EQ(server.engine().last_request().prompt_token_ids, (std::vector<TokenId>{3, 4}));
  client.post("/v1/completions",
              R"({"prompt":[1,2,3,4],"truncate_prompt_tokens":2,"truncation_side":"right"})");
  EXPECT_EQ(server.engine().last_request().prompt_token_ids, (std::vector<TokenId>{1, 2}));
}

TEST(Completions, TruncationLeavesRoomForTheAnswer) {
  TestServer server({.max_model_len = 64});
  TestClient client(server.port());
  const auto ask = [&](const std::string& truncation, const std::string& max_tokens) {
    return client.post("/v1/completions", R"({"prompt":")" + std::string(100, 'x') +
                                              R"(","truncate_prompt_tokens":)" + truncation +
                                              R"(,"max_tokens":)" + max_tokens + "}");
  };
  EXPECT_EQ(ask("44", "20").status, 200);
  const auto refused = ask("45", "20");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.error("message"),
            "\"truncate_prompt_tokens=45 cannot be greater than max_model_len - max_tokens = 44. "
            "Please request a smaller truncation size.\"");
  EXPECT_EQ(ask("-1", "20").status, 200);
  EXPECT_EQ(server.engine().last_request().prompt_token_ids.size(), 44u);
}

TEST(Completions, RequestFieldsReachTheEngine) {
  TestServer server;
  TestClient client(server.port());
  const auto response = client.request(
      "POST", "/v1/completions",
      R"({"prompt":"x","seed":-1,"stop":"END","stop_token_ids":[7],"logit_bias":{"5":200,"6":-1},"bad_words":["no"],)"
      R"("allowed_token_ids":[97],"min_p":0.1,"cache_salt":"s","priority":-3,"ignore_eos":true,"unknown_field":1,)"
      R"("max_tokens":3.0,"repetition_detection":{"max_pattern_size":9,"min_count":4}})",
      "Content-Type: application/json; charset=utf-8\r\nX-Request-Id: abc\r\n");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(at(response.json(), "id"), Value("cmpl-abc"));
  const GenerateRequest r = server.engine().last_request();
  EXPECT_TRUE(r.request_id.starts_with("cmpl-abc-0-"));
  EXPECT_FALSE(r.sampling.seed.has_value());
  EXPECT_EQ(r.sampling.stop, std::vector<std::string>{"END"});
  EXPECT_EQ(r.sampling.logit_bias, (std::vector<std::pair<TokenId, float>>{{5, 100.f}, {6, -1.f}}));
  EXPECT_EQ(r.sampling.max_tokens, 3);
  EXPECT_EQ(r.cache_salt, "s");
  EXPECT_EQ(r.priority, -3);
  EXPECT_TRUE(r.sampling.ignore_eos);
  ASSERT_TRUE(r.sampling.repetition_detection.has_value());
  EXPECT_EQ(r.sampling.repetition_detection->max_pattern_size, 9);
  EXPECT_EQ(r.sampling.repetition_detection->min_pattern_size, 0);
  EXPECT_EQ(r.sampling.repetition_detection->min_count, 4);
}

TEST(Completions, EngineFailureIsAnErrorAnswerOrAnErrorEvent) {
  TestServer server({.fail_at_token = 2});
  TestClient client(server.port());
  const auto whole = client.post("/v1/completions", R"({"prompt":"x"})");
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.error("message"), "\"the device was lost\"");
  const auto events = read_stream(client, "/v1/completions", R"({"prompt":"x","stream":true})");
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(at(events[2], "error.code"), Value(500));
}

TEST(MaxTokens, GenerationConfigIsAServerWideLimit) {
  GenerationFields fields;
  SamplingParams defaults;
  EXPECT_EQ(resolve_max_tokens(fields, defaults, 100, 10), std::nullopt);
  defaults.max_tokens = 50;
  EXPECT_EQ(resolve_max_tokens(fields, defaults, 100, 10), 50);
  EXPECT_EQ(resolve_max_tokens(fields, defaults, 100, 80), 20);
  fields.max_tokens = 70;
  EXPECT_EQ(resolve_max_tokens(fields, defaults, 100, 10), 50);
  fields.max_tokens = 7;
  EXPECT_EQ(resolve_max_tokens(fields, defaults, 100, 10), 7);
}

}  // namespace
}  // namespace octavo::serve
