// Where the server under test is, and plain request-and-answer calls to it: the model's name,
// /tokenize. Blocking; one thread.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

#include "octavo/status.h"

namespace octavo::bench {

struct Endpoint {
  sockaddr_storage address{};
  socklen_t address_size = 0;
  std::string host_header;  // "127.0.0.1:8000"
  std::string prefix;       // path before the API's: "" or "/llm"
  std::string headers;  // further header lines, each with its end: "Authorization: Bearer …\r\n"
};

// "http://host:port/prefix", also without the scheme. https is refused.
StatusOr<Endpoint> resolve_endpoint(const std::string& url);

// A whole request. `body` empty: GET; else POST with a JSON body.
std::string http_request(const Endpoint& endpoint, std::string_view path, std::string_view body);

struct HttpAnswer {
  int status = 0;
  std::string body;
};

// One keep-alive connection.
class HttpCaller {
 public:
  explicit HttpCaller(const Endpoint& endpoint) : endpoint_(endpoint) {}
  ~HttpCaller();
  HttpCaller(const HttpCaller&) = delete;
  HttpCaller& operator=(const HttpCaller&) = delete;

  StatusOr<HttpAnswer> call(std::string_view path, std::string_view body = {});
  const Endpoint& endpoint() const { return endpoint_; }

 private:
  Status open();
  void close();
  StatusOr<HttpAnswer> exchange(const std::string& request, bool& nothing_came);

  Endpoint endpoint_;
  int fd_ = -1;
};

}  // namespace octavo::bench
