// The socket never blocks: each call tries, and waits in poll() when there is nothing to do.
#include "http/connection.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"
#include "base/status_macros.h"

namespace octavo::http {
namespace {

// Where distributions keep their authorities, for programs that were built on another one.
constexpr const char* kAuthorities[] = {"/etc/ssl/certs/ca-certificates.crt",
                                        "/etc/pki/tls/certs/ca-bundle.crt",
                                        "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
                                        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"};

struct ContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, ContextDeleter>;

Context make_context() {
  Context context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) return nullptr;
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  // Servers that close without the closing alert are common; a body's length tells what is whole.
  SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_default_verify_paths(context.get());
  if (std::getenv("SSL_CERT_FILE") == nullptr) {
    for (const char* file : kAuthorities) {
      if (access(file, R_OK) == 0 &&
          SSL_CTX_load_verify_locations(context.get(), file, nullptr) == 1)
        break;
    }
  }
  ERR_clear_error();
  return context;
}

std::string tls_reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "the TLS connection broke" : reason;
}

// Behind a proxy nothing else is reachable; say that it is not used.
std::string proxy_note() {
  for (const char* name : {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"}) {
    if (std::getenv(name) != nullptr)
      return std::string(" (") + name + " is set, but octavo goes through no proxy)";
  }
  return "";
}

bool is_address(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

}  // namespace

struct Connection::Tls {
  Context context;
  SSL* ssl = nullptr;
  ~Tls() { SSL_free(ssl); }
};

Connection::Connection(const Url& url, const Limits& limits) : url_(url), limits_(limits) {}

Connection::~Connection() {
  tls_.reset();
  if (fd_ >= 0) close(fd_);
}

StatusOr<std::unique_ptr<Connection>> Connection::open(const Url& url, const Limits& limits) {
  std::unique_ptr<Connection> connection(new Connection(url, limits));
  RETURN_IF_ERROR(connection->connect());
  if (url.tls) RETURN_IF_ERROR(connection->start_tls());
  return connection;
}

Status Connection::broken(const char* what) const {
  return unavailable(url_.authority() + ": " + what);
}

Status Connection::wait(short events, double seconds) {
  const double deadline = steady_seconds() + seconds;
  for (;;) {
    const double left = seconds > 0 ? deadline - steady_seconds() : 3600;
    if (left <= 0) return broken("no answer in time");
    pollfd watched[2] = {{fd_, events, 0}, {limits_.wake_fd, POLLIN, 0}};
    const int n = poll(watched, 2, static_cast<int>(left * 1000) + 1);
    if (n < 0 && errno != EINTR) return broken(std::strerror(errno));
    if (n <= 0) continue;
    if (watched[1].revents != 0) return cancelled("stopped");
    if (watched[0].revents != 0) return {};
  }
}

Status Connection::connect() {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(url_.host.c_str(), url_.port.c_str(), &hints, &found);
  if (error != 0) {
    return unavailable("cannot resolve " + url_.host + ": " + gai_strerror(error) + proxy_note());
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, freeaddrinfo);
  Status status;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    if (fd_ >= 0) close(fd_);
    fd_ = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd_ < 0) return broken(std::strerror(errno));
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int reason = ::connect(fd_, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (reason == EINPROGRESS) {
      status = wait(POLLOUT, limits_.connect_seconds);
      if (status.code() == StatusCode::kCancelled) return status;
      if (!status.ok()) continue;
      socklen_t size = sizeof reason;
      getsockopt(fd_, SOL_SOCKET, SO_ERROR, &reason, &size);
    }
    if (reason == 0) return {};
    status = unavailable("cannot connect to " + url_.authority() + ": " + std::strerror(reason) +
                         proxy_note());
  }
  return status;
}

Status Connection::start_tls() {
  tls_ = std::make_unique<Tls>();
  tls_->context = make_context();
  if (tls_->context != nullptr) tls_->ssl = SSL_new(tls_->context.get());
  if (tls_->ssl == nullptr) return internal_error("OpenSSL cannot start: " + tls_reason());
  SSL* ssl = tls_->ssl;
  if (is_address(url_.host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), url_.host.c_str());
  } else {
    SSL_set_tlsext_host_name(ssl, url_.host.c_str());
    SSL_set1_host(ssl, url_.host.c_str());
  }
  SSL_set_fd(ssl, fd_);
  for (int result; (result = SSL_connect(ssl)) != 1;) {
    const long verdict = SSL_get_verify_result(ssl);
    if (verdict != X509_V_OK) {
      ERR_clear_error();
      return unavailable(url_.authority() + ": its certificate is not accepted: " +
                         X509_verify_cert_error_string(verdict) +
                         "; SSL_CERT_FILE names a file of authorities to trust");
    }
    RETURN_IF_ERROR(wait_for_tls(result, "TLS handshake"));
  }
  return {};
}

Status Connection::wait_for_tls(int result, const char* what) {
  switch (SSL_get_error(tls_->ssl, result)) {
    case SSL_ERROR_WANT_READ:
      return wait(POLLIN, limits_.silence_seconds);
    case SSL_ERROR_WANT_WRITE:
      return wait(POLLOUT, limits_.silence_seconds);
    default:
      return unavailable(url_.authority() + ": " + what + ": " + tls_reason());
  }
}

Status Connection::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (tls_ != nullptr) {
      size_t written = 0;
      ERR_clear_error();
      const int result = SSL_write_ex(tls_->ssl, bytes.data(), bytes.size(), &written);
      if (result != 1) {
        RETURN_IF_ERROR(wait_for_tls(result, "sending"));
        continue;
      }
      bytes.remove_prefix(written);
      continue;
    }
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      RETURN_IF_ERROR(wait(POLLOUT, limits_.silence_seconds));
    } else if (errno != EINTR) {
      return broken(std::strerror(errno));
    }
  }
  return {};
}

StatusOr<size_t> Connection::read(char* buffer, size_t size) {
  for (;;) {
    if (tls_ != nullptr) {
      size_t got = 0;
      ERR_clear_error();
      const int result = SSL_read_ex(tls_->ssl, buffer, size, &got);
      if (result == 1) return got;
      if (SSL_get_error(tls_->ssl, result) == SSL_ERROR_ZERO_RETURN) return size_t{0};
      RETURN_IF_ERROR(wait_for_tls(result, "receiving"));
      continue;
    }
    const ssize_t n = recv(fd_, buffer, size, 0);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EAGAIN) {
      RETURN_IF_ERROR(wait(POLLIN, limits_.silence_seconds));
    } else if (errno != EINTR) {
      return broken(std::strerror(errno));
    }
  }
}

}  // namespace octavo::http
