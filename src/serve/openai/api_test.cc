// The API over real sockets, on a fake engine: its routes, who may use them, and what it logs.
#include <gtest/gtest.h>

#include "serve/stats_log.h"
#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

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

TEST(Routes, ASlashTooMuchAtTheEndLeadsToTheRoute) {
  ServerOptions options;
  options.root_path = "/octavo";
  TestServer server({}, options);
  TestClient client(server.port());
  const auto redirect = client.post("/v1/completions/?x=1", R"({"prompt":"x"})");
  EXPECT_EQ(redirect.status, 307);
  EXPECT_EQ(redirect.header("location"), "/octavo/v1/completions?x=1");
  EXPECT_EQ(client.request("GET", "/health//").header("location"), "/octavo/health");
  EXPECT_EQ(client.request("GET", "/v1/completions/").status, 404);
  EXPECT_EQ(client.request("GET", "/nowhere/").status, 404);
  EXPECT_EQ(client.request("GET", "//v1/models/").status, 404);
  EXPECT_EQ(client.request("GET", "/server_info/").status, 404) << "not in development mode";
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
