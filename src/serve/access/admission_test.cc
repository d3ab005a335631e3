// Who is let in: keys and their file, limits of clients, and how a refusal looks. The parts by
// themselves, then over sockets, on a fake engine.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "base/testing_directory.h"
#include "serve/access/api_key.h"
#include "serve/access/client_table.h"
#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kLong = R"({"prompt":"x","max_tokens":1000000,"stream":true})";
constexpr std::string_view kShort = R"({"prompt":"x","max_tokens":1})";

RateLimit rate(std::string_view text) {
  return *parse_rate_limit(text);
}

std::string key_header(std::string_view key) {
  return "Content-Type: application/json\r\nAuthorization: Bearer " + std::string(key) + "\r\n";
}

// The value of a metric's line in /metrics; -1 if it has none.
double metric(const TestServer& server, const std::string& line) {
  TestClient client(server.port());
  const std::string text = "\n" + client.request("GET", "/metrics").body;
  const size_t at = text.find("\n" + line + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + line.size() + 2));
}

TEST(RateLimits, AreWrittenAsACountAndATime) {
  EXPECT_EQ(rate("10").per_second(), 10);
  EXPECT_EQ(rate("10/s").per_second(), 10);
  EXPECT_EQ(rate("600/m").per_second(), 10);
  EXPECT_EQ(rate("7200/h").per_second(), 2);
  EXPECT_TRUE(rate("0").off());
  for (const char* bad :
       {"", "x", "1.5", "-1", "1/", "1/d", "1 /s", "99999999999", "/s", "1/s/s"}) {
    EXPECT_FALSE(parse_rate_limit(bad).ok()) << bad;
  }
}

TEST(RateLimits, ABucketLetsAPeriodsRequestsPassAtOnceAndThenOneByOne) {
  const RateLimit limit = rate("60/m");
  TokenBucket bucket;
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(bucket.take(limit, 1000));
  EXPECT_FALSE(bucket.take(limit, 1000));
  EXPECT_NEAR(bucket.seconds_until_next(limit, 1000), 1, 1e-9);
  EXPECT_FALSE(bucket.take(limit, 1000.5));
  EXPECT_TRUE(bucket.take(limit, 1001.01));
  EXPECT_FALSE(bucket.take(limit, 1001.01));
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(bucket.take(limit, 5000)) << "full again, and no fuller";
  EXPECT_FALSE(bucket.take(limit, 5000));
}

TEST(Clients, AreForgottenOldestFirstUnlessARequestIsUnderWay) {
  ClientTable table(3);
  const auto streams = [&](std::string_view client) {
    int out = 0;
    table.with(client, [&](ClientRecord& record) { out = record.streams; });
    return out;
  };
  table.with("busy", [](ClientRecord& record) { record.streams = 2; });
  for (int i = 0; i < 1000; ++i) streams("passer-by " + std::to_string(i));
  EXPECT_LE(table.size(), 4u);
  EXPECT_EQ(streams("busy"), 2);
  table.with("busy", [](ClientRecord& record) { record.streams = 0; });
  for (int i = 0; i < 10; ++i) streams("another " + std::to_string(i));
  EXPECT_EQ(table.size(), 3u);
}

