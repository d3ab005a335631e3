#include "serve/router.h"

#include <algorithm>
#include <exception>

#include "base/json_writer.h"
#include "base/log.h"
#include "serve/api_key.h"
#include "serve/completions.h"
#include "serve/engine_state.h"
#include "serve/errors.h"
#include "serve/models.h"
#include "serve/page.h"
#include "serve/tokenize.h"

namespace octavo::serve {

namespace {

// Answered at once, on the io thread.
using Immediate = HttpResponse (*)(ServerContext&, const HttpRequest&);
// Answered later, from whichever thread; called on the io thread.
using Deferred = void (*)(ServerContext&, std::shared_ptr<HttpExchange>);
// Answered from the I/O pool, with the parsed body; a returned failure becomes the answer.
using WithBody = Status (*)(ServerContext&, const HttpRequest&, const Value&,
                            std::shared_ptr<HttpExchange>);

struct Route {
  std::string_view path;
  std::string_view methods;       // "GET", "POST", "GET, POST"
  Immediate immediate = nullptr;  // one of the three
  Deferred deferred = nullptr;
  WithBody with_body = nullptr;
  bool generates = false;  // counted by /load, refused while draining
  bool quiet = false;      // probes: no access log line
  bool prefix = false;     // `path` is followed by a parameter
  bool page = false;       // absent with --disable-page
};

HttpResponse health(ServerContext& context, const HttpRequest&) {
  if (context.draining) return {.status = 503, .body = "", .content_type = ""};
  if (const Status engine = context.engine.health(); !engine.ok()) return error_response(engine);
  return {.status = 200, .body = "", .content_type = ""};
}

HttpResponse version(ServerContext&, const HttpRequest&) {
  return {.body = "{\"version\":\"" OCTAVO_VERSION "\"}"};
}

HttpResponse load(ServerContext& context, const HttpRequest&) {
  return {.body = "{\"server_load\":" + std::to_string(context.load.load()) + "}"};
}

HttpResponse metrics(ServerContext& context, const HttpRequest&) {
  return {.body = context.engine.metrics_text() + context.metrics.text(),
          .content_type = "text/plain; version=0.0.4; charset=utf-8"};
}

HttpResponse page(ServerContext&, const HttpRequest& request) {
  return show_page(request);
}

HttpResponse models(ServerContext& context, const HttpRequest&) {
  return list_models(context);
}
HttpResponse one_model(ServerContext& context, const HttpRequest& request) {
  return show_model(context,
                    std::string_view(request.path).substr(std::string_view("/v1/models/").size()));
}

template <StatusOr<std::string> (*answer)(const ServerContext&, const Value&)>
Status respond_with(ServerContext& context, const HttpRequest&, const Value& body,
                    std::shared_ptr<HttpExchange> exchange) {
  StatusOr<std::string> json = answer(context, body);
  if (!json.ok()) return json.status();
  exchange->respond({.body = *std::move(json)});
  return ok_status();
}

constexpr Route kRoutes[] = {
    {.path = "/v1/completions",
     .methods = "POST",
     .with_body = start_completions,
     .generates = true},
    {.path = "/v1/chat/completions", .methods = "POST", .with_body = start_chat, .generates = true},
    {.path = "/v1/models", .methods = "GET", .immediate = models},
    {.path = "/v1/models/", .methods = "GET", .immediate = one_model, .prefix = true},
    {.path = "/tokenize", .methods = "POST", .with_body = respond_with<tokenize>},
    {.path = "/detokenize", .methods = "POST", .with_body = respond_with<detokenize>},
    {.path = "/health", .methods = "GET", .immediate = health, .quiet = true},
    {.path = "/ping", .methods = "GET, POST", .immediate = health, .quiet = true},
    {.path = "/version", .methods = "GET", .immediate = version},
    {.path = "/load", .methods = "GET", .immediate = load, .quiet = true},
    {.path = "/metrics", .methods = "GET", .immediate = metrics, .quiet = true},
    {.path = "/engine/state", .methods = "GET", .deferred = show_engine_state, .quiet = true},
    {.path = "/", .methods = "GET", .immediate = page, .page = true},
    {.path = "/page/",
     .methods = "GET",
     .immediate = page,
     .quiet = true,
     .prefix = true,
     .page = true},
};

const Route* find_route(std::string_view path) {
  for (const Route& route : kRoutes) {
    if (route.prefix ? path.starts_with(route.path) && path.size() > route.path.size()
                     : path == route.path) {
      return &route;
    }
  }
  return nullptr;
}

bool allows(const Route& route, std::string_view method) {
  if (method == "HEAD") method = "GET";
  return method.size() >= 3 && route.methods.find(method) != std::string_view::npos;
}

// A browser asks before it sends JSON from another origin; anyone may (vLLM's default).
HttpResponse preflight(const HttpRequest& request, const Route* route) {
  HttpResponse response{.status = 200, .body = "", .content_type = ""};
  const std::string allowed =
      std::string(route != nullptr ? route->methods : "GET, POST") + ", OPTIONS";
  response.headers = {{"allow", allowed},
                      {"access-control-allow-methods", allowed},
                      {"access-control-max-age", "600"}};
  const std::string_view wanted = request.header("access-control-request-headers");
  response.headers.emplace_back("access-control-allow-headers",
                                wanted.empty() ? "*" : std::string(wanted));
  return response;
}

bool is_json(std::string_view content_type) {
  std::string media(content_type.substr(0, content_type.find(';')));
  while (!media.empty() && media.back() == ' ') media.pop_back();
  std::transform(media.begin(), media.end(), media.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return media == "application/json";
}

// I/O pool. No exception leaves the room; running out of memory is the one to expect.
void answer_body_request(ServerContext& context, const Route& route, const HttpRequest& request,
                         const std::shared_ptr<HttpExchange>& exchange) {
  try {
    StatusOr<Value> body = parse_json(request.body);
    if (!body.ok()) {
      exchange->respond(error_response(Status(body.status()).with_param("body")));
      return;
    }
    if (Status status = route.with_body(context, request, *body, exchange); !status.ok()) {
      exchange->respond(error_response(status));
    }
  } catch (const std::exception& e) {
    log_error("serve", std::string("a request failed with an exception: ") + e.what());
    exchange->respond(error_response(internal_error("Internal server error")));
  }
}

}  // namespace

void Router::handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  const Route* route = find_route(request.path);
  if (route != nullptr && route->page && context_.options.disable_page) route = nullptr;
  if (route != nullptr && route->generates) ++context_.load;
  if (request.method == "OPTIONS") return exchange->respond(preflight(request, route));
  const auto& keys = context_.options.api_keys;
  if (!keys.empty() && path_is_guarded(request.path) &&
      !key_is_valid(request.header("authorization"), keys)) {
    HttpResponse refused = error_response(401, "Unauthorized");
    refused.headers.emplace_back("www-authenticate", "Bearer");
    return exchange->respond(std::move(refused));
  }
  if (route == nullptr) {
    return exchange->respond(
        error_response(404, "Not Found: there is no route `" + request.path + "`."));
  }
  if (!allows(*route, request.method)) {
    HttpResponse refused = error_response(405, "Method Not Allowed: `" + request.path + "` takes " +
                                                   std::string(route->methods) + ".");
    refused.headers.emplace_back("allow", std::string(route->methods));
    return exchange->respond(std::move(refused));
  }
  if (route->immediate != nullptr) return exchange->respond(route->immediate(context_, request));
  if (route->deferred != nullptr) return route->deferred(context_, std::move(exchange));
  if (!is_json(request.header("content-type"))) {
    return exchange->respond(
        error_response(400, "Unsupported Media Type: Only 'application/json' is allowed"));
  }
  if (context_.draining && route->generates) {
    return exchange->respond(error_response(unavailable("The server is shutting down.")));
  }
  context_.pool.post([this, route, exchange = std::move(exchange), request = std::move(request)] {
    answer_body_request(context_, *route, request, exchange);
  });
}

void Router::answered(const HttpRequest& request, int status, double seconds) {
  const Route* route = find_route(request.path);
  if (route != nullptr && route->generates) --context_.load;
  static constexpr std::string_view kMethods[] = {"GET", "POST",   "HEAD", "OPTIONS",
                                                  "PUT", "DELETE", "PATCH"};
  const bool known =
      std::find(std::begin(kMethods), std::end(kMethods), request.method) != std::end(kMethods);
  context_.metrics.record(known ? std::string_view(request.method) : "OTHER",
                          route != nullptr ? route->path : "none", status, seconds);
  const LogLevel level = route != nullptr && route->quiet ? LogLevel::kDebug : LogLevel::kInfo;
  if (!log_enabled(level)) return;
  // A request the transport refused has no line of its own to show.
  const std::string line = request.method.empty() ? "-" : request.method + " " + request.path;
  log(level, "http", request.remote + " - \"" + line + "\" " + std::to_string(status));
}

}  // namespace octavo::serve
