// Connection: one TCP or TLS connection to a server, blocking, with deadlines and a way to be
// woken. One thread. Certificates are checked against the system's authorities (SSL_CERT_FILE and
// SSL_CERT_DIR name others) and against the host's name.
#pragma once

#include <memory>
#include <string_view>

#include "http/url.h"
#include "octavo/status.h"

namespace octavo::http {

struct Limits {
  double connect_seconds = 20;
  double silence_seconds = 60;  // without a byte in either direction; 0: no limit
  int wake_fd = -1;             // once it is readable every wait ends with kCancelled; -1: none
};

class Connection {
 public:
  // Errors (kUnavailable) name the host and the reason; kCancelled as Limits says.
  static StatusOr<std::unique_ptr<Connection>> open(const Url& url, const Limits& limits);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Status write(std::string_view bytes);
  // At least one byte, or 0 at the end.
  StatusOr<size_t> read(char* buffer, size_t size);

 private:
  struct Tls;
  Connection(const Url& url, const Limits& limits);
  Status connect();
  Status start_tls();
  // Waits until the socket can be read or written (poll's events).
  Status wait(short events, double seconds);
  Status broken(const char* what) const;
  // Waits as OpenSSL asks after `result`; an error unless that is what it asked for.
  Status wait_for_tls(int result, const char* what);

  const Url url_;
  const Limits limits_;
  int fd_ = -1;
  std::unique_ptr<Tls> tls_;
};

}  // namespace octavo::http
