#include "serve/router.h"

#include <algorithm>
#include <exception>

#include "base/json_writer.h"
#include "base/log.h"
#include "serve/errors.h"
#include "serve/json_fields.h"
#include "serve/messages/messages.h"
#include "serve/openai/chat_batch.h"
#include "serve/openai/completions.h"
#include "serve/openai/generate.h"
#include "serve/openai/render.h"
#include "serve/responses/responses.h"
#include "serve/views/dev_routes.h"
#include "serve/views/engine_state.h"
#include "serve/views/llama_views.h"
#include "serve/views/models.h"
#include "serve/views/openapi.h"
#include "serve/views/page.h"
#include "serve/views/process_metrics.h"
#include "serve/views/tokenize.h"

namespace octavo::serve {

namespace {

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

constexpr auto kWithPage = [](const ServerOptions& o) { return !o.disable_page; };
constexpr auto kInDevMode = [](const ServerOptions& o) { return o.dev_mode; };
constexpr auto kWithTokenizerInfo = [](const ServerOptions& o) {
  return o.enable_tokenizer_info_endpoint;
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
  return {.body = "{\"server_load\":" + std::to_string(context.load->load()) + "}"};
}

HttpResponse metrics(ServerContext& context, const HttpRequest&) {
  return {.body = context.engine.metrics_text() + context.metrics.text() + process_metrics_text(),
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

// SageMaker knows one path for all; the body tells what it is.
Status start_invocation(ServerContext& context, const HttpRequest& request, const Value& body,
                        std::shared_ptr<HttpExchange> exchange) {
  if (body.find("messages") != nullptr) return start_chat(context, request, body, exchange);
  if (body.find("prompt") != nullptr) return start_completions(context, request, body, exchange);
  return invalid_argument(
             "Cannot find suitable handler for request: it is a chat with `messages`, or a "
             "completion with `prompt`.")
      .with_param("body");
}

constexpr Route kRoutes[] = {
    {.path = "/v1/completions",
     .methods = "POST",
     .with_body = start_completions,
     .generates = true},
    {.path = "/v1/chat/completions", .methods = "POST", .with_body = start_chat, .generates = true},
    {.path = "/v1/responses", .methods = "POST", .with_body = start_response, .generates = true},
    {.path = "/v1/responses/{id}", .methods = "GET, DELETE", .immediate = stored_response},
    {.path = "/v1/responses/{id}/input_items", .methods = "GET", .immediate = response_input_items},
    {.path = "/v1/responses/{id}/cancel", .methods = "POST", .immediate = cancel_response},
    {.path = "/v1/messages", .methods = "POST", .with_body = start_messages, .generates = true},
    {.path = "/v1/messages/count_tokens",
     .methods = "POST",
     .with_body = respond_with<count_message_tokens>},
    {.path = "/v1/chat/completions/batch",
     .methods = "POST",
     .with_body = start_chat_batch,
     .generates = true},
    {.path = "/invocations", .methods = "POST", .with_body = start_invocation, .generates = true},
    {.path = "/v1/completions/render", .methods = "POST", .with_body = render_completions},
    {.path = "/v1/chat/completions/render", .methods = "POST", .with_body = render_chat},
    {.path = "/inference/v1/generate",
     .methods = "POST",
     .with_body = start_generate,
     .generates = true},
    {.path = "/v1/models", .methods = "GET", .immediate = models},
    {.path = "/v1/models/", .methods = "GET", .immediate = one_model, .prefix = true},
    {.path = "/tokenize", .methods = "POST", .with_body = respond_with<tokenize>},
    {.path = "/detokenize", .methods = "POST", .with_body = respond_with<detokenize>},
    {.path = "/tokenizer_info",
     .methods = "GET",
     .deferred = show_tokenizer_info,
     .present = kWithTokenizerInfo},
    {.path = "/reset_prefix_cache",
     .methods = "POST",
     .immediate = reset_prefix_cache,
     .present = kInDevMode},
    {.path = "/abort_requests",
     .methods = "POST",
     .with_body = respond_with<abort_requests>,
     .present = kInDevMode},
    {.path = "/server_info",
     .methods = "GET",
     .immediate = show_server_info,
     .present = kInDevMode},
    {.path = "/health", .methods = "GET", .immediate = health, .quiet = true},
    {.path = "/ping", .methods = "GET, POST", .immediate = health, .quiet = true},
    {.path = "/version", .methods = "GET", .immediate = version},
    {.path = "/load", .methods = "GET", .immediate = load, .quiet = true},
    {.path = "/metrics", .methods = "GET", .immediate = metrics, .quiet = true},
    {.path = "/engine/state", .methods = "GET", .deferred = show_engine_state, .quiet = true},
    {.path = "/slots", .methods = "GET", .deferred = show_slots, .quiet = true},
    {.path = "/props", .methods = "GET", .immediate = show_props, .quiet = true},
    {.path = "/apply-template", .methods = "POST", .with_body = respond_with<apply_template>},
    {.path = "/openapi.json", .methods = "GET", .immediate = show_openapi, .quiet = true},
    {.path = "/", .methods = "GET", .immediate = page, .present = kWithPage},
    {.path = "/page/",
     .methods = "GET",
     .immediate = page,
     .quiet = true,
     .prefix = true,
     .present = kWithPage},
};

bool matches(const Route& route, std::string_view path) {
  if (route.prefix) return path.starts_with(route.path) && path.size() > route.path.size();
  const size_t open = route.path.find('{');
  if (open == std::string_view::npos) return path == route.path;
  const std::string_view head = route.path.substr(0, open);
  const std::string_view tail = route.path.substr(route.path.find('}') + 1);
  if (path.size() <= head.size() + tail.size()) return false;
  const std::string_view segment = path.substr(open, path.size() - head.size() - tail.size());
  return path.starts_with(head) && path.ends_with(tail) &&
         segment.find('/') == std::string_view::npos;
}

const Route* find_route(std::string_view path) {
  for (const Route& route : kRoutes) {
    if (matches(route, path)) return &route;
  }
  return nullptr;
}

bool allows(const Route& route, std::string_view method) {
  if (method == "HEAD") method = "GET";
  for (std::string_view rest = route.methods; !rest.empty();) {
    const size_t comma = std::min(rest.find(", "), rest.size());
    if (rest.substr(0, comma) == method) return true;
    rest.remove_prefix(std::min(comma + 2, rest.size()));
  }
  return false;
}

bool is_json(std::string_view content_type) {
  std::string media(content_type.substr(0, content_type.find(';')));
  while (!media.empty() && media.back() == ' ') media.pop_back();
  std::transform(media.begin(), media.end(), media.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return media == "application/json";
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

std::vector<Router::RouteView> Router::routes() {
  std::vector<RouteView> out;
  for (const Route& route : kRoutes) out.push_back({route.path, route.methods, route.prefix});
  return out;
}

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

void Router::handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  const Route* route = find_route(request.path);
  if (route != nullptr && route->present != nullptr && !route->present(context_.options)) {
    route = nullptr;
  }
  if (request.method == "OPTIONS") {
    const std::string_view methods = route != nullptr ? route->methods : "GET, POST";
    return exchange->respond(cors_.preflight(request, methods));
  }
  // Links of the page are relative, and lead below the root path only from behind its slash.
  if (request.path.empty() && !context_.options.disable_page) {
    return exchange->respond({.status = 307,
                              .body = "",
                              .content_type = "",
                              .headers = {{"location", context_.options.root_path + "/"}}});
  }
  if (route == nullptr) {
    return exchange->respond(
        error_response_for(request, 404, "Not Found: there is no route `" + request.path + "`."));
  }
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
