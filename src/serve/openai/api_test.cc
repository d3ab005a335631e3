// The API over real sockets, on a fake engine: routes, answers, streams, and what bad requests get.
#include <gtest/gtest.h>

#include "serve/openai/openai_request.h"
#include "serve/stats_log.h"
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

TEST(Routes, ModelsTokenizeAndTheSmallOnes) {
  ServerOptions options;
  options.served_model_names = {"first", "second"};
  TestServer server({}, options);
  TestClient client(server.port());
  const Value models = client.request("GET", "/v1/models").json();
  EXPECT_EQ(at(models, "data.0.id"), Value("first"));
  EXPECT_EQ(at(models, "data.1.root"), Value("fake/model"));
  EXPECT_EQ(at(client.request("GET", "/v1/models/second").json(), "id"), Value("second"));
  EXPECT_EQ(client.request("GET", "/v1/models/none%2Fx").error("message"),
            "\"The model `none/x` does not exist.\"");
  EXPECT_EQ(
      client.post("/tokenize", R"({"prompt":"hi","return_token_strs":true})").body,
      R"({"count":3,"max_model_len":1000000,"tokens":[256,104,105],"token_strs":["<s>","h","i"]})");
  EXPECT_EQ(
      at(client.post("/tokenize", R"({"messages":[{"role":"u","content":"x"}]})").json(), "count"),
      Value(16));
  EXPECT_EQ(client.post("/detokenize", R"({"tokens":[104,105,9999]})").body, R"({"prompt":"hi"})");
  EXPECT_EQ(client.request("GET", "/health").status, 200);
  EXPECT_EQ(client.request("GET", "/health").body, "");
  EXPECT_EQ(client.request("POST", "/ping", "").status, 200);
  EXPECT_EQ(client.request("GET", "/load").body, R"({"server_load":0})");
  EXPECT_TRUE(at(client.request("GET", "/version").json(), "version").is_string());
  const auto metrics = client.request("GET", "/metrics?x=1");
  EXPECT_NE(metrics.body.find("vllm:num_requests_running"), std::string::npos);
  EXPECT_NE(metrics.body.find(
                R"(http_requests_total{handler="/v1/models/",method="GET",status="4xx"} 1.0)"),
            std::string::npos)
      << metrics.body;
  EXPECT_EQ(
      at(client.post("/v1/completions", R"({"model":"second","prompt":"x"})").json(), "model"),
      Value("second"));
}

TEST(Routes, UnknownRouteMethodAndModel) {
  TestServer server;
  TestClient client(server.port());
  auto response = client.request("GET", "/nowhere");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.error("code"), "404");
  response = client.request("GET", "/v1/completions");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.error("code"), "405");
  EXPECT_EQ(response.header("allow"), "POST");
  response = client.post("/v1/completions", R"({"model":"gpt-9","prompt":"x"})");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(
      response.body,
      R"({"error":{"message":"The model `gpt-9` does not exist.","type":"NotFoundError","param":"model","code":404}})");
  response =
      client.request("OPTIONS", "/v1/completions", "",
                     "Origin: http://x\r\nAccess-Control-Request-Headers: authorization\r\n");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("access-control-allow-headers"), "authorization");
  EXPECT_EQ(response.header("access-control-allow-origin"), "*");
}

TEST(Routes, ApiKeyGuardsTheApiAndNotTheProbes) {
  ServerOptions options;
  options.api_keys = {"secret", "other"};
  TestServer server({}, options);
  TestClient client(server.port());
  const auto get = [&](std::string_view path, const std::string& key) {
    return client.request("GET", path, "", key.empty() ? "" : "Authorization: " + key + "\r\n")
        .status;
  };
  EXPECT_EQ(get("/v1/models", ""), 401);
  EXPECT_EQ(get("/v1/models", "Bearer secre"), 401);
  EXPECT_EQ(get("/v1/models", "Bearer secretsecret"), 401);
  EXPECT_EQ(get("/v1/models", "Basic secret"), 401);
  EXPECT_EQ(get("/v1/models", "Bearer other"), 200);
  EXPECT_EQ(get("/health", ""), 200);
  const auto refused = client.post("/v1/completions", "{}");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.error("message"), "\"Unauthorized\"");
}

struct BadBody {
  std::string_view path;
  std::string body;
  int status;
  std::string_view param;  // of the error object; "" for any
};

