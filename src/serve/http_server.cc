// The server's own part of the transport: listening, accepting, signals, the end. A connection's
// part is in http_connection.cc, the hand-over between threads in http_exchange.cc.
#include "serve/http_server.h"

#include <boost/asio.hpp>
#include <boost/beast/core/string.hpp>

#include "base/log.h"
#include "serve/http_connection.h"

namespace octavo::serve {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr int kBacklog = 4096;

}  // namespace

struct HttpServer::Impl : IoState, std::enable_shared_from_this<HttpServer::Impl> {
  explicit Impl(HttpServerOptions o) : IoState(std::move(o)) {}

  tcp::acceptor acceptor{context};
  asio::signal_set signals{context};
  asio::steady_timer finish_timer{context};
  int signal_count = 0;

  void wait_for_signal();
};

namespace {

asio::awaitable<void> accept_loop(std::shared_ptr<HttpServer::Impl> server) {
  asio::steady_timer pause(server->context);
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
    auto connection = std::make_shared<Connection>(std::move(socket), server);
    asio::co_spawn(
        server->context, [connection] { return connection->run(); },
        [](std::exception_ptr failure) {
          if (failure) log_error("http", "a connection ended with an exception");
        });
  }
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (boost::beast::iequals(key, name)) return value;
  }
  return {};
}

void HttpServer::Impl::wait_for_signal() {
  signals.async_wait([self = shared_from_this()](error_code error, int) {
    if (error) return;
    self->options.on_signal(++self->signal_count);
    if (self->signal_count < 2) {
      self->wait_for_signal();
    } else {
      error_code ignored;
      self->signals.clear(ignored);  // a third one ends the process
    }
  });
}

HttpServer::HttpServer(HttpServerOptions options)
    : impl_(std::make_shared<Impl>(std::move(options))) {}

HttpServer::~HttpServer() {
  // Threads that still hold an exchange may push to the list; it no longer reaches the context.
  impl_->ready->close();
}

Status HttpServer::listen(const std::string& host, int port) {
  const std::string place = host + ":" + std::to_string(port);
  error_code error;
  tcp::resolver resolver(impl_->context);
  const auto found =
      resolver.resolve(host.empty() ? "0.0.0.0" : host, std::to_string(port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error) return invalid_argument("cannot listen on " + place + ": " + error.message());
  const tcp::endpoint endpoint = *found.begin();
  tcp::acceptor& acceptor = impl_->acceptor;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(kBacklog, error);
  if (error) {
    error_code ignored;
    acceptor.close(ignored);
    return failed_precondition("cannot listen on " + place + ": " + error.message());
  }
  return ok_status();
}

int HttpServer::port() const {
  error_code ignored;
  return impl_->acceptor.local_endpoint(ignored).port();
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
  impl.acceptor.close(ignored);
  for (Connection* connection : impl.connections) connection->close();
  impl.context.restart();
  impl.context.poll();
}

void HttpServer::stop_accepting() {
  asio::post(impl_->context, [impl = impl_] {
    impl->closing = true;
    error_code ignored;
    impl->acceptor.close(ignored);
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

void HttpServer::close_connections() {
  asio::post(impl_->context, [impl = impl_] {
    for (Connection* connection : impl->connections) connection->close();
  });
}

}  // namespace octavo::serve