// Tokens in and out, what a request would be generated from, times on request, and llama-server's
// views, over real sockets, on a fake engine.
#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kGenerate = "/inference/v1/generate";
constexpr std::string_view kChat = R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":3)";

TestResponse post(TestServer& server, std::string_view path, std::string_view body) {
  TestClient client(server.port());
  return client.post(path, body);
}

TEST(Generate, AnswersTokensWithTokensAndNoText) {
  TestServer server;
  const TestResponse response =
      post(server, kGenerate,
           R"({"token_ids":[65,66],"sampling_params":{"max_tokens":3,"logprobs":1},)"
           R"("request_id":"mine"})");
  ASSERT_EQ(response.status, 200) << response.body;
  const Value answer = response.json();
  EXPECT_EQ(at(answer, "request_id"), Value("generate-tokens-mine"));
  EXPECT_EQ(to_json(at(answer, "choices.0.token_ids")), "[97,98,99]");
  EXPECT_EQ(at(answer, "choices.0.finish_reason"), Value("length"));
  EXPECT_EQ(at(answer, "choices.0.logprobs.content.0.token"), Value("token_id:97"));
  EXPECT_EQ(at(answer, "usage.total_tokens"), Value(5));
  EXPECT_EQ(answer.find("choices")->as_list()[0].find("text"), nullptr);
  const GenerateRequest request = server.engine().last_request();
  EXPECT_EQ(request.prompt_token_ids, (std::vector<TokenId>{65, 66}));
  EXPECT_FALSE(request.sampling.detokenize);
}

TEST(Generate, StreamsTokensAndTheUsageInTheEnd) {
  TestServer server;
  TestClient client(server.port());
  const std::vector<Value> events =
      read_stream(client, kGenerate,
                  R"({"token_ids":[65],"sampling_params":{"max_tokens":2},"stream":true,)"
                  R"("stream_options":{"include_usage":true}})");
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(to_json(at(events[0], "choices.0.token_ids")), "[97]");
  EXPECT_TRUE(at(events[0], "choices.0.finish_reason").is_null());
  EXPECT_EQ(at(events[1], "choices.0.finish_reason"), Value("length"));
  EXPECT_EQ(at(events[2], "usage.completion_tokens"), Value(2));
}

TEST(Generate, FillsTheContextWithoutMaxTokensAndReadsTextForStopStringsAlone) {
  FakeEngine::Options options;
  options.says = "ab";
  TestServer server(options);
  const TestResponse response =
      post(server, kGenerate, R"({"token_ids":[65],"sampling_params":{"stop":["b"]}})");
  EXPECT_EQ(response.status, 200) << response.body;
  const GenerateRequest request = server.engine().last_request();
  EXPECT_EQ(request.sampling.max_tokens, std::nullopt);
  EXPECT_TRUE(request.sampling.detokenize);
}

TEST(Generate, BudgetsTheThinkingAsTheTokensLeaveIt) {
  TestServer server({}, {.reasoning_parser = "qwen3"});
  const auto thinking_after = [&](std::string_view prompt, std::string_view params) {
    std::string ids;
    for (const char c : prompt) ids += (ids.empty() ? "" : ",") + std::to_string(c);
    const TestResponse answer =
        post(server, kGenerate,
             R"({"token_ids":[)" + ids + R"(],"sampling_params":{"max_tokens":1,)" +
                 std::string(params) + "}}");
    EXPECT_EQ(answer.status, 200) << answer.body;
    return server.engine().last_request().sampling.thinking;
  };
  for (const std::string format : {"", R"(,"structured_outputs":{"choice":["a"]})"}) {
    const auto open = thinking_after("<think>\n", R"("thinking_token_budget":7)" + format);
    ASSERT_TRUE(open.has_value());
    EXPECT_TRUE(open->open);
    EXPECT_EQ(open->max_tokens, 7);
    EXPECT_EQ(thinking_after("<think>\n", R"("thinking_token_budget":-1)" + format).has_value(),
              !format.empty());
  }
}

