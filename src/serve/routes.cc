#include "serve/routes.h"

#include <algorithm>

#include "serve/errors.h"
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

}  // namespace

std::span<const Route> all_routes() {
  return kRoutes;
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

}  // namespace octavo::serve
