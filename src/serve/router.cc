#include "serve/router.h"

#include <algorithm>
#include <exception>

#include "base/log.h"
#include "serve/errors.h"
#include "serve/json_fields.h"

namespace octavo::serve {

namespace {

bool is_json(std::string_view content_type) {
  std::string media(content_type.substr(0, content_type.find(';')));
  while (!media.empty() && media.back() == ' ') media.pop_back();
  std::transform(media.begin(), media.end(), media.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return media == "application/json";
}

// The same request, body and all, is to go there.
HttpResponse redirect(std::string location) {
  return {.status = 307,
          .body = "",
          .content_type = "",
          .headers = {{"location", std::move(location)}}};
}

// Counts one more until the ticket goes.
std::shared_ptr<void> count(const std::shared_ptr<std::atomic<int>>& counter) {
  ++*counter;
  return {counter.get(), [counter](void*) { --*counter; }};
}

// I/O pool. No exception leaves the room; running out of memory is the one to expect.
void answer_body_request(ServerContext& context, const Route& route, const HttpRequest& request,
                         const std::shared_ptr<HttpExchange>& exchange) {
  try {
    StatusOr<Value> body = parse_body(request.body);
    if (!body.ok()) {
      exchange->respond(error_response_for(request, Status(body.status()).with_param("body")));
      return;
    }
    if (Status status = route.with_body(context, request, *body, exchange); !status.ok()) {
      exchange->respond(error_response_for(request, status));
    }
  } catch (const std::exception& e) {
    log_error("serve", std::string("a request failed with an exception: ") + e.what());
    exchange->respond(error_response_for(request, internal_error("Internal server error")));
  }
}

}  // namespace

Router::Router(ServerContext& context, std::unique_ptr<ApiKeys> keys)
    : context_(context),
      cors_(context.options.cors),
      admission_(context.options.limits, std::move(keys), context.engine, *context.load,
                 context.metrics.registry()) {}

std::optional<HttpResponse> Router::admit(HttpRequest& request) {
  if (request.method == "OPTIONS") return std::nullopt;  // browsers send no key with these
  const Route* route = find_route(request.path);
  const bool works =
      route != nullptr && route->with_body != nullptr && allows(*route, request.method);
  if (auto refusal = admission_.admit(request, {.needs_key = !path_is_open(request.path),
                                                .works = works,
                                                .generates = works && route->generates})) {
    return refusal;
  }
  const std::string_view coding = request.header("content-encoding");
  if (works && !coding.empty() && coding != "identity") {
    HttpResponse refused = error_response_for(
        request, 415, "Content-Encoding is not supported: send the body as it is.");
    refused.headers.emplace_back("accept-encoding", "identity");
    return refused;
  }
  return std::nullopt;
}

HttpResponse Router::refusal_of_transport(const HttpRequest& request, int status,
                                          const std::string& message) {
  admission_.count_refusal_of_transport(status);
  return error_response_for(request, status, message);
}

const Route* Router::present_route(std::string_view path) const {
  const Route* route = find_route(path);
  const bool present =
      route != nullptr && (route->present == nullptr || route->present(context_.options));
  return present ? route : nullptr;
}

HttpResponse Router::no_route(const HttpRequest& request) const {
  std::string_view path = request.path;
  while (path.ends_with('/')) path.remove_suffix(1);
  const Route* route = present_route(path);
  if (route == nullptr || !allows(*route, request.method)) {
    return error_response_for(request, 404, "Not Found: there is no route `" + request.path + "`.");
  }
  return redirect(context_.options.root_path + std::string(path) +
                  (request.query.empty() ? "" : "?" + request.query));
}

void Router::handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  const Route* route = present_route(request.path);
  if (request.method == "OPTIONS") {
    const std::string_view methods = route != nullptr ? route->methods : "GET, POST";
    return exchange->respond(cors_.preflight(request, methods));
  }
  // Links of the page are relative, and lead below the root path only from behind its slash.
  if (request.path.empty() && !context_.options.disable_page) {
    return exchange->respond(redirect(context_.options.root_path + "/"));
  }
  if (route == nullptr) return exchange->respond(no_route(request));
  if (!allows(*route, request.method)) {
    HttpResponse refused = error_response_for(
        request, 405,
        "Method Not Allowed: `" + request.path + "` takes " + std::string(route->methods) + ".");
    refused.headers.emplace_back("allow", std::string(route->methods));
    return exchange->respond(std::move(refused));
  }
  if (route->immediate != nullptr) return exchange->respond(route->immediate(context_, request));
  if (route->deferred != nullptr) return route->deferred(context_, request, std::move(exchange));
  if (!is_json(request.header("content-type"))) {
    return exchange->respond(error_response_for(
        request, 400, "Unsupported Media Type: Only 'application/json' is allowed"));
  }
  if (context_.draining && route->generates) {
    return exchange->respond(
        error_response_for(request, unavailable("The server is shutting down.")));
  }
  if (route->generates) exchange->hold(count(context_.load));
  context_.pool_for(request.body.size())
      .post([this, route, exchange = std::move(exchange), request = std::move(request)] {
        answer_body_request(context_, *route, request, exchange);
      });
}

void Router::answered(const HttpRequest& request, int status, double seconds) {
  const Route* route = find_route(request.path);
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