TEST(Generate, RefusesWhatIsNoPromptOfTokens) {
  TestServer server;
  constexpr std::string_view kCases[][2] = {
      {R"({"sampling_params":{}})", "\"body.token_ids\""},
      {R"({"token_ids":[],"sampling_params":{}})", "\"body.token_ids\""},
      {R"({"token_ids":[-1],"sampling_params":{}})", "\"token_ids\""},
      {R"({"token_ids":"abc","sampling_params":{}})", "\"body.token_ids\""},
      {R"({"token_ids":[1]})", "\"body.sampling_params\""},
      {R"({"token_ids":[1],"sampling_params":[]})", "\"body.sampling_params\""},
      {R"({"token_ids":[1],"sampling_params":{"temperature":"hot"}})", "\"body.temperature\""},
      {R"({"token_ids":[1],"sampling_params":{},"features":{}})", "\"features\""},
      {R"({"token_ids":[1],"sampling_params":{"logprobs":-2}})", "\"logprobs\""},
      {R"({"token_ids":[1],"sampling_params":{},"model":"other"})", "\"model\""}};
  for (const auto& [body, param] : kCases) {
    const TestResponse response = post(server, kGenerate, body);
    EXPECT_EQ(response.status, param == "\"model\"" ? 404 : 400) << body;
    EXPECT_EQ(response.error("param"), param) << body;
  }
}

TEST(Render, OfAChatIsWhatGenerateTakesForTheSameAnswer) {
  TestServer server;
  const std::string chat = std::string(kChat) +
                           R"(,"temperature":0.5,"seed":7,"stop":["x"],"logprobs":true,)"
                           R"("logit_bias":{"65":2},"response_format":{"type":"json_object"}})";
  const TestResponse rendered = post(server, "/v1/chat/completions/render", chat);
  ASSERT_EQ(rendered.status, 200) << rendered.body;
  ASSERT_EQ(post(server, "/v1/chat/completions", chat).status, 200);
  const GenerateRequest direct = server.engine().last_request();
  ASSERT_EQ(post(server, kGenerate, rendered.body).status, 200);
  const GenerateRequest again = server.engine().last_request();
  EXPECT_EQ(again.prompt_token_ids, direct.prompt_token_ids);
  EXPECT_EQ(again.sampling.max_tokens, direct.sampling.max_tokens);
  EXPECT_EQ(again.sampling.temperature, direct.sampling.temperature);
  EXPECT_EQ(again.sampling.seed, direct.sampling.seed);
  EXPECT_EQ(again.sampling.stop, direct.sampling.stop);
  EXPECT_EQ(again.sampling.logprobs, direct.sampling.logprobs);
  EXPECT_EQ(again.sampling.logit_bias, direct.sampling.logit_bias);
  ASSERT_TRUE(again.sampling.structured_output.has_value());
  EXPECT_EQ(again.sampling.structured_output->kind, StructuredOutput::Kind::kJsonObject);
}

TEST(Render, OfCompletionsIsAListWithOneForEachPrompt) {
  TestServer server;
  const TestResponse response =
      post(server, "/v1/completions/render",
           R"({"prompt":["A","BC"],"truncate_prompt_tokens":1,"cache_salt":"s"})");
  ASSERT_EQ(response.status, 200) << response.body;
  const Value list = response.json();
  ASSERT_EQ(list.as_list().size(), 2u);
  EXPECT_EQ(to_json(at(list, "0.token_ids")), "[65]");
  EXPECT_EQ(to_json(at(list, "1.token_ids")), "[67]");
  EXPECT_EQ(at(list, "0.sampling_params.max_tokens"), Value(16));
  EXPECT_EQ(at(list, "0.cache_salt"), Value("s"));
}

TEST(Render, OfCompletionsTellsTheBudgetOfTheirThinking) {
  TestServer server({}, {.reasoning_parser = "qwen3"});
  const TestResponse response =
      post(server, "/v1/completions/render", R"({"prompt":"<think>\n","thinking_token_budget":7})");
  EXPECT_EQ(at(response.json(), "0.sampling_params.thinking_token_budget"), Value(7));
}

