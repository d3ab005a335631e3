// Admission: whether a request is let in, decided from its head alone, before its body is read: the
// API key, then the limits of its client. A client is its key where keys are asked for, else its
// address. What is refused never reaches the engine; /metrics counts it by reason, and shows the
// limits.
//
// Concurrency: admit() on the io thread; tickets go on any thread; the rest any thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "octavo/engine_client.h"
#include "serve/access/api_key.h"
#include "serve/access/client_table.h"
#include "serve/access/rate_limit.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// What a request would cost.
struct Demand {
  bool needs_key = true;
  bool works = false;      // takes a body: counts for the rate
  bool generates = false;  // goes to the model: counts as a stream, and waits in the queue
};

class Admission {
 public:
  // `under_way` counts the requests to the model. All must outlive this.
  Admission(const ClientLimits& limits, std::unique_ptr<ApiKeys> keys, EngineClient& engine,
            const std::atomic<int>& under_way, MetricsRegistry& metrics);

  // The refusal (401, 429, 503), or nothing: then the request holds a ticket, and counts as one of
  // its client's streams for as long as that lives.
  std::optional<HttpResponse> admit(HttpRequest& request, const Demand& demand);
  // The transport refused a request by itself, with that HTTP status.
  void count_refusal_of_transport(int status);

 private:
  void refused(std::string_view reason);
  HttpResponse refuse(const HttpRequest& request, int status, std::string_view reason,
                      const std::string& message, double seconds);
  std::optional<HttpResponse> check_key(const HttpRequest& request, const std::string& address,
                                        std::string& client);
  std::optional<HttpResponse> check_client(HttpRequest& request, const Demand& demand,
                                           const std::string& client);
  bool queue_is_full() const;
  void show_limits();

  const ClientLimits limits_;
  const std::unique_ptr<ApiKeys> keys_;
  EngineClient& engine_;
  const std::atomic<int>& under_way_;
  MetricsRegistry& metrics_;
  // Tickets share it: the last of them may go when this has gone.
  const std::shared_ptr<ClientTable> clients_;
  // Apart from the clients, so that whoever guesses from many addresses makes none be forgotten.
  ClientTable guessers_;
};

}  // namespace octavo::serve
