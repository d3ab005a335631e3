// Address resolution and blocking HTTP calls.
#include "cli/bench/http_call.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/status_macros.h"
#include "http/reader.h"
#include "http/url.h"

namespace octavo::bench {

using http::HttpReader;

StatusOr<Endpoint> resolve_endpoint(const std::string& url) {
  const std::string whole = url.find("://") == std::string::npos ? "http://" + url : url;
  ASSIGN_OR_RETURN(const http::Url parsed, http::parse_url(whole));
  if (parsed.tls) return unimplemented("https is not supported by octavo bench yet: " + url);
  Endpoint endpoint;
  endpoint.prefix = parsed.path;
  while (!endpoint.prefix.empty() && endpoint.prefix.back() == '/') endpoint.prefix.pop_back();

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(parsed.host.c_str(), parsed.port.c_str(), &hints, &found);
  if (error != 0) return unavailable("cannot resolve " + parsed.host + ": " + gai_strerror(error));
  std::memcpy(&endpoint.address, found->ai_addr, found->ai_addrlen);
  endpoint.address_size = found->ai_addrlen;
  freeaddrinfo(found);
  constexpr size_t kScheme = std::string_view("http://").size();
  endpoint.host_header = whole.substr(kScheme, whole.find('/', kScheme) - kScheme);
  return endpoint;
}

std::string http_request(const Endpoint& endpoint, std::string_view path, std::string_view body) {
  std::string out;
  out.reserve(256 + endpoint.headers.size() + body.size());
  out.append(body.empty() ? "GET " : "POST ").append(endpoint.prefix).append(path);
  out.append(" HTTP/1.1\r\nHost: ")
      .append(endpoint.host_header)
      .append("\r\n")
      .append(endpoint.headers);
  if (!body.empty()) {
    out.append("Content-Type: application/json\r\nContent-Length: ");
    out.append(std::to_string(body.size())).append("\r\n");
  }
  out.append("\r\n").append(body);
  return out;
}

HttpCaller::~HttpCaller() {
  close();
}

void HttpCaller::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Status HttpCaller::open() {
  fd_ = socket(endpoint_.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (fd_ < 0 || connect(fd_, reinterpret_cast<const sockaddr*>(&endpoint_.address),
                         endpoint_.address_size) != 0) {
    const std::string reason = std::strerror(errno);
    close();
    return unavailable("cannot connect to " + endpoint_.host_header + ": " + reason);
  }
  return {};
}

StatusOr<HttpAnswer> HttpCaller::exchange(const std::string& request, bool& nothing_came) {
  nothing_came = true;
  for (size_t sent = 0; sent < request.size();) {
    const ssize_t n = send(fd_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return unavailable("the connection to " + endpoint_.host_header + " broke");
    sent += static_cast<size_t>(n);
  }
  HttpReader reader;
  HttpAnswer answer;
  char buffer[16384];
  while (reader.state() != HttpReader::State::kDone) {
    const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
    if (n > 0) nothing_came = false;
    const auto state =
        n > 0 ? reader.feed({buffer, static_cast<size_t>(n)}, answer.body) : reader.finish();
    if (state == HttpReader::State::kBad) {
      return unavailable(endpoint_.host_header + " did not answer in HTTP/1.1");
    }
  }
  answer.status = reader.status();
  if (!reader.keep_alive()) close();
  return answer;
}

StatusOr<HttpAnswer> HttpCaller::call(std::string_view path, std::string_view body) {
  const std::string request = http_request(endpoint_, path, body);
  // A server may have closed an idle connection: try that once more on a fresh one.
  for (bool reused = fd_ >= 0;; reused = false) {
    if (fd_ < 0) RETURN_IF_ERROR(open());
    bool nothing_came = false;
    auto answer = exchange(request, nothing_came);
    if (answer.ok()) return answer;
    close();
    if (!reused || !nothing_came) return answer;
  }
}

}  // namespace octavo::bench