TEST(Render, OfASchemaThatIsNoJsonIsJsonAllTheSame) {
  TestServer server;
  for (const char* text : {"{not", "7", "\\\"", "{\\\"type\\\":\\\"object\\\"}"}) {
    const TestResponse response =
        post(server, "/v1/completions/render",
             R"({"prompt":"a","structured_outputs":{"json":")" + std::string(text) + R"("}})");
    ASSERT_EQ(response.status, 200) << response.body;
    EXPECT_TRUE(response.json().is_list()) << response.body;
  }
}

TEST(Render, OfAnObjectWithASchemaHoldsTheSchema) {
  TestServer server;
  const auto constraint = [&](std::string_view format) {
    const TestResponse response =
        post(server, "/v1/completions/render",
             R"({"prompt":"a","response_format":)" + std::string(format) + "}");
    return to_json(at(response.json(), "0.sampling_params.structured_outputs"));
  };
  EXPECT_EQ(constraint(R"({"type":"json_object","schema":{"type":"object","maxProperties":1}})"),
            R"({"json":{"type":"object","maxProperties":1},"disable_any_whitespace":false})");
  for (const char* any : {R"({"type":"json_object"})", R"({"type":"json_object","schema":{}})",
                          R"({"type":"json_object","schema":null})"}) {
    EXPECT_EQ(constraint(any), R"({"json_object":true,"disable_any_whitespace":false})");
  }
}

TEST(Render, RefusesWhatTheRouteItselfWouldRefuse) {
  TestServer server;
  EXPECT_EQ(post(server, "/v1/chat/completions/render", R"({"messages":[]})").status, 400);
  EXPECT_EQ(post(server, "/v1/completions/render", R"({"prompt":[]})").status, 400);
  EXPECT_EQ(post(server, "/v1/completions/render", R"({"prompt":"a","model":"b"})").status, 404);
  EXPECT_EQ(post(server, "/v1/completions/render", R"({"prompt":"a","max_tokens":-1})").status,
            400);
  EXPECT_EQ(post(server, "/v1/completions/render", R"({"prompt":[1000000]})").status, 400);
  EXPECT_EQ(post(server, "/apply-template", R"({"messages":7})").status, 400);
}

TEST(Render, AppliesTheTemplateAsLlamaServerDoes) {
  TestServer server;
  const TestResponse response =
      post(server, "/apply-template", R"({"messages":[{"role":"user","content":"hi"}]})");
  EXPECT_EQ(response.body, R"({"prompt":"user: hi\nassistant: "})");
}

// The fake engine starts half a second after a request came, takes a quarter of a second for the
// prompt, of which it has found three tokens, and an eighth for every token but the first.
TEST(Timings, StandInAWholeAnswerOnlyWhereTheyAreAskedFor) {
  TestServer server;
  const std::string plain = std::string(kChat) + "}";
  EXPECT_EQ(post(server, "/v1/chat/completions", plain).body.find("timings"), std::string::npos);
  const Value answer =
      post(server, "/v1/chat/completions", std::string(kChat) + R"(,"timings":true})").json();
  EXPECT_EQ(to_json(at(answer, "timings")),
            R"({"cache_n":3,"prompt_n":17,"prompt_ms":250.0,)"
            R"("prompt_per_token_ms":14.705882352941176,"prompt_per_second":68.0,)"
            R"("predicted_n":3,"predicted_ms":250.0,)"
            R"("predicted_per_token_ms":83.33333333333333,"predicted_per_second":12.0})");
  const Value completion =
      post(server, "/v1/completions", R"({"prompt":["abc","abcd"],"max_tokens":2,"timings":true})")
          .json();
  EXPECT_EQ(at(completion, "timings.prompt_n"), Value(3));  // two <s>, and what was not cached
  EXPECT_EQ(at(completion, "timings.predicted_n"), Value(4));
}

