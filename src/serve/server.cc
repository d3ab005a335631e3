// run_server: puts transport, router and engine together, and takes them apart again on a signal.
//
//   first signal    no new connections, /health 503, no new work; engine.shutdown(timeout) on a
//   thread of its own,
//                   while the io thread goes on sending what streams still get
//   second signal   every connection is closed: their requests are cancelled, so the drain ends at
//   once engine is down  what is left to send gets a few seconds, then run() returns
#include "serve/server.h"

#include <sys/resource.h>

#include <thread>

#include "base/log.h"
#include "base/status_macros.h"
#include "serve/answer_parsers.h"
#include "serve/errors.h"
#include "serve/random_id.h"
#include "serve/router.h"
#include "serve/server_context.h"
#include "serve/stats_log.h"
#include "serve/transport/http_server.h"
#include "serve/transport/proxy.h"

namespace octavo::serve {

namespace {

constexpr double kLastBytesSeconds = 5;

// Every stream is a descriptor; the default soft limit of 1,024 is there for select(), which is not
// used.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
    log_warning("serve", "cannot raise the limit of open descriptors");
}

// What happens to every request before anything else looks at it.
class Reception {
 public:
  static StatusOr<Reception> make(const ServerOptions& options) {
    ASSIGN_OR_RETURN(TrustedProxies proxies, TrustedProxies::parse(options.forwarded_allow_ips));
    StatusOr<std::string> root_path = parse_root_path(options.root_path);
    if (!root_path.ok()) return root_path.status().with_context("--root-path");
    return Reception(std::move(proxies), *std::move(root_path), Cors(options.cors),
                     options.enable_request_id_headers);
  }

  // Headers for the answer.
  HttpHeaders receive(HttpRequest& request) const {
    proxies_.apply(request);
    strip_root_path(request, root_path_);
    HttpHeaders headers = cors_.answer_headers(request);
    if (path_is_anthropic(request.path)) {
      request.id = "req_" + random_hex(24);
      headers.emplace_back("request-id", request.id);
    }
    if (request_ids_) headers.emplace_back("x-request-id", name_request(request));
    return headers;
  }

 private:
  Reception(TrustedProxies proxies, std::string root_path, Cors cors, bool request_ids)
      : proxies_(std::move(proxies)),
        root_path_(std::move(root_path)),
        cors_(std::move(cors)),
        request_ids_(request_ids) {}

  // The client's X-Request-Id, or one that the request gets.
  static std::string name_request(HttpRequest& request) {
    const std::string_view given = request.header("x-request-id");
    if (!given.empty()) return std::string(given);
    if (request.id.empty()) request.id = random_hex(32);
    return request.id;
  }

  TrustedProxies proxies_;
  std::string root_path_;
  Cors cors_;
  bool request_ids_;
};

// Null for plain HTTP.
StatusOr<std::shared_ptr<TlsAcceptor>> load_tls(const TlsOptions& options) {
  if (!options.certfile.empty() || !options.keyfile.empty()) return TlsAcceptor::load(options);
  if (!options.ca_certs.empty() || options.cert_reqs != 0) {
    return invalid_argument("--ssl-ca-certs and --ssl-cert-reqs need --ssl-certfile");
  }
  return std::shared_ptr<TlsAcceptor>();
}

Status bind(HttpServer& server, const ServerOptions& options) {
  return options.uds.empty() ? server.bind(options.host, options.port)
                             : server.bind_unix(options.uds);
}

}  // namespace

struct PreparedServer {
  std::shared_ptr<TlsAcceptor> tls;  // null: plain HTTP
  std::unique_ptr<ApiKeys> keys;     // null once a server has taken them
  Reception reception;
};

namespace {

StatusOr<std::shared_ptr<PreparedServer>> read_what_options_name(const ServerOptions& options) {
  ASSIGN_OR_RETURN(std::shared_ptr<TlsAcceptor> tls, load_tls(options.tls));
  ASSIGN_OR_RETURN(auto keys, ApiKeys::load(options.api_keys, options.api_key_file));
  ASSIGN_OR_RETURN(Reception reception, Reception::make(options));
  return std::make_shared<PreparedServer>(
      PreparedServer{std::move(tls), std::move(keys), std::move(reception)});
}

}  // namespace

StatusOr<std::shared_ptr<PreparedServer>> prepare_server(const ServerOptions& options) {
  ASSIGN_OR_RETURN(std::shared_ptr<PreparedServer> prepared, read_what_options_name(options));
  HttpServer server({});
  RETURN_IF_ERROR(bind(server, options));
  return prepared;
}

Status run_server(EngineClient& engine, const ServerOptions& options,
                  std::shared_ptr<PreparedServer> prepared) {
  raise_descriptor_limit();
  if (prepared == nullptr) {
    ASSIGN_OR_RETURN(prepared, read_what_options_name(options));
  }
  ASSIGN_OR_RETURN(AnswerParsers parsers, choose_parsers(options, engine));
  ServerContext context(engine, options, std::move(parsers));
  if (prepared->keys->file_is_public()) {
    log_warning("serve",
                options.api_key_file + " can be read by every user of this machine: chmod 600");
  }
  Router router(context, std::move(prepared->keys));
  std::thread drain;

  HttpServer* server_pointer = nullptr;  // the callbacks below run only while `server` does
  const auto on_signal = [&](int count) {
    HttpServer& server = *server_pointer;
    if (count > 1) {
      log_warning("serve", "second signal: stopping at once");
      server.close_connections();
      return;
    }
    log_info("serve",
             "shutting down: waiting for requests under way; a second signal stops at once");
    context.draining = true;
    server.stop_accepting();
    drain = std::thread([&] {
      engine.shutdown(options.shutdown_timeout_seconds);
      server.finish(kLastBytesSeconds);
    });
  };

  HttpServer server({
      .max_body_bytes = options.max_body_bytes,
      .max_header_bytes = options.max_header_bytes,
      .max_header_count = options.max_header_count,
      .max_unsent_bytes = options.max_unsent_bytes,
      .keep_alive_seconds = options.keep_alive_seconds,
      .tls = prepared->tls,
      .on_received = [&](HttpRequest& request) { return prepared->reception.receive(request); },
      .admit = [&](HttpRequest& request) { return router.admit(request); },
      .handler =
          [&](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
            router.handle(std::move(request), std::move(exchange));
          },
      .make_error =
          [&](const HttpRequest& request, int status, const std::string& message) {
            return router.refusal_of_transport(request, status, message);
          },
      .on_answered = [&](const HttpRequest& request, int status,
                         double seconds) { router.answered(request, status, seconds); },
      .on_signal = on_signal,
  });
  server_pointer = &server;
  RETURN_IF_ERROR(bind(server, options));
  RETURN_IF_ERROR(server.listen());

  {
    const StatsLog stats(engine, options.log_stats_seconds);
    server.run([&] {
      const std::string& place = options.uds.empty() ? options.host : options.uds;
      if (options.on_ready) options.on_ready({place, server.port(), server.interrupter()});
    });
  }
  if (drain.joinable()) drain.join();
  engine.shutdown(0);
  context.long_body_pool.join();
  context.pool.join();
  return ok_status();
}

}  // namespace octavo::serve