TEST(Clients, AnIpv6ClientIsItsNetworkAndAMappedAddressIsIpv4) {
  EXPECT_EQ(client_of_address("192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(client_of_address("::ffff:192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(client_of_address("2001:db8:1:2:aaaa::1"), "2001:db8:1:2::/64");
  EXPECT_EQ(client_of_address("2001:db8:1:2:bbbb::2"), "2001:db8:1:2::/64");
  EXPECT_NE(client_of_address("2001:db8:1:3::1"), "2001:db8:1:2::/64");
  EXPECT_EQ(client_of_address("fe80::1%eth0"), "fe80::/64");
  EXPECT_EQ(client_of_address("unix"), "unix");
}

class KeyFile : public ::testing::Test {
 protected:
  ApiKeys::Verdict check(std::string_view key) {
    now_ += 2;  // each time late enough to look at the file
    const HttpRequest request{.headers = {{"Authorization", "Bearer " + std::string(key)}}};
    return keys_->check(request, now_).verdict;
  }
  void write(const std::string& text) { std::ofstream(path_) << text; }
  Status load(const std::vector<std::string>& keys = {}) {
    StatusOr<std::unique_ptr<ApiKeys>> loaded = ApiKeys::load(keys, path_);
    if (loaded.ok()) keys_ = *std::move(loaded);
    return loaded.status();
  }
  static constexpr auto kValid = ApiKeys::Verdict::kValid;
  static constexpr auto kWrong = ApiKeys::Verdict::kWrong;

  const octavo::testing::TemporaryDirectory directory_;
  const std::string path_ = directory_.path() / "keys";
  std::unique_ptr<ApiKeys> keys_;
  double now_ = 100;
};

TEST_F(KeyFile, HoldsAKeyALineBesideThoseOfTheCommandLine) {
  write("# the team\n  alice-key \r\n\n\tbob-key\n#carol-key\n");
  ASSERT_TRUE(load({"given"}).ok());
  EXPECT_TRUE(keys_->asked_for());
  for (const char* key : {"alice-key", "bob-key", "given"}) EXPECT_EQ(check(key), kValid) << key;
  for (const char* key : {"carol-key", "#carol-key", "alice", "alice-key2", "ALICE-KEY"}) {
    EXPECT_EQ(check(key), kWrong) << key;
  }
  EXPECT_EQ(check(""), ApiKeys::Verdict::kMissing);
}

TEST_F(KeyFile, IsReadAgainWhenItChanges) {
  write("first\n");
  ASSERT_TRUE(load().ok());
  EXPECT_EQ(check("first"), kValid);
  write("second, longer\n");
  EXPECT_EQ(check("first"), kWrong);
  EXPECT_EQ(check("second, longer"), kValid);
  std::filesystem::remove(path_);
  EXPECT_EQ(check("second, longer"), kValid) << "a file that is gone changes nothing";
  write("");
  EXPECT_EQ(check("second, longer"), kWrong) << "an empty file lets nobody in";
  EXPECT_EQ(check(""), ApiKeys::Verdict::kMissing);
}

TEST_F(KeyFile, ThatCannotBeUsedIsNamedAtTheStart) {
  EXPECT_NE(load().message().find(path_ + ": No such file"), std::string::npos);
  write("# nobody yet\n\n");
  EXPECT_NE(load().message().find("holds no key"), std::string::npos);
  write(std::string((1 << 20) + 1, 'k'));
  EXPECT_NE(load().message().find("larger than 1 MiB"), std::string::npos);
  EXPECT_FALSE(ApiKeys::load({}, directory_.path()).ok()) << "a directory";
  EXPECT_FALSE(ApiKeys::load({""}, "").ok()) << "an empty key";
  EXPECT_FALSE((*ApiKeys::load({}, ""))->asked_for());
}

TEST(Keys, TheTwoHeadersOfTheTwoDialectsBothCount) {
  const auto keys = *ApiKeys::load({"secret", "other"}, "");
  const auto verdict = [&](HttpHeaders headers) {
    return keys->check({.headers = std::move(headers)}, 0).verdict;
  };
  using Verdict = ApiKeys::Verdict;
  EXPECT_EQ(verdict({{"authorization", "bearer secret"}}), Verdict::kValid);
  EXPECT_EQ(verdict({{"X-Api-Key", "other"}}), Verdict::kValid);
  EXPECT_EQ(verdict({{"Authorization", "Bearer wrong"}, {"x-api-key", "other"}}), Verdict::kValid);
  EXPECT_EQ(verdict({{"Authorization", "Basic secret"}}), Verdict::kMissing);
  EXPECT_EQ(verdict({{"Authorization", "Bearer "}, {"x-api-key", ""}}), Verdict::kMissing);
  EXPECT_EQ(verdict({{"Authorization", "Bearer secret other"}}), Verdict::kWrong);
  EXPECT_EQ(verdict({}), Verdict::kMissing);
  const HttpRequest one{.headers = {{"x-api-key", "secret"}}};
  const HttpRequest two{.headers = {{"x-api-key", "other"}}};
  EXPECT_NE(keys->check(one, 0).client, keys->check(two, 0).client);
  EXPECT_EQ(keys->check(one, 0).client.find("secret"), std::string::npos);
}

TEST(Admission, EverythingButAShortListAsksForAKey) {
  ServerOptions options;
  options.api_keys = {"secret"};
  TestServer server({}, options);
  TestClient client(server.port());
  for (const char* path : {"/health", "/ping", "/version", "/load", "/metrics", "/openapi.json"}) {
    EXPECT_NE(client.request("GET", path).status, 401) << path;
  }
  for (const char* path : {"/v1/models", "/engine/state", "/nothing", "//health", "/health/",
                           "/HEALTH", "/v1/../health", "/%68ealth", "/pages", "/slots"}) {
    EXPECT_EQ(client.request("GET", path).status, 401) << path;
  }
  for (const char* path : {"/tokenize", "/invocations", "/v1/completions"}) {
    EXPECT_EQ(client.post(path, "{}").status, 401) << path;
  }
}

TEST(Admission, ARefusalSpeaksTheDialectOfItsPath) {
  ServerOptions options;
  options.api_keys = {"secret"};
  TestServer server({}, options);
  TestClient client(server.port());
  auto refused = client.post("/v1/chat/completions", "{}");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.header("www-authenticate"), "Bearer");
  EXPECT_EQ(refused.header("x-content-type-options"), "nosniff");
  EXPECT_EQ(refused.error("type"), "\"AuthenticationError\"");
  refused = client.post("/v1/messages", "{}");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(at(refused.json(), "type"), Value("error"));
  EXPECT_EQ(refused.error("type"), "\"authentication_error\"");
  EXPECT_EQ(metric(server, "octavo:http_refused_total{reason=\"no_key\"}"), 2);
}

TEST(Admission, ARefusedRequestsBodyIsNotWaitedFor) {
  ServerOptions options;
  options.api_keys = {"secret"};
  TestServer server({}, options);
  TestClient client(server.port());
  client.send(
      "POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
      "Expect: 100-continue\r\nContent-Length: 30000000\r\n\r\n");
  const auto refused = client.read_response();
  EXPECT_EQ(refused.status, 401) << "and no 100 Continue before it";
  EXPECT_EQ(refused.header("connection"), "close");
  // One whose body has come already leaves the connection usable.
  TestClient whole(server.port());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(whole.post("/v1/completions", kShort).status, 401);
  EXPECT_EQ(whole.request("POST", "/v1/completions", kShort, key_header("secret")).status, 200);
}

TEST(Admission, AClientHasOnlySoManyRequestsUnderWay) {
  ServerOptions options;
  options.api_keys = {"alice", "bob"};
  options.limits.max_streams_per_client = 2;
  TestServer server({}, options);
  TestClient first(server.port()), second(server.port()), third(server.port());
  for (TestClient* client : {&first, &second}) {
    client->send_request("POST", "/v1/completions", kLong, key_header("alice"));
    ASSERT_TRUE(client->read_until("data: "));
  }
  const auto refused = third.request("POST", "/v1/completions", kShort, key_header("alice"));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.header("retry-after"), "1");
  EXPECT_EQ(refused.error("type"), "\"RateLimitError\"");
  EXPECT_EQ(server.engine().running(), 2) << "the engine has not heard of it";
  EXPECT_EQ(third.request("GET", "/v1/models", "", key_header("alice")).status, 200);
  EXPECT_EQ(third.request("POST", "/v1/completions", kShort, key_header("bob")).status, 200);
  first.close();
  ASSERT_TRUE(server.engine().wait_until_running(1));
  int status = 429;
  for (int i = 0; i < 1000 && status == 429; ++i) {
    status = third.request("POST", "/v1/completions", kShort, key_header("alice")).status;
  }
  EXPECT_EQ(status, 200) << "a stream that has ended makes room";
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(third.request("POST", "/v1/completions", kShort, key_header("alice")).status, 200);
  }
  EXPECT_EQ(metric(server, "octavo:http_limit{limit=\"streams_per_client\"}"), 2);
  EXPECT_GE(metric(server, "octavo:http_refused_total{reason=\"streams_per_client\"}"), 1);
  EXPECT_EQ(metric(server, "octavo:http_clients_tracked"), 2);
}

