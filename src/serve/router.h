// Router: what is checked before a route (routes.h) is called: API keys and limits (from the head
// alone), methods, content type, JSON. handle() runs on the io thread and answers small GETs there;
// bodies are parsed on the I/O pool.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "serve/access/admission.h"
#include "serve/routes.h"
#include "serve/server_context.h"
#include "serve/transport/cors.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

class Router {
 public:
  Router(ServerContext& context, std::unique_ptr<ApiKeys> keys);

  // From the head of a request: the answer that refuses it, or nothing. io thread.
  std::optional<HttpResponse> admit(HttpRequest& request);

  void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange);
  // Access log, metrics and load, once an answer has been sent or its client has left. io thread.
  void answered(const HttpRequest& request, int status, double seconds);
  // The body of an answer that the transport gives by itself. io thread.
  HttpResponse refusal_of_transport(const HttpRequest& request, int status,
                                    const std::string& message);

 private:
  // The route, if this server has it.
  const Route* present_route(std::string_view path) const;
  // Leads to the route that the path has a slash too much for, if there is one for the method.
  HttpResponse no_route(const HttpRequest& request) const;

  ServerContext& context_;
  const Cors cors_;
  Admission admission_;
};

}  // namespace octavo::serve
