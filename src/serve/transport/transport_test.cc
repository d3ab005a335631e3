// The transport over real sockets: keep-alive, limits, time-outs, clients that vanish or do not
// read, shutdown.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <thread>

#include "base/clock.h"
#include "serve/testing_server.h"
#include "serve/transport/testing_bare_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kLongStream = R"({"prompt":"x","max_tokens":1000000,"stream":true})";

template <typename Condition>
bool eventually(Condition condition, double seconds = 5) {
  const double end = steady_seconds() + seconds;
  while (!condition()) {
    if (steady_seconds() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

TEST(Transport, NobodyCanConnectBeforeItListensAndOneServerAloneDoes) {
  HttpServer server({}), other({});
  ASSERT_TRUE(server.bind("127.0.0.1", 0).ok());
  ASSERT_TRUE(other.bind("127.0.0.1", server.port()).ok());
  EXPECT_LT(TestClient(server.port()).fd(), 0);
  EXPECT_TRUE(server.listen().ok());
  EXPECT_GE(TestClient(server.port()).fd(), 0);
  const std::string place = "127.0.0.1:" + std::to_string(server.port());
  for (const Status& late : {other.listen(), HttpServer({}).bind("127.0.0.1", server.port())}) {
    EXPECT_NE(late.message().find(place), std::string::npos) << late.message();
    EXPECT_NE(late.message().find("in use"), std::string::npos) << late.message();
  }
}

TEST(Transport, KeepAliveAndPipelining) {
  TestServer server;
  TestClient client(server.port());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(client.request("GET", "/version").status, 200);
  const std::string body = R"({"prompt":"x","max_tokens":2,"stream":true})";
  std::string batch;
  for (int i = 0; i < 5; ++i) {
    batch +=
        "POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Type: "
        "application/json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body +
        "GET /version HTTP/1.1\r\nHost: t\r\n\r\n";
  }
  client.send(batch);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(sse_events(client.read_response().body).size(), 3u);
    EXPECT_NE(client.read_response().body.find("version"), std::string::npos);
  }
}

TEST(Transport, RequestsMayComeByteByByteAndChunked) {
  TestServer server;
  TestClient client(server.port());
  const std::string request =
      "POST /detokenize HTTP/1.1\r\nHost: t\r\nContent-Type: "
      "application/json\r\nTransfer-Encoding: "
      "chunked\r\n\r\n5\r\n{\"tok\r\nb\r\nens\":[104]}\r\n0\r\n\r\n";
  for (const char c : request) client.send(std::string_view(&c, 1));
  EXPECT_EQ(client.read_response().body, "{\"prompt\":\"h\"}");
}

TEST(Transport, ConnectionCloseAndHttp10) {
  TestServer server;
  {
    TestClient client(server.port());
    const auto response = client.request("GET", "/version", "", "Connection: close\r\n");
    EXPECT_EQ(response.header("connection"), "close");
    EXPECT_TRUE(client.closed_by_server(2));
  }
  {
    TestClient client(server.port());
    const std::string body = R"({"prompt":"x","max_tokens":2,"stream":true})";
    client.send(
        "POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body);
    const auto response = client.read_response();
    EXPECT_EQ(response.header("transfer-encoding"), "");
    EXPECT_EQ(sse_events(response.body).size(), 3u);
  }
}

TEST(Transport, HeadHasTheHeadersAndNoBody) {
  TestServer server;
  TestClient client(server.port());
  const auto head = client.request("HEAD", "/version");
  EXPECT_EQ(head.status, 200);
  EXPECT_GT(std::stoi(head.header("content-length")), 5);
  EXPECT_EQ(client.request("GET", "/version").status, 200);
}

TEST(Transport, ExpectContinueIsAnsweredOnceTheBodyIsWanted) {
  TestServer server;
  TestClient client(server.port());
  client.send(
      "POST /detokenize HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nExpect: "
      "100-continue\r\n"
      "Content-Length: 16\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 100);
  client.send("{\"tokens\":[104]}");
  EXPECT_EQ(client.read_response().status, 200);
  client.send(
      "POST /detokenize HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nExpect: "
      "100-continue\r\n"
      "Content-Length: 99999999\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 413);
}

TEST(Transport, LimitsOfBodyAndHeaders) {
  ServerOptions options;
  options.max_body_bytes = 10000;
  options.max_header_bytes = 4096;
  TestServer server({}, options);
  {
    // The whole body is sent before the answer is read, as simple clients do.
    TestClient client(server.port());
    const auto response = client.post("/v1/completions", std::string(20 << 20, 'x'));
    EXPECT_EQ(response.status, 413);
    EXPECT_EQ(response.error("code"), "413");
    ::shutdown(client.fd(), SHUT_WR);
    EXPECT_TRUE(client.closed_by_server(2));
  }
  {
    TestClient client(server.port());
    client.send(
        "POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" +
        std::string(20000, 'x'));
    EXPECT_EQ(client.read_response().status, 413);
  }
  {
    TestClient client(server.port());
    const auto response =
        client.request("GET", "/version", "", "X-Long: " + std::string(5000, 'x') + "\r\n");
    EXPECT_EQ(response.status, 431);
    EXPECT_EQ(response.error("code"), "431");
  }
  {
    TestClient client(server.port());
    client.send("GET /" + std::string(10000, 'x'));
    EXPECT_EQ(client.read_response().status, 431);
  }
  TestClient client(server.port());
  EXPECT_EQ(client.request("GET", "/health").status, 200);
}

TEST(Transport, GarbageIsA400AndNothingElseIsLost) {
  TestServer server;
  for (const std::string& bytes :
       {std::string("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 12), std::string("hello\r\n\r\n"),
        std::string("GET / HTTP/9.9\r\n\r\n"), std::string("GET  HTTP/1.1\r\n\r\n"),
        std::string("POST /v1/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n"),
        std::string(
            "POST /v1/completions HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        std::string("POST /v1/completions HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n"),
        std::string("POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        std::string("GET / HTTP/1.1\r\nno colon\r\n\r\n"), std::string(5000, '\0')}) {
    TestClient client(server.port());
    client.send(bytes);
    ::shutdown(client.fd(), SHUT_WR);
    const auto response = client.read_response();
    EXPECT_EQ(response.status, 400) << bytes.substr(0, 60);
    EXPECT_EQ(response.error("code"), "400");
  }
  TestClient client(server.port());
  EXPECT_EQ(client.request("GET", "/health").status, 200);
}

TEST(Transport, SilentAndSlowClientsAreLetGo) {
  BareServer server({.keep_alive_seconds = 0.1, .read_seconds = 0.2});
  TestClient silent(server.port());
  TestClient half_head(server.port());
  half_head.send("GET / HT");
  TestClient half_body(server.port());
  half_body.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab");
  TestClient idle(server.port());
  EXPECT_EQ(idle.request("POST", "/", "x").status, 200);
  TestClient waits(server.port());
  waits.send_request("GET", "/never");
  EXPECT_EQ(half_head.read_response().status, 408);
  EXPECT_EQ(half_body.read_response().status, 408);
  EXPECT_TRUE(silent.closed_by_server(2));
  EXPECT_TRUE(idle.closed_by_server(2));
  EXPECT_FALSE(waits.closed_by_server(0.3)) << "an answer may take as long as it takes";
}

TEST(Transport, ABodyThatTricklesInIsCutOffAlthoughItNeverStops) {
  BareServer server({.keep_alive_seconds = 0.1, .read_seconds = 0.3});
  TestClient client(server.port());
  client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n");
  const double start = steady_seconds();
  bool answered = false;
  while (!answered && steady_seconds() < start + 5) {
    client.send("x");
    pollfd state{.fd = client.fd(), .events = POLLIN, .revents = 0};
    answered = poll(&state, 1, 20) > 0;
  }
  EXPECT_EQ(client.read_response().status, 408);
}

TEST(Transport, AStuckWriterIsCutOffByTime) {
  BareServer server({.write_seconds = 0.2});
  TestClient client(server.port(), 4096);
  for (int i = 0; i < 100; ++i) client.send_request("GET", "/");
  // 20 MB are owed and nothing is read: the server's side of the connection goes away.
  EXPECT_TRUE(eventually([&] {
    pollfd state{.fd = client.fd(), .events = POLLOUT, .revents = 0};
    client.send_some("x");
    poll(&state, 1, 0);
    return (state.revents & (POLLHUP | POLLERR)) != 0;
  }));
}

TEST(Streams, ADisconnectCancelsTheRequest) {
  TestServer server;
  TestClient streaming(server.port()), whole(server.port()), several(server.port());
  streaming.send_request("POST", "/v1/completions", kLongStream);
  ASSERT_TRUE(streaming.read_until("\"text\":\"c\""));
  whole.send_request("POST", "/v1/completions", R"({"prompt":"x","max_tokens":1000000})");
  several.send_request("POST", "/v1/completions",
                       R"({"prompt":["x","y","z"],"max_tokens":1000000})");
  ASSERT_TRUE(server.engine().wait_until_running(5));
  streaming.close();
  whole.close();
  several.close();
  const double start = steady_seconds();
  EXPECT_TRUE(server.engine().wait_until_running(0));
  EXPECT_LT(steady_seconds() - start, 1);
  EXPECT_EQ(server.engine().cancelled() + server.engine().refused_by_sink(), 5);
  TestClient other(server.port());
  EXPECT_TRUE(
      eventually([&] { return other.request("GET", "/load").body == R"({"server_load":0})"; }));
}

TEST(Streams, AClientThatDoesNotReadIsBoundedAndCutOff) {
  ServerOptions options;
  options.max_unsent_bytes = 64 << 10;
  TestServer server({.step_seconds = 0.0005, .text_repeat = 20000}, options);
  TestClient slow(server.port(), 4096), good(server.port());
  slow.send_request("POST", "/v1/completions", kLongStream);
  EXPECT_TRUE(server.engine().wait_until_running(1));
  EXPECT_TRUE(server.engine().wait_until_running(0)) << "the request was not cancelled";
  EXPECT_EQ(good.post("/v1/completions", R"({"prompt":"x","max_tokens":2})").status, 200);
  // The socket is closed: what the kernel had taken can be read, then the stream ends unfinished.
  EXPECT_TRUE(slow.closed_by_server(5));
  EXPECT_EQ(slow.buffer().find("[DONE]"), std::string::npos);
}

TEST(Streams, FiveHundredAtOnceAreWhole) {
  TestServer server({.step_seconds = 0.005});
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 500; ++i) {
    clients.push_back(std::make_unique<TestClient>(server.port()));
    clients.back()->send_request("POST", "/v1/completions",
                                 R"({"prompt":"x","max_tokens":40,"stream":true})");
  }
  for (auto& client : clients) {
    const auto response = client->read_response();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(sse_events(response.body).size(), 41u);
    EXPECT_TRUE(response.body.ends_with("data: [DONE]\n\n"));
  }
}

TEST(Shutdown, StreamsFinishAndNewWorkIsRefused) {
  TestServer server({.step_seconds = 0.01});
  TestClient streaming(server.port()), kept(server.port());
  EXPECT_EQ(kept.request("GET", "/health").status, 200);
  streaming.send_request("POST", "/v1/completions",
                         R"({"prompt":"x","max_tokens":40,"stream":true})");
  ASSERT_TRUE(streaming.read_until("data: "));
  TestServer::signal();
  EXPECT_TRUE(eventually([&] { return TestClient(server.port()).fd() < 0; })) << "still accepts";
  EXPECT_EQ(kept.request("GET", "/health").status, 503);
  const auto response = streaming.read_response();
  EXPECT_EQ(sse_events(response.body).size(), 41u);
  server.wait();
}

TEST(Shutdown, TheTimeoutAbortsWhatIsLeft) {
  ServerOptions options;
  options.shutdown_timeout_seconds = 0.1;
  TestServer server({}, options);
  TestClient streaming(server.port());
  streaming.send_request("POST", "/v1/completions", kLongStream);
  ASSERT_TRUE(streaming.read_until("data: "));
  TestServer::signal();
  server.wait();
  const auto response = streaming.read_response();
  EXPECT_NE(response.body.find("\"finish_reason\":\"abort\""), std::string::npos);
  EXPECT_TRUE(response.body.ends_with("data: [DONE]\n\n"));
}

TEST(Shutdown, ASecondSignalStopsAtOnce) {
  TestServer server;
  TestClient streaming(server.port());
  streaming.send_request("POST", "/v1/completions", kLongStream);
  ASSERT_TRUE(streaming.read_until("data: "));
  const double start = steady_seconds();
  TestServer::signal();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  TestServer::signal();
  server.wait();
  EXPECT_LT(steady_seconds() - start, 2);
}

TEST(Shutdown, OfOneServerLeavesAnotherInTheProcessAlone) {
  TestServer lasting, ending;
  ending.stop();
  EXPECT_LT(TestClient(ending.port()).fd(), 0);
  TestClient client(lasting.port());
  EXPECT_EQ(client.request("GET", "/health").status, 200);
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"x"})").status, 200);
}

}  // namespace
}  // namespace octavo::serve
