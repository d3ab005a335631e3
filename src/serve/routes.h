// The table of routes: which code answers which path. Router looks up here; what is checked before
// a route is called is its business.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// Answered at once, on the io thread.
using Immediate = HttpResponse (*)(ServerContext&, const HttpRequest&);
// Answered later, from whichever thread; called on the io thread.
using Deferred = void (*)(ServerContext&, const HttpRequest&, std::shared_ptr<HttpExchange>);
// Answered from the I/O pool, with the parsed body; a returned failure becomes the answer.
using WithBody = Status (*)(ServerContext&, const HttpRequest&, const Value&,
                            std::shared_ptr<HttpExchange>);

struct Route {
  std::string_view path;          // `{id}` stands for one segment
  std::string_view methods;       // "GET", "POST", "GET, POST"
  Immediate immediate = nullptr;  // one of the three
  Deferred deferred = nullptr;
  WithBody with_body = nullptr;
  bool generates = false;  // counted by /load, refused while draining
  bool quiet = false;      // probes: no access log line
  bool prefix = false;     // `path` is followed by a parameter
  // Whether this server has the route; null: every server has.
  bool (*present)(const ServerOptions&) = nullptr;
};

// All that any server may have. Constant; any thread.
std::span<const Route> all_routes();

// The route of a path, or null.
const Route* find_route(std::string_view path);

// Whether the route takes the method. HEAD is taken like GET.
bool allows(const Route& route, std::string_view method);

}  // namespace octavo::serve