TEST(Priority, OfTheHeaderGoesBeforeTheBodysUnlessItIsNoNumber) {
  TestServer server;
  TestClient client(server.port());
  const auto priority = [&](const std::string& header, const std::string& member) {
    const auto response = client.request(
        "POST", "/v1/completions", R"({"prompt":"x","max_tokens":1)" + member + "}",
        "Content-Type: application/json\r\n" + (header.empty() ? "" : header + "\r\n"));
    EXPECT_EQ(response.status, 200) << response.body;
    return server.engine().last_request().priority;
  };
  EXPECT_EQ(priority("", ""), 0);
  EXPECT_EQ(priority("", R"(,"priority":5)"), 5);
  EXPECT_EQ(priority("X-Vllm-Priority: -7", ""), -7);
  EXPECT_EQ(priority("X-Vllm-Priority: -7", R"(,"priority":5)"), -7);
  EXPECT_EQ(priority("X-Vllm-Priority: high", R"(,"priority":5)"), 5);
}

TEST(BadInput, EveryBadBodyIsA400WithTheFieldsName) {
  TestServer server({.max_model_len = 64});
  TestClient client(server.port());
  constexpr std::string_view kC = "/v1/completions", kChat = "/v1/chat/completions";
  const std::string deep(200, '[');
  const auto c = [](std::string_view more) {
    return R"({"prompt":"x",)" + std::string(more) + "}";
  };
  const auto chat = [](std::string_view more) {
    return R"({"messages":[{"role":"user","content":"x"}],)" + std::string(more) + "}";
  };
  std::string many_prompts = R"({"prompt":["x")";
  for (int i = 0; i < 1024; ++i) many_prompts += R"(,"x")";
  many_prompts += "]}";
  const std::vector<BadBody> table = {
      {kC, "", 400, "body"},
      {kC, "[]", 400, "body"},
      {kC, "[{\"prompt\":\"x\"}]", 400, "body"},
      {kC, "3", 400, "body"},
      {kC, "null", 400, "body"},
      {kC, "{\"prompt\":\"x\"", 400, "body"},
      {kC, "{\"prompt\":\"x\"} x", 400, "body"},
      {kC, deep, 400, "body"},
      {kC, std::string(1000000, '['), 400, "body"},
      {kC, "{\"prompt\":\"\xff\xfe\"}", 400, "body"},
      {kC, "{\"prompt\":\"\\ud800\"}", 400, "body"},
      {kC, c("\"temperature\":1e999"), 400, "body"},
      {kC, "{}", 400, "body.prompt"},
      {kC, R"({"prompt":null})", 400, "body.prompt"},
      {kC, R"({"prompt":5})", 400, "body.prompt"},
      {kC, R"({"prompt":{}})", 400, "body.prompt"},
      {kC, R"({"prompt":[]})", 400, "prompt"},
      {kC, R"({"prompt":[[]]})", 400, "prompt"},
      {kC, R"({"prompt":"","add_special_tokens":false})", 400, "prompt"},
      {kC, R"({"prompt":["a",1]})", 400, "body.prompt"},
      {kC, R"({"prompt":[1,"a"]})", 400, "body.prompt"},
      {kC, R"({"prompt":[1.5]})", 400, "body.prompt"},
      {kC, R"({"prompt":[true]})", 400, "body.prompt"},
      {kC, R"({"prompt":[99999999999]})", 400, "body.prompt"},
      {kC, R"({"prompt":[300]})", 400, "prompt"},
      {kC, R"({"prompt":[-1]})", 400, "prompt"},
      {kC, many_prompts, 400, "prompt"},
      {kC, c(R"("model":5)"), 400, "body.model"},
      {kC, c(R"("temperature":"hot")"), 400, "body.temperature"},
      {kC, c(R"("temperature":true)"), 400, "body.temperature"},
      {kC, c(R"("temperature":3)"), 400, "temperature"},
      {kC, c(R"("temperature":1e300)"), 400, "body.temperature"},
      {kC, c(R"("max_tokens":"5")"), 400, "body.max_tokens"},
      {kC, c(R"("max_tokens":1.5)"), 400, "body.max_tokens"},
      {kC, c(R"("max_tokens":99999999999)"), 400, "body.max_tokens"},
      {kC, c(R"("stream":"yes")"), 400, "body.stream"},
      {kC, c(R"("stream_options":{"include_usage":true})"), 400, "stream_options"},
      {kC, c(R"("stream":true,"stream_options":5)"), 400, "body.stream_options"},
      {kC, c(R"("stream":true,"prompt_logprobs":1)"), 400, "prompt_logprobs"},
      {kC, c(R"("prompt_logprobs":-2)"), 400, "prompt_logprobs"},
      {kC, c(R"("logprobs":-2)"), 400, "logprobs"},
      {kC, c(R"("stop":5)"), 400, "body.stop"},
      {kC, c(R"("stop":["a",null])"), 400, "body.stop"},
      {kC, c(R"("stop":["a","b","c","d","e"])"), 400, "stop"},
      {kC, c(R"("logit_bias":{"x":1})"), 400, "logit_bias"},
      {kC, c(R"("logit_bias":{"5":"x"})"), 400, "body.logit_bias.5"},
      {kC, c(R"("logit_bias":[1])"), 400, "body.logit_bias"},
      {kC, c(R"("suffix":"y")"), 400, "suffix"},
      {kC, c(R"("best_of":2)"), 400, "best_of"},
      {kC, c(R"("use_beam_search":true)"), 400, "use_beam_search"},
      {kC, c(R"("structured_outputs":{"json":{},"regex":"a"})"), 400, "structured_outputs"},
      {kC, c(R"("structured_outputs":{})"), 400, "structured_outputs"},
      {kC, c(R"("structured_outputs":{"json":3})"), 400, "body.structured_outputs.json"},
      {kC, c(R"("structured_outputs":{"choice":[]})"), 400, "structured_outputs.choice"},
      {kC, c(R"("structured_outputs":{"regex":""})"), 400, "structured_outputs.regex"},
      {kC, c(R"("guided_json":{})"), 400, "guided_json"},
      {kC, c(R"("response_format":{"type":"json_schema"})"), 400,
       "body.response_format.json_schema.schema"},
      {kC, c(R"("response_format":{"type":"picture"})"), 400, "response_format"},
      {kC, c(R"("response_format":{})"), 400, "body.response_format.type"},
      {kC, c(R"("prompt_embeds":"AAAA")"), 400, "prompt_embeds"},
      {kC, c(R"("cache_salt":"")"), 400, "cache_salt"},
      {kC, c(R"("priority":"high")"), 400, "body.priority"},
      {kC, c(R"("truncate_prompt_tokens":0)"), 400, "truncate_prompt_tokens"},
      {kC, c(R"("truncate_prompt_tokens":65)"), 400, "truncate_prompt_tokens"},
      {kC, c(R"("truncation_side":"middle")"), 400, "truncation_side"},
      {kC, c(R"("stream_interval":0)"), 400, "stream_interval"},
      {kC, R"({"prompt":")" + std::string(100, 'x') + "\"}", 400, "input_tokens"},
      {kChat, "{}", 400, "body.messages"},
      {kChat, R"({"messages":[]})", 400, "messages"},
      {kChat, R"({"messages":"hi"})", 400, "body.messages"},
      {kChat, R"({"messages":["hi"]})", 400, "body.messages"},
      {kChat, R"({"messages":[{"content":"x"}]})", 400, "body.messages"},
      {kChat, R"({"messages":[{"role":5}]})", 400, "body.messages"},
      {kChat, R"({"messages":[{"role":"user","content":5}]})", 400, "body.messages"},
      {kChat,
       R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]})",
       400, "messages"},
      {kChat,
       R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}]})",
       400, "messages"},
      {kChat, R"({"messages":[{"role":"assistant","tool_calls":[5]}]})", 400, "body.messages"},
      {kChat, chat(R"("top_logprobs":2)"), 400, "top_logprobs"},
      {kChat, chat(R"("logprobs":2)"), 400, "body.logprobs"},
      {kChat, chat(R"("tools":[])"), 400, "tools"},
      {kChat, chat(R"("tools":[5])"), 400, "body.tools.0"},
      {kChat, chat(R"("tools":[{"type":"function","function":{}}])"), 400,
       "body.tools.0.function.name"},
      {kChat, chat(R"("tools":[{"type":"web","function":{"name":"f"}}])"), 400,
       "body.tools.0.type"},
      {kChat, chat(R"("tools":[{"type":"function","function":{"name":"f","parameters":[]}}])"), 400,
       "body.tools.0.function.parameters"},
      {kChat, chat(R"("tool_choice":"auto")"), 400, "tool_choice"},
      {kChat, chat(R"("tools":[{"function":{"name":"f"}}],"tool_choice":{"type":"function"})"), 400,
       "tool_choice"},
      {kChat,
       chat(R"("tools":[{"function":{"name":"f"}}],"tool_choice":{"function":{"name":"g"}})"), 400,
       "tool_choice"},
      {kChat, chat(R"("tools":[{"function":{"name":"f"}}],"parallel_tool_calls":1)"), 400,
       "body.parallel_tool_calls"},
      {kChat,
       chat(R"("tools":[{"function":{"name":"f","parameters":{"type":"array"}}}],)"
            R"("tool_choice":"required")"),
       400, "tools"},
      {kChat, chat(R"("reasoning_effort":"some")"), 400, "body.reasoning_effort"},
      {kChat, chat(R"("thinking_token_budget":-2)"), 400, "thinking_token_budget"},
      {kChat, chat(R"("include_reasoning":"no")"), 400, "body.include_reasoning"},
      {kChat, chat(R"("tool_choice":"required")"), 400, "tool_choice"},
      {kChat, chat(R"("tool_choice":{"type":"function","function":{"name":"f"}})"), 400,
       "tool_choice"},
      {kChat, chat(R"("tool_choice":"sometimes")"), 400, "tool_choice"},
      {kChat, chat(R"("modalities":["audio"])"), 400, "modalities"},
      {kChat, chat(R"("chat_template":"x")"), 400, "chat_template"},
      {kChat, chat(R"("chat_template_kwargs":5)"), 400, "body.chat_template_kwargs"},
      {kChat, chat(R"("continue_final_message":true)"), 400, "continue_final_message"},
      {kChat, chat(R"("documents":[5])"), 400, "body.documents"},
      {"/tokenize", "{}", 400, "body.prompt"},
      {"/tokenize", R"({"prompt":5})", 400, "body.prompt"},
      {"/detokenize", "{}", 400, "body.tokens"},
      {"/detokenize", R"({"tokens":["a"]})", 400, "body.tokens"},
      {"/detokenize", R"({"tokens":[-1]})", 400, "body.tokens"},
  };
  for (const BadBody& bad : table) {
    const auto response = client.post(bad.path, bad.body);
    const std::string shown = bad.body.substr(0, 120);
    EXPECT_EQ(response.status, bad.status) << shown << " " << response.body;
    EXPECT_EQ(response.error("param"), "\"" + std::string(bad.param) + "\"")
        << shown << " " << response.body;
    EXPECT_EQ(response.error("code"), std::to_string(bad.status)) << shown;
    EXPECT_GT(response.error("message").size(), 5u) << shown;
  }
  EXPECT_EQ(client.post(kC, R"({"prompt":"x"})").status, 200);
  EXPECT_EQ(client.post(kC, "{\"prompt\": x}").error("message").find("\"invalid JSON: "), 0u);
  EXPECT_NE(client.post(kC, "{\"prompt\": x}").error("message").find("at byte 11"),
            std::string::npos);
}

TEST(BadInput, WrongContentTypeIs400) {
  TestServer server;
  TestClient client(server.port());
  EXPECT_EQ(
      client.request("POST", "/v1/completions", R"({"prompt":"x"})", "Content-Type: text/plain\r\n")
          .status,
      400);
  EXPECT_EQ(client.request("POST", "/v1/completions", R"({"prompt":"x"})", "").status, 400);
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

TEST(StatsLine, ReadsLikeVllms) {
  EngineStats now{.running = 3,
                  .waiting = 1,
                  .kv_cache_usage = 0.125,
                  .prompt_tokens = 100,
                  .generation_tokens = 50,
                  .prefix_cache_queries = 10,
                  .prefix_cache_hits = 4};
  EXPECT_EQ(
      stats_line({}, now, 10),
      "Engine 000: Avg prompt throughput: 10.0 tokens/s, Avg generation throughput: 5.0 tokens/s, "
      "Running: 3 reqs, Waiting: 1 reqs, GPU KV cache usage: 12.5%, Prefix cache hit rate: 40.0%");
}

}  // namespace
}  // namespace octavo::serve
