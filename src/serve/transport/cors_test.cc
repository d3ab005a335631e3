// CORS as a browser sees it.
#include "serve/transport/cors.h"

#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kOrigin = "Origin: https://a.example\r\n";
constexpr std::string_view kOther = "Origin: https://b.example\r\n";

TestResponse preflight(TestServer& server, std::string_view headers) {
  TestClient client(server.port());
  return client.request("OPTIONS", "/v1/completions", "", headers);
}

std::string allowed_origin(const TestResponse& response) {
  return response.header("access-control-allow-origin");
}

TEST(Cors, ByDefaultEveryOriginMayCallWithoutCredentials) {
  TestServer server;
  TestClient client(server.port());
  const TestResponse answer = client.request("GET", "/version", "", kOrigin);
  EXPECT_EQ(allowed_origin(answer), "*");
  EXPECT_EQ(answer.header("access-control-allow-credentials"), "");
  EXPECT_EQ(answer.header("vary"), "");
  EXPECT_EQ(allowed_origin(client.request("GET", "/version", "", "")), "");
  const TestResponse asked =
      preflight(server, std::string(kOrigin) +
                            "Access-Control-Request-Method: POST\r\n"
                            "Access-Control-Request-Headers: authorization\r\n");
  EXPECT_EQ(asked.status, 200);
  EXPECT_EQ(allowed_origin(asked), "*");
  EXPECT_EQ(asked.header("access-control-allow-methods"), "POST, OPTIONS");
  EXPECT_EQ(asked.header("access-control-allow-headers"), "authorization");
}

TEST(Cors, AListLetsItsOriginsInAndNoOther) {
  ServerOptions options;
  options.cors.origins = {"https://a.example", "https://c.example"};
  TestServer server({}, options);
  TestClient client(server.port());
  const TestResponse answer = client.request("GET", "/version", "", kOrigin);
  EXPECT_EQ(allowed_origin(answer), "https://a.example");
  EXPECT_EQ(answer.header("vary"), "Origin");
  const TestResponse other = client.request("GET", "/version", "", kOther);
  EXPECT_EQ(other.status, 200);
  EXPECT_EQ(allowed_origin(other), "");
  EXPECT_EQ(other.header("vary"), "Origin");
  EXPECT_EQ(client.request("GET", "/version", "", "").header("vary"), "Origin")
      << "a cache must not give this answer to a.example";
  EXPECT_EQ(
      allowed_origin(client.request("GET", "/version", "", "Origin: https://a.example.evil\r\n")),
      "");
  EXPECT_EQ(preflight(server, kOrigin).status, 200);
  EXPECT_EQ(preflight(server, kOther).status, 400);
}

TEST(Cors, WithCredentialsTheOriginIsNamed) {
  ServerOptions options;
  options.cors.credentials = true;
  TestServer server({}, options);
  TestClient client(server.port());
  const TestResponse answer = client.request("GET", "/version", "", kOrigin);
  EXPECT_EQ(allowed_origin(answer), "https://a.example");
  EXPECT_EQ(answer.header("access-control-allow-credentials"), "true");
  EXPECT_EQ(answer.header("vary"), "Origin");
}

TEST(Cors, MethodsAndHeadersMayBeListed) {
  ServerOptions options;
  options.cors.methods = {"GET"};
  options.cors.headers = {"X-One", "Authorization"};
  TestServer server({}, options);
  const std::string origin(kOrigin);
  EXPECT_EQ(preflight(server, origin + "Access-Control-Request-Method: POST\r\n").status, 400);
  EXPECT_EQ(preflight(server, origin + "Access-Control-Request-Headers: x-two\r\n").status, 400);
  const TestResponse asked = preflight(
      server, origin +
                  "Access-Control-Request-Method: GET\r\n"
                  "Access-Control-Request-Headers: x-one,content-type, AUTHORIZATION\r\n");
  EXPECT_EQ(asked.status, 200);
  EXPECT_EQ(asked.header("access-control-allow-methods"), "GET");
  EXPECT_EQ(asked.header("access-control-allow-headers"),
            "Accept, Accept-Language, Content-Language, Content-Type, X-One, Authorization");
}

TEST(Cors, StreamsAndRefusalsCarryItToo) {
  ServerOptions options;
  options.cors.origins = {"https://a.example"};
  options.api_keys = {"secret"};
  options.max_body_bytes = 1000;
  TestServer server({}, options);
  const std::string json = "Content-Type: application/json\r\n" + std::string(kOrigin);
  TestClient refused(server.port());
  const TestResponse no_key = refused.request("POST", "/v1/completions", "{}", json);
  EXPECT_EQ(no_key.status, 401);
  EXPECT_EQ(allowed_origin(no_key), "https://a.example");
  TestClient large(server.port());
  const TestResponse too_large =
      large.request("POST", "/v1/completions", std::string(2000, ' '), json);
  EXPECT_EQ(too_large.status, 413);
  EXPECT_EQ(allowed_origin(too_large), "https://a.example");
  TestClient streaming(server.port());
  const TestResponse stream =
      streaming.request("POST", "/v1/completions", R"({"prompt":"x","max_tokens":1,"stream":true})",
                        json + "Authorization: Bearer secret\r\n");
  EXPECT_EQ(stream.status, 200);
  EXPECT_EQ(allowed_origin(stream), "https://a.example");
}

}  // namespace
}  // namespace octavo::serve
