// The server's own part of the transport: listening, accepting, signals, the end. A connection's
// part is in http_connection.cc, the hand-over between threads in http_exchange.cc.
#include "serve/transport/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio.hpp>

#include "base/log.h"
#include "base/status_macros.h"
#include "serve/transport/http_connection.h"
#include "serve/transport/unix_socket.h"

namespace octavo::serve {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr int kBacklog = 4096;
constexpr int kAcceptsAtOnce = 64;
// What the kernel takes of a stream before its client has room; it would go to megabytes. The rest
// waits here, where it is counted (max_unsent_bytes).
constexpr int kUnsentInKernel = 128 << 10;

void set_option(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);
}

// Accepted connections inherit these. A client that has vanished without a word is noticed within
// two minutes, whether something is being sent to it or not.
void set_tcp_options(int fd, double write_seconds) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kUnsentInKernel);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(write_seconds * 1000));
}

}  // namespace

struct HttpServer::Impl : IoState, std::enable_shared_from_this<HttpServer::Impl> {
  explicit Impl(HttpServerOptions o) : IoState(std::move(o)) {}

  using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;
  Acceptor acceptor{context};
  SocketFile socket_file;
  asio::signal_set signals{context};
  asio::steady_timer finish_timer{context};
  int signal_count = 0;
  std::string place;  // that it is bound to, for errors

  Status bind(const asio::generic::stream_protocol::endpoint& endpoint);
  // Gives the address up if there is an error.
  Status check(const error_code& error);
  void stop_accepting();
  void wait_for_signal();
  void count_signal();
};

namespace {

void start_connection(const std::shared_ptr<HttpServer::Impl>& server, Connection::Socket socket) {
  auto connection = std::make_shared<Connection>(std::move(socket), server);
  asio::co_spawn(
      server->context, [connection] { return connection->run(); },
      [](std::exception_ptr failure) {
        if (failure) log_error("http", "a connection ended with an exception");
      });
}

asio::awaitable<void> accept_loop(std::shared_ptr<HttpServer::Impl> server) {
  asio::steady_timer pause(server->context);
  error_code ignored;
  server->acceptor.non_blocking(true, ignored);
  while (server->acceptor.is_open()) {
    auto [error, socket] =
        co_await server->acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      // Out of descriptors, most likely: connections that end will free some.
      log_warning("http", "accept: " + error.message());
      pause.expires_after(std::chrono::milliseconds(100));
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    start_connection(server, std::move(socket));
    // Whoever else is at the door comes in now: the next look at it is a round through all sockets
    // away, and with thousands of streams that takes milliseconds.
    for (int i = 1; i < kAcceptsAtOnce; ++i) {
      Connection::Socket next = server->acceptor.accept(error);
      if (error) break;
      start_connection(server, std::move(next));
    }
  }
}

}  // namespace

void HttpServer::Impl::wait_for_signal() {
  signals.async_wait([self = shared_from_this()](error_code error, int) {
    if (error) return;
    self->count_signal();
    if (self->signal_count < 2) self->wait_for_signal();
  });
}

void HttpServer::Impl::count_signal() {
  ++signal_count;
  if (options.on_signal) options.on_signal(signal_count);
  error_code ignored;
  if (signal_count >= 2) signals.clear(ignored);  // a further one ends the process
}

HttpServer::HttpServer(HttpServerOptions options)
    : impl_(std::make_shared<Impl>(std::move(options))) {}

HttpServer::~HttpServer() {
  // Threads that still hold an exchange may push to the list; it no longer reaches the context.
  impl_->ready->close();
}

Status HttpServer::bind(const std::string& host, int port) {
  impl_->place = host + ":" + std::to_string(port);
  error_code error;
  tcp::resolver resolver(impl_->context);
  const auto found =
      resolver.resolve(host.empty() ? "0.0.0.0" : host, std::to_string(port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error) return invalid_argument("cannot listen on " + impl_->place + ": " + error.message());
  return impl_->bind(found.begin()->endpoint());
}

Status HttpServer::bind_unix(const std::string& path) {
  impl_->place = path;
  RETURN_IF_ERROR(clear_socket_path(path));
  RETURN_IF_ERROR(impl_->bind(asio::local::stream_protocol::endpoint(path)));
  impl_->socket_file = SocketFile(path);
  return ok_status();
}

Status HttpServer::listen() {
  error_code error;
  impl_->acceptor.listen(kBacklog, error);
  return impl_->check(error);
}

Status HttpServer::Impl::bind(const asio::generic::stream_protocol::endpoint& endpoint) {
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error && endpoint.protocol().family() != AF_UNIX) {
    acceptor.set_option(Acceptor::reuse_address(true), error);
    set_tcp_options(acceptor.native_handle(), options.write_seconds);
  }
  if (!error) acceptor.bind(endpoint, error);
  return check(error);
}

Status HttpServer::Impl::check(const error_code& error) {
  if (!error) return ok_status();
  error_code ignored;
  acceptor.close(ignored);
  std::string message = "cannot listen on " + place + ": " + error.message();
  if (error == asio::error::address_in_use)
    message += ". Stop the program that listens there, or choose another port with --port";
  return failed_precondition(std::move(message));
}

void HttpServer::Impl::stop_accepting() {
  error_code ignored;
  acceptor.close(ignored);
  socket_file.remove();
}

int HttpServer::port() const {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (getsockname(impl_->acceptor.native_handle(), address, &size) != 0) return 0;
  if (storage.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
  }
  if (storage.ss_family != AF_INET6) return 0;
  return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
}

void HttpServer::run(std::function<void()> on_running) {
  Impl& impl = *impl_;
  if (impl.options.on_signal) {
    error_code ignored;
    impl.signals.add(SIGINT, ignored);
    impl.signals.add(SIGTERM, ignored);
    impl.wait_for_signal();
  }
  asio::co_spawn(impl.context, accept_loop(impl_), asio::detached);
  if (on_running) asio::post(impl.context, std::move(on_running));
  impl.context.run();
  // Everything that waits holds the server; it is told to end, and polled until it has.
  error_code ignored;
  impl.signals.clear(ignored);
  impl.signals.cancel(ignored);
  impl.finish_timer.cancel();
  impl.stop_accepting();
  for (Connection* connection : impl.connections) connection->close();
  if (impl.handshakes != nullptr) impl.handshakes->join();
  impl.context.restart();
  impl.context.poll();
}

void HttpServer::stop_accepting() {
  asio::post(impl_->context, [impl = impl_] {
    impl->closing = true;
    impl->stop_accepting();
  });
}

void HttpServer::finish(double grace_seconds) {
  asio::post(impl_->context, [impl = impl_, grace_seconds] {
    impl->finishing = true;
    impl->finish_timer.expires_after(
        std::chrono::milliseconds(static_cast<int64_t>(grace_seconds * 1000)));
    impl->finish_timer.async_wait([impl](error_code error) {
      if (!error) impl->context.stop();
    });
    impl->stop_if_finished();
  });
}

std::function<void()> HttpServer::interrupter() const {
  // What is posted must not hold the server either: after run() it would lie there for ever.
  return [weak = impl_->weak_from_this()] {
    if (const auto impl = weak.lock()) {
      asio::post(impl->context, [weak] {
        if (const auto server = weak.lock()) server->count_signal();
      });
    }
  };
}

void HttpServer::close_connections() {
  asio::post(impl_->context, [impl = impl_] {
    for (Connection* connection : impl->connections) connection->close();
  });
}

}  // namespace octavo::serve