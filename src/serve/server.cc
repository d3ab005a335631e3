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
#include "serve/http_server.h"
#include "serve/router.h"
#include "serve/server_context.h"
#include "serve/stats_log.h"

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

}  // namespace

Status run_server(EngineClient& engine, const ServerOptions& options) {
  raise_descriptor_limit();
  ASSIGN_OR_RETURN(AnswerParsers parsers, choose_parsers(options, engine));
  ServerContext context(engine, options, std::move(parsers));
  Router router(context);
  std::thread drain;

  HttpServer* server_pointer = nullptr;  // the callbacks below run only while `server` does
  const auto on_signal = [&](int count) {
    HttpServer& server = *server_pointer;
    if (count > 1) {
      log_warning("serve", "second signal: stopping at once");
      server.close_connections();
      return;
    }
    log_info("serve", "shutting down: waiting for requests under way");
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
      .max_unsent_bytes = options.max_unsent_bytes,
      .keep_alive_seconds = options.keep_alive_seconds,
      .handler =
          [&](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
            router.handle(std::move(request), std::move(exchange));
          },
      .make_error = [](int status,
                       const std::string& message) { return error_response(status, message); },
      .on_answered = [&](const HttpRequest& request, int status,
                         double seconds) { router.answered(request, status, seconds); },
      .on_signal = on_signal,
  });
  server_pointer = &server;
  if (Status status = server.listen(options.host, options.port); !status.ok()) return status;

  {
    const StatsLog stats(engine, options.log_stats_seconds);
    server.run([&] {
      if (options.on_ready) options.on_ready(options.host, server.port());
    });
  }
  if (drain.joinable()) drain.join();
  engine.shutdown(0);
  context.pool.join();
  return ok_status();
}

}  // namespace octavo::serve