TEST(Admission, AClientMayAskOnlySoOften) {
  ServerOptions options;
  options.limits.rate_per_client = rate("3/h");
  TestServer server({}, options);
  TestClient client(server.port());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(client.request("GET", "/v1/models").status, 200);
  EXPECT_EQ(client.post("/v1/completions", kShort).status, 200);
  EXPECT_EQ(client.post("/tokenize", R"({"prompt":"x"})").status, 200);
  EXPECT_EQ(client.post("/v1/completions", kShort).status, 200);
  const auto refused = client.post("/v1/completions", kShort);
  EXPECT_EQ(refused.status, 429);
  EXPECT_NEAR(std::stoi(refused.header("retry-after")), 1200, 2);
  EXPECT_EQ(client.request("GET", "/v1/models").status, 200);
  EXPECT_EQ(metric(server, "octavo:http_refused_total{reason=\"rate_per_client\"}"), 1);
}

TEST(Admission, AFullQueueIsA503BeforeTheEngine) {
  ServerOptions options;
  options.limits.max_queue = 2;  // the fake engine claims no room for running requests
  TestServer server({}, options);
  TestClient first(server.port()), second(server.port()), third(server.port());
  for (TestClient* client : {&first, &second}) {
    client->send_request("POST", "/v1/completions", kLong);
    ASSERT_TRUE(client->read_until("data: "));
  }
  const auto refused = third.post("/v1/completions", kShort);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.header("retry-after"), "1");
  EXPECT_EQ(server.engine().running(), 2);
  EXPECT_EQ(third.post("/tokenize", R"({"prompt":"x"})").status, 200);
  EXPECT_EQ(metric(server, "octavo:http_refused_total{reason=\"queue\"}"), 1);
}

