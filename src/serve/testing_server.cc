#include "serve/testing_server.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <future>

#include "base/clock.h"
#include "base/log.h"

namespace octavo::serve {

TestServer::TestServer(FakeEngine::Options engine_options, ServerOptions options)
    : engine_(std::make_unique<FakeEngine>(engine_options)) {
  set_log_level(LogLevel::kError);
  options.host = "127.0.0.1";
  options.port = 0;
  // The server's thread shares it: set_value() may still be returning there when get() is done.
  const auto ready = std::make_shared<std::promise<Listening>>();
  options.on_ready = [ready](const Listening& at) { ready->set_value(at); };
  thread_ = std::thread([this, options, ready] {
    if (Status status = run_server(*engine_, options); !status.ok()) {
      ready->set_value({.port = -1, .interrupt = [] {}});
    }
  });
  const Listening at = ready->get_future().get();
  port_ = at.port;
  interrupt_ = at.interrupt;
}

void TestServer::signal() {
  kill(getpid(), SIGTERM);
}

void TestServer::stop() {
  if (!thread_.joinable()) return;
  engine_->shutdown(0);  // streams a test has left behind end, so that one interrupt is enough
  interrupt_();
  thread_.join();
}

std::string TestResponse::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return "";
}

Value TestResponse::json() const {
  auto value = parse_json(body);
  return value.ok() ? *value : Value();
}

std::string TestResponse::error(std::string_view field) const {
  const Value whole = json();
  const Value* error = whole.find("error");
  const Value* member = error != nullptr ? error->find(field) : nullptr;
  return member != nullptr ? to_json(*member) : "";
}

TestClient::TestClient(int port, int receive_buffer) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer > 0)
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  timeval limit{.tv_sec = 10, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) close();
}

void TestClient::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void TestClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(n);
  }
}

size_t TestClient::send_some(std::string_view bytes) {
  const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return n < 0 ? 0 : n;
}

void TestClient::send_request(std::string_view method, std::string_view path, std::string_view body,
                              std::string_view more_headers) {
  std::string text = std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: test\r\n";
  text += more_headers;
  if (!body.empty() || method == "POST")
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  text += "\r\n";
  text += body;
  send(text);
}

bool TestClient::fill() {
  char bytes[16384];
  const ssize_t n = recv(fd_, bytes, sizeof bytes, 0);
  if (n <= 0) return false;
  buffer_.append(bytes, n);
  return true;
}

bool TestClient::read_until(std::string_view text) {
  while (buffer_.find(text) == std::string::npos) {
    if (!fill()) return false;
  }
  return true;
}

TestResponse TestClient::read_response(bool head) {
  TestResponse response;
  if (!read_until("\r\n\r\n")) return response;
  const size_t head_end = buffer_.find("\r\n\r\n");
  std::string lines = buffer_.substr(0, head_end + 2);
  buffer_.erase(0, head_end + 4);
  response.status = atoi(lines.c_str() + 9);
  for (size_t pos = lines.find("\r\n") + 2; pos < lines.size();) {
    const size_t end = lines.find("\r\n", pos);
    const size_t colon = lines.find(": ", pos);
    std::string name = lines.substr(pos, colon - pos);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    response.headers.emplace_back(name, lines.substr(colon + 2, end - colon - 2));
    pos = end + 2;
  }
  if (head || response.status == 100) return response;
  const auto need = [&](size_t size) {
    while (buffer_.size() < size) {
      if (!fill()) return false;
    }
    return true;
  };
  const auto take = [&](size_t size) {
    std::string part = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return part;
  };
  if (response.header("transfer-encoding") == "chunked") {
    while (read_until("\r\n")) {
      const size_t size = std::stoul(buffer_, nullptr, 16);
      buffer_.erase(0, buffer_.find("\r\n") + 2);
      if (!need(size + 2)) break;
      response.body += take(size);
      buffer_.erase(0, 2);
      if (size == 0) return response;
    }
    response.status = 0;  // cut short
    return response;
  }
  if (const std::string length = response.header("content-length"); !length.empty()) {
    if (!need(std::stoul(length))) response.status = 0;
    response.body = take(std::stoul(length));
    return response;
  }
  while (fill()) {
  }
  response.body = std::exchange(buffer_, "");
  return response;
}

TestResponse TestClient::request(std::string_view method, std::string_view path,
                                 std::string_view body, std::string_view more_headers) {
  send_request(method, path, body, more_headers);
  return read_response(method == "HEAD");
}

bool TestClient::closed_by_server(double seconds) {
  const double end = steady_seconds() + seconds;
  while (steady_seconds() < end) {
    pollfd poll_fd{.fd = fd_, .events = POLLIN, .revents = 0};
    if (poll(&poll_fd, 1, 20) <= 0) continue;
    if (!fill()) return true;
  }
  return false;
}

std::vector<std::string> sse_events(std::string_view body) {
  std::vector<std::string> events;
  while (!body.empty()) {
    const size_t end = body.find("\n\n");
    if (end == std::string_view::npos || !body.starts_with("data: ")) {
      events.emplace_back("malformed: " + std::string(body));
      break;
    }
    events.emplace_back(body.substr(6, end - 6));
    body.remove_prefix(end + 2);
  }
  return events;
}

std::string streamed(std::string_view body) {
  return std::string(body.substr(0, body.size() - 1)) + R"(,"stream":true})";
}

std::vector<Value> read_stream(TestClient& client, std::string_view path, std::string_view body) {
  const TestResponse response = client.post(path, body);
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.header("content-type"), "text/event-stream; charset=utf-8");
  std::vector<std::string> events = sse_events(response.body);
  EXPECT_FALSE(events.empty());
  if (events.empty()) return {};
  EXPECT_EQ(events.back(), "[DONE]");
  events.pop_back();
  std::vector<Value> values;
  for (const std::string& event : events) {
    auto value = parse_json(event);
    EXPECT_TRUE(value.ok()) << event;
    values.push_back(value.ok() ? *value : Value());
  }
  return values;
}

const Value& at(const Value& value, std::string_view path) {
  static const Value kNull;
  const Value* here = &value;
  while (!path.empty() && here != nullptr) {
    const size_t dot = std::min(path.find('.'), path.size());
    const std::string_view name = path.substr(0, dot);
    path.remove_prefix(std::min(dot + 1, path.size()));
    if (here->is_list()) {
      size_t index = 0;
      std::from_chars(name.data(), name.data() + name.size(), index);
      here = index < here->as_list().size() ? &here->as_list()[index] : nullptr;
    } else {
      here = here->find(name);
    }
  }
  return here != nullptr ? *here : kNull;
}

}  // namespace octavo::serve
