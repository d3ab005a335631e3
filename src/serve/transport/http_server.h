// HTTP/1.1 transport: sockets, TLS, parsing, keep-alive, limits, time-outs, and streamed answers.
// It knows no route. Asio stays behind this header.
//
// Concurrency: one io thread (the caller of run()) owns every socket. It hands each request to
// `handler`, which must not block; the answer may come from any thread, through the HttpExchange.
// An output thread that writes to many streams costs the io thread one wake-up: streams with
// something to send queue on one list, which the io thread drains, one send() a stream, whatever
// the number of events that wait in it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "octavo/status.h"

namespace octavo::serve {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;
  std::string path;   // without the query, not percent-decoded
  std::string query;  // after '?', or empty
  HttpHeaders headers;
  std::string body;
  // Who sent it, for logs: "127.0.0.1:51234", "[::1]:51234", "unix".
  std::string remote;
  // The same without the port, for limits; both are what a believed proxy says (proxy.h).
  std::string client;
  // Names the API key that it came with, where keys are asked for; else empty. What a server keeps
  // for later belongs to it.
  std::string owner;
  std::string scheme = "http";  // or "https"
  std::string id;               // of its answer's header `request-id`; empty: there is none
  double arrival = 0;           // steady clock, when the first byte was parsed
  // What `admit` gave the request for as long as it is under way; the exchange holds it then.
  std::shared_ptr<void> ticket;

  // The header's value, or empty. Names compare without case.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  HttpHeaders headers = {};
};

// The answer to one request: either respond() once, or begin_stream(), write()…, end_stream().
// Any thread, but one call at a time for the calls of one stream's order to mean something.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual void respond(HttpResponse response) = 0;
  // Sends the head of a 200 answer of unknown length.
  virtual void begin_stream(std::string_view content_type) = 0;
  // Queues bytes. False when nobody will read them: the client has gone, was cut off because more
  // waited than may (HttpServerOptions), or the answer has ended.
  virtual bool write(std::string_view bytes) = 0;
  virtual void end_stream() = 0;
  // Calls `callback` once if the client goes before the answer has been sent whole: at once when it
  // has gone already, else from the io thread.
  virtual void on_gone(std::function<void()> callback) = 0;

  // Keeps `ticket` until the answer has been sent whole; of an answer whose client has gone, until
  // nobody works on it any more. io thread, before any other thread knows of the exchange.
  void hold(std::shared_ptr<void> ticket) {
    if (ticket != nullptr) held_.push_back(std::move(ticket));
  }

 protected:
  std::vector<std::shared_ptr<void>> held_;
};

class TlsAcceptor;

struct HttpServerOptions {
  size_t max_body_bytes = 32u << 20;
  size_t max_header_bytes = 64u << 10;
  int max_header_count = 256;
  size_t max_unsent_bytes = 1u << 20;           // that wait for one client
  size_t max_unsent_bytes_in_all = 256u << 20;  // more: who keeps more than 64 KiB is cut off
  double keep_alive_seconds = 5;                // between requests
  // For the TLS handshake, for the whole head, and between two pieces of the body; a body has as
  // long again as a whole, and a second more for each KiB that has come.
  double read_seconds = 60;
  double write_seconds = 60;         // without the client taking a byte
  std::shared_ptr<TlsAcceptor> tls;  // null: plain HTTP
  // Sees each request before `handler` does, and may change it. Returns headers for its answer,
  // whatever that will be. io thread; may be null.
  std::function<HttpHeaders(HttpRequest& request)> on_received;
  // Refuses a request by its head, before its body has been read, or gives it a ticket. After
  // on_received; io thread; may be null.
  std::function<std::optional<HttpResponse>(HttpRequest& request)> admit;
  // Runs on the io thread.
  std::function<void(HttpRequest, std::shared_ptr<HttpExchange>)> handler;
  // The answer that the transport gives by itself (400, 408, 413, 417, 431). The request is what
  // has been understood of it. io thread.
  std::function<HttpResponse(const HttpRequest& request, int status, const std::string& message)>
      make_error;
  // After an answer was sent whole (or its client left: `status` is 499 then). io thread; may be
  // null.
  std::function<void(const HttpRequest& request, int status, double seconds)> on_answered;
  // SIGINT, SIGTERM or an interrupter's call has come for the `count`th time. io thread; null:
  // signals are not caught.
  std::function<void(int count)> on_signal;
};

class HttpServer {
 public:
  explicit HttpServer(HttpServerOptions options);
  ~HttpServer();

  // Takes an address; nobody can connect before listen(). Errors: it is bad, somebody listens
  // there. Port 0 takes any free one, see port().
  Status bind(const std::string& host, int port);
  // The same at a Unix socket, whose file goes when the server stops accepting. A file left over
  // from a server that has died is replaced; errors: a server answers there, it is no socket.
  Status bind_unix(const std::string& path);
  // Errors: somebody else has begun to listen at this address since it was taken.
  Status listen();
  int port() const;

  // Runs the io loop on this thread until stop(). `on_running` is called once from within it.
  void run(std::function<void()> on_running = nullptr);

  // The following may be called from any thread.
  // No new connections; answers from now on close theirs.
  void stop_accepting();
  // Returns from run() when every answer under way has been sent, or after `grace_seconds`.
  void finish(double grace_seconds);
  // Closes every connection; those with an answer under way see on_gone.
  void close_connections();
  // What counts as a signal to this server alone. May outlive the server, and then does nothing.
  std::function<void()> interrupter() const;

  struct Impl;  // of http_server.cc

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace octavo::serve
