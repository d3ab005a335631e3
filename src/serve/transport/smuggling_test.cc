// What an attacker writes to the socket by hand: requests hidden in requests, paths that look like
// others, headers that would like to be echoed. The server answers once, and closes.
#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kHidden = "GET /version HTTP/1.1\r\nHost: t\r\n\r\n";

std::string post(std::string_view headers, std::string_view body) {
  return "POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n" +
         std::string(headers) + "\r\n" + std::string(body) + std::string(kHidden);
}

// The whole of what comes back until the server closes.
std::string all_answers(TestServer& server, std::string_view bytes) {
  TestClient client(server.port());
  client.send(bytes);
  client.read_until("no answer has these words");
  return client.buffer();
}

size_t count(std::string_view text, std::string_view word) {
  size_t n = 0;
  for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) ++n;
  return n;
}

TEST(Smuggling, ARequestBehindAnAmbiguousLengthIsNotAnswered) {
  TestServer server;
  for (const std::string& bytes : {
           post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
           post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
           post("Content-Length: 0\r\nContent-Length: 34\r\n", ""),
           post("Content-Length: 0\r\nContent-Length: 0\r\n", ""),
           post("Content-Length: 0, 34\r\n", ""),
           post("Content-Length: +0\r\n", ""),
           post("Content-Length : 0\r\n", ""),
           post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
           post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
           post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
           post("Transfer-Encoding:\vchunked\r\n", "0\r\n\r\n"),
           post("X: y\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
           post("X: y\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
           post("Transfer-Encoding: chunked\r\n", "0\n\r\n"),
           post("Transfer-Encoding: chunked\r\n", "-1\r\n"),
           post("Transfer-Encoding: chunked\r\n", "1\r\nab\r\n0\r\n\r\n"),
           post("Transfer-Encoding: chunked\r\n", "0;\n\r\n\r\n"),
           post("Transfer-Encoding: chunked\r\n", "0\r\nX: y\n\r\n"),
           post(std::string("X: \0\r\n", 6), ""),
           std::string("GET /version HTTP/1.1\r\n\r\n") + std::string(kHidden),
           std::string("GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n") +
               std::string(kHidden),
       }) {
    const std::string answers = all_answers(server, bytes);
    EXPECT_TRUE(answers.starts_with("HTTP/1.1 400 ")) << bytes << answers;
    EXPECT_EQ(count(answers, "HTTP/1.1 "), 1u) << bytes << answers;
    EXPECT_NE(answers.find("connection: close"), std::string::npos);
  }
  TestClient client(server.port());
  EXPECT_EQ(client.request("GET", "/version").status, 200);
}

TEST(Smuggling, TrailersDoNotBecomeHeaders) {
  ServerOptions options;
  options.api_keys = {"secret"};
  TestServer server({}, options);
  TestClient client(server.port());
  client.send(
      "POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n"
      "c\r\n{\"prompt\":1}\r\n0\r\nAuthorization: Bearer secret\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 401);
}

TEST(Smuggling, ABodyOfAGetIsReadAndNotTakenForARequest) {
  TestServer server;
  TestClient client(server.port());
  client.send("GET /version HTTP/1.1\r\nHost: t\r\nContent-Length: " +
              std::to_string(kHidden.size()) + "\r\n\r\n" + std::string(kHidden) +
              "GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
  EXPECT_NE(client.read_response().body.find("version"), std::string::npos);
  EXPECT_EQ(client.read_response().header("content-length"), "0");
  EXPECT_TRUE(client.closed_by_server(2));
}

TEST(PathTricks, APathIsWhatItIsByteForByte) {
  ServerOptions options;
  options.api_keys = {"secret"};
  TestServer server({}, options);
  for (const std::string path :
       {"//v1/models", "/v1//models", "/./v1/models", "/health/../v1/models", "/v1/models/",
        "/%761/models", "/v1%2fmodels", "/v1/%2e%2e/metrics", "/page/../v1/models",
        "/page/%2e%2e/v1/models", "/V1/models", "/v1/models;x", "/v1\\models",
        "/page/../../etc/passwd", "http://t//v1/models", "/http://t/v1/models"}) {
    TestClient client(server.port());
    const TestResponse response = client.request("GET", path);
    EXPECT_TRUE(response.status == 401 || response.status == 404) << path << response.status;
    EXPECT_EQ(response.body.find("\"object\""), std::string::npos) << path;
  }
  TestClient client(server.port());
  const std::string key = "Authorization: Bearer secret\r\n";
  EXPECT_EQ(client.request("GET", "http://elsewhere.example/v1/models", "", key).status, 200)
      << "the form that proxies get";
  EXPECT_EQ(client.request("GET", "http://elsewhere.example/v1/models").status, 401);
}

TEST(HeaderInjection, NothingThatIsEchoedCanEndALine) {
  ServerOptions options;
  options.cors.credentials = true;  // the origin is echoed
  options.enable_request_id_headers = true;
  TestServer server({}, options);
  for (const std::string name : {"Origin", "X-Request-Id", "Access-Control-Request-Headers"}) {
    for (const std::string& value :
         {std::string("a\nset-cookie: x=1"), std::string("a\rset-cookie: x=1"),
          std::string("a\0set-cookie: x=1", 17), std::string("a\r\n set-cookie: x=1")}) {
      const std::string answers = all_answers(
          server, "OPTIONS /v1/models HTTP/1.1\r\nHost: t\r\n" + name + ": " + value + "\r\n\r\n");
      EXPECT_TRUE(answers.starts_with("HTTP/1.1 400 ")) << value;
      EXPECT_EQ(answers.find("set-cookie"), std::string::npos) << answers;
    }
    TestClient client(server.port());
    const TestResponse response =
        client.request("OPTIONS", "/v1/models", "", name + ": a%0d%0aset-cookie:x\r\n");
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.header("set-cookie"), "");
  }
}

TEST(HeaderInjection, APathInAnErrorIsPartOfItsJson) {
  TestServer server;
  TestClient client(server.port());
  const TestResponse response = client.request("GET", "/\"}<script>alert(1)</script>");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.header("content-type"), "application/json");
  EXPECT_NE(response.error("message"), "");
}

}  // namespace
}  // namespace octavo::serve