TEST(Admission, WhoGuessesKeysIsRefusedEvenWithTheRightOne) {
  ServerOptions options;
  options.api_keys = {"secret"};
  options.limits.key_failures_per_client = rate("2/h");
  TestServer server({}, options);
  TestClient client(server.port());
  const auto status = [&](std::string_view key) {
    return client.request("GET", "/v1/models", "", key_header(key)).status;
  };
  for (int i = 0; i < 10; ++i) EXPECT_EQ(client.request("GET", "/v1/models").status, 401);
  EXPECT_EQ(status("guess"), 401);
  EXPECT_EQ(status("secret"), 200);
  EXPECT_EQ(status("guess 2"), 401);
  EXPECT_EQ(status("secret"), 429);
  EXPECT_EQ(client.request("GET", "/health").status, 200);
  EXPECT_EQ(metric(server, "octavo:http_refused_total{reason=\"wrong_key\"}"), 2);
  EXPECT_EQ(metric(server, "octavo:http_refused_total{reason=\"key_failures\"}"), 1);
}

TEST(Admission, WhatTheTransportRefusesIsCountedAndSpeaksTheDialectToo) {
  ServerOptions options;
  options.max_body_bytes = 10000;
  options.max_header_bytes = 4096;
  options.max_header_count = 20;
  TestServer server({}, options);
  {
    TestClient client(server.port());
    client.send("POST /v1/messages HTTP/1.1\r\nHost: t\r\nContent-Length: 10001\r\n\r\n");
    const auto refused = client.read_response();
    EXPECT_EQ(refused.status, 413);
    EXPECT_EQ(refused.error("type"), "\"request_too_large\"");
  }
  {
    TestClient client(server.port());
    client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3; ++i) client.send("1000\r\n" + std::string(4096, 'x') + "\r\n");
    const auto refused = client.read_response();
    EXPECT_EQ(refused.status, 413);
    EXPECT_EQ(refused.error("type"), "\"RequestTooLargeError\"");
  }
  for (const std::string& headers : {"X: " + std::string(5000, 'x') + "\r\n", [] {
                                       std::string many;
                                       for (int i = 0; i < 30; ++i)
                                         many += "X-" + std::to_string(i) + ": y\r\n";
                                       return many;
                                     }()}) {
    TestClient client(server.port());
    const auto refused = client.request("POST", "/v1/messages", "{}", headers);
    EXPECT_EQ(refused.status, 431);
    EXPECT_EQ(at(refused.json(), "type"), Value("error")) << refused.body;
  }
  EXPECT_EQ(metric(server, "octavo:http_refused_total{reason=\"body_too_large\"}"), 2);
  EXPECT_EQ(metric(server, "octavo:http_refused_total{reason=\"head_too_large\"}"), 2);
}

TEST(Admission, ACompressedBodyIsA415) {
  TestServer server;
  TestClient client(server.port());
  const auto refused =
      client.request("POST", "/v1/completions", "\x1f\x8b",
                     "Content-Type: application/json\r\nContent-Encoding: gzip\r\n");
  EXPECT_EQ(refused.status, 415);
  EXPECT_EQ(refused.header("accept-encoding"), "identity");
  EXPECT_EQ(client
                .request("POST", "/v1/completions", kShort,
                         "Content-Type: application/json\r\nContent-Encoding: identity\r\n")
                .status,
            200);
}

}  // namespace
}  // namespace octavo::serve
