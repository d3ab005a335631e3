// Router: which code answers which path, and what is checked before it: API keys, methods, content
// type, JSON. handle() runs on the io thread and answers small GETs there; bodies are parsed on the
// I/O pool.
#pragma once

#include <memory>
#include <string>

#include "serve/http_server.h"
#include "serve/server_context.h"

namespace octavo::serve {

class Router {
 public:
  explicit Router(ServerContext& context) : context_(context) {}

  void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange);
  // Access log, metrics and load, once an answer has been sent or its client has left. io thread.
  void answered(const HttpRequest& request, int status, double seconds);

 private:
  ServerContext& context_;
};

}  // namespace octavo::serve