TEST(Timings, StandInTheLastChunkOfAChoiceOrInEveryOne) {
  TestServer server;
  TestClient client(server.port());
  for (const std::string_view path : {"/v1/chat/completions", "/v1/completions"}) {
    const std::string body =
        (path == "/v1/completions" ? R"({"prompt":"abc","max_tokens":3)" : std::string(kChat)) +
        R"(,"stream":true,)";
    const auto last = read_stream(client, path, body + R"("timings":true})");
    for (size_t i = 0; i < last.size(); ++i) {
      EXPECT_EQ(last[i].find("timings") != nullptr, i + 1 == last.size()) << path << " " << i;
    }
    EXPECT_EQ(at(last.back(), "timings.predicted_ms"), Value(250.0));
    const auto every = read_stream(client, path, body + R"("timings_per_token":true})");
    EXPECT_EQ(at(every[every.size() - 2], "timings.predicted_n"), Value(2));
  }
}

TEST(RequestMetrics, NeedTheServersLeaveAndTheRequestsWish) {
  const std::string asking = std::string(kChat) + R"(,"include_metrics":true})";
  {
    TestServer closed;
    EXPECT_EQ(post(closed, "/v1/chat/completions", asking).json().find("metrics"), nullptr);
  }
  ServerOptions options;
  options.enable_per_request_metrics = true;
  TestServer server({}, options);
  EXPECT_EQ(post(server, "/v1/chat/completions", std::string(kChat) + "}").json().find("metrics"),
            nullptr);
  const Value answer = post(server, "/v1/chat/completions", asking).json();
  EXPECT_EQ(to_json(at(answer, "metrics")),
            R"({"time_to_first_token_ms":750.0,"generation_time_ms":250.0,"queue_time_ms":500.0,)"
            R"("mean_itl_ms":125.0,"tokens_per_second":8.0})");
  // Of several choices none has times of its own.
  const Value two =
      post(server, "/v1/chat/completions", std::string(kChat) + R"(,"include_metrics":true,"n":2})")
          .json();
  EXPECT_EQ(two.find("metrics"), nullptr);
}

TEST(LlamaViews, ShowTheTemplateTheDefaultsAndNoPath) {
  FakeEngine::Options options;
  options.chat_template = "{{ messages }}";
  options.default_sampling.temperature = 0.5;
  TestServer server(options);
  TestClient client(server.port());
  const Value props = client.request("GET", "/props").json();
  EXPECT_EQ(at(props, "chat_template"), Value("{{ messages }}"));
  EXPECT_EQ(at(props, "default_generation_settings.params.temperature"), Value(0.5));
  EXPECT_EQ(at(props, "model_path").as_string().find('/'), std::string::npos);
  EXPECT_EQ(at(props, "bos_token"), Value("<s>"));
}

TEST(LlamaViews, ShowASlotForEachSequenceThatMayRun) {
  TestServer server;
  TestClient client(server.port());
  const Value slots = client.request("GET", "/slots").json();
  ASSERT_TRUE(slots.is_list());
  const int64_t total = at(client.request("GET", "/props").json(), "total_slots").as_int();
  EXPECT_GE(static_cast<int64_t>(slots.as_list().size()), total);
  EXPECT_EQ(client.request("GET", "/slots").body.find("content"), std::string::npos);
}

TEST(LlamaViews, SayHowASlotsTokensAreDrawnAndHowManyMayFollow) {
  TestServer server;  // whose engine shows one sequence
  TestClient client(server.port());
  TestClient streaming(server.port());
  streaming.send_request("POST", "/v1/completions",
                         R"({"prompt":"x","max_tokens":100000,"stream":true})");
  ASSERT_TRUE(streaming.read_until("data: "));
  const Value slots = client.request("GET", "/slots").json();
  EXPECT_EQ(to_json(at(slots, "0.params")),
            R"({"seed":9,"temperature":0.5,"top_k":3,"top_p":1.0,"min_p":0.0,)"
            R"("repeat_penalty":1.0,"presence_penalty":0.0,"frequency_penalty":0.0,)"
            R"("max_tokens":12,"n_predict":12,"n_probs":0,"ignore_eos":false})");
  EXPECT_EQ(to_json(at(slots, "0.next_token")),
            R"([{"has_next_token":true,"n_remain":10,"n_decoded":2}])");
}

}  // namespace
}  // namespace octavo::serve
