// TestServer: run_server() over a FakeEngine on a thread; several may be alive. TestClient: a raw
// socket that speaks just enough HTTP to see what really goes over the wire.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "octavo/value.h"
#include "serve/server.h"
#include "serve/testing_fake_engine.h"

namespace octavo::serve {

class TestServer {
 public:
  explicit TestServer(FakeEngine::Options engine = {}, ServerOptions options = {});
  ~TestServer() { stop(); }

  int port() const { return port_; }
  FakeEngine& engine() { return *engine_; }
  static void signal();  // SIGTERM to this process, so to every server in it
  void wait() { thread_.join(); }
  // Ends this server alone.
  void stop();

 private:
  std::function<void()> interrupt_;
  std::unique_ptr<FakeEngine> engine_;
  int port_ = 0;
  std::thread thread_;
};

struct TestResponse {
  int status = 0;                                            // 0: the connection ended
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;

  std::string header(std::string_view name) const;
  Value json() const;  // null if the body is none
  std::string error(
      std::string_view field) const;  // of {"error":{…}}, as JSON; "" if there is no such object
};

class TestClient {
 public:
  explicit TestClient(int port, int receive_buffer = 0);
  ~TestClient() { close(); }
  TestClient(const TestClient&) = delete;

  void send(std::string_view bytes);
  // As much as the socket takes without waiting.
  size_t send_some(std::string_view bytes);
  void send_request(std::string_view method, std::string_view path, std::string_view body = "",
                    std::string_view more_headers = "Content-Type: application/json\r\n");
  TestResponse read_response(bool head = false);
  TestResponse request(std::string_view method, std::string_view path, std::string_view body = "",
                       std::string_view more_headers = "Content-Type: application/json\r\n");
  TestResponse post(std::string_view path, std::string_view body) {
    return request("POST", path, body);
  }
  // Reads until `text` has come; false if the connection ended first.
  bool read_until(std::string_view text);
  // True if the server closes within `seconds`; what comes meanwhile is dropped.
  bool closed_by_server(double seconds);
  void close();
  int fd() const { return fd_; }
  std::string& buffer() { return buffer_; }

 private:
  bool fill();
  int fd_ = -1;
  std::string buffer_;
};

// The JSON after each `data: ` of an SSE body, "[DONE]" included.
std::vector<std::string> sse_events(std::string_view body);

// The JSON of a request that has some member, with "stream": true besides.
std::string streamed(std::string_view body);

// The events of a streamed request, parsed; checks that it succeeds and ends with "[DONE]", which
// is left out.
std::vector<Value> read_stream(TestClient& client, std::string_view path, std::string_view body);

// A member by path, "choices.0.text"; null if it is not there.
const Value& at(const Value& value, std::string_view path);

}  // namespace octavo::serve
