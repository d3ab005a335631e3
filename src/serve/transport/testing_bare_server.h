// BareServer: the transport alone, on a thread, for tests of what it does by itself.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "serve/transport/http_server.h"

namespace octavo::serve {

// A bare transport whose time-outs a test may shorten; "/never" is not
// answered, "/who" with the sender's address and scheme, "/" at once.
class BareServer {
 public:
  explicit BareServer(HttpServerOptions options) : server_(with_handler(std::move(options))) {
    EXPECT_TRUE(server_.bind("127.0.0.1", 0).ok());
    EXPECT_TRUE(server_.listen().ok());
    port_ = server_.port();
    thread_ = std::thread([this] { server_.run(); });
  }
  ~BareServer() {
    server_.close_connections();
    server_.finish(1);
    thread_.join();
  }
  int port() const { return port_; }

 private:
  HttpServerOptions with_handler(HttpServerOptions options) {
    options.handler = [this](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
      if (request.path == "/never") {
        kept_.push_back(std::move(exchange));
      } else if (request.path == "/who") {
        exchange->respond({.body = request.client + " " + request.scheme});
      } else {
        exchange->respond({.body = request.body.empty() ? std::string(200000, 'x') : request.body});
      }
    };
    options.make_error = [](const HttpRequest&, int status, const std::string& message) {
      return HttpResponse{.status = status, .body = message};
    };
    return options;
  }
  std::vector<std::shared_ptr<HttpExchange>> kept_;
  HttpServer server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace octavo::serve
