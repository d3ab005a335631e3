#include "serve/access/admission.h"

#include <cmath>

#include "base/clock.h"
#include "base/log.h"
#include "serve/errors.h"

namespace octavo::serve {

namespace {

constexpr size_t kTrackedClients = 16384;  // some 200 bytes each
constexpr double kSoon = 1;                // seconds; when the wait cannot be known

// One of a client's streams, from the head of the request to the end of its answer.
class StreamTicket {
 public:
  StreamTicket(std::shared_ptr<ClientTable> table, std::string client)
      : table_(std::move(table)), client_(std::move(client)) {}
  ~StreamTicket() {
    table_->with(client_, [](ClientRecord& record) { --record.streams; });
  }
  StreamTicket(const StreamTicket&) = delete;

 private:
  const std::shared_ptr<ClientTable> table_;
  const std::string client_;
};

}  // namespace

Admission::Admission(const ClientLimits& limits, std::unique_ptr<ApiKeys> keys,
                     EngineClient& engine, const std::atomic<int>& under_way,
                     MetricsRegistry& metrics)
    : limits_(limits),
      keys_(std::move(keys)),
      engine_(engine),
      under_way_(under_way),
      metrics_(metrics),
      clients_(std::make_shared<ClientTable>(kTrackedClients)),
      guessers_(kTrackedClients) {
  show_limits();
}

std::optional<HttpResponse> Admission::admit(HttpRequest& request, const Demand& demand) {
  const std::string address = client_of_address(request.client);
  std::string client = address;
  if (keys_->asked_for() && demand.needs_key) {
    if (auto refusal = check_key(request, address, client)) return refusal;
    request.owner = client;
  }
  if (demand.generates && queue_is_full()) {
    return refuse(request, 503, "queue",
                  "The server is overloaded: " + std::to_string(limits_.max_queue) +
                      " requests are waiting already (--max-queue).",
                  kSoon);
  }
  return check_client(request, demand, client);
}

std::optional<HttpResponse> Admission::check_key(const HttpRequest& request,
                                                 const std::string& address, std::string& client) {
  const RateLimit& limit = limits_.key_failures_per_client;
  const double now = steady_seconds();
  // A right key does not help whoever has tried too many: it could be the last guess.
  double wait = 0;
  if (!limit.off()) {
    guessers_.with(address, [&](ClientRecord& record) {
      if (!record.bucket.available(limit, now)) wait = record.bucket.seconds_until_next(limit, now);
    });
  }
  if (wait > 0) {
    return refuse(request, 429, "key_failures", "Too many wrong API keys from your address.", wait);
  }
  ApiKeys::Check check = keys_->check(request, now);
  if (check.verdict == ApiKeys::Verdict::kValid) {
    client = std::move(check.client);
    return std::nullopt;
  }
  const bool wrong = check.verdict == ApiKeys::Verdict::kWrong;
  refused(wrong ? "wrong_key" : "no_key");
  if (wrong && !limit.off()) {
    bool last = false;
    guessers_.with(address, [&](ClientRecord& record) {
      record.bucket.take(limit, now);
      last = !record.bucket.available(limit, now);
    });
    if (last) log_warning("serve", "too many wrong API keys from " + address + ": refused for now");
  }
  HttpResponse response = error_response_for(request, 401, "Unauthorized");
  response.headers.emplace_back("www-authenticate", "Bearer");
  return response;
}

std::optional<HttpResponse> Admission::check_client(HttpRequest& request, const Demand& demand,
                                                    const std::string& client) {
  const RateLimit& rate = limits_.rate_per_client;
  const int max_streams = demand.generates ? limits_.max_streams_per_client : 0;
  if (!demand.works || (rate.off() && max_streams == 0)) return std::nullopt;
  bool too_many = false;
  double wait = 0;
  const double now = steady_seconds();
  clients_->with(client, [&](ClientRecord& record) {
    too_many = max_streams > 0 && record.streams >= max_streams;
    if (too_many) return;
    if (!record.bucket.take(rate, now)) {
      wait = record.bucket.seconds_until_next(rate, now);
    } else if (max_streams > 0) {
      ++record.streams;
    }
  });
  metrics_.gauge("octavo:http_clients_tracked", "Clients remembered for their limits.")
      .set(static_cast<double>(clients_->size()));
  if (too_many) {
    return refuse(request, 429, "streams_per_client",
                  "You have " + std::to_string(max_streams) +
                      " requests under way, the most that one client may have "
                      "(--max-streams-per-client).",
                  kSoon);
  }
  if (wait > 0) {
    return refuse(request, 429, "rate_per_client",
                  "You send more requests than one client may (--rate-limit-per-client).", wait);
  }
  if (max_streams > 0) request.ticket = std::make_shared<StreamTicket>(clients_, client);
  return std::nullopt;
}

// The engine counts what it has been given. Requests on their way to it are seen by their number:
// more than can run and wait.
bool Admission::queue_is_full() const {
  if (limits_.max_queue == 0) return false;
  return under_way_ >= engine_.model().max_num_seqs + limits_.max_queue ||
         engine_.stats().waiting >= limits_.max_queue;
}

HttpResponse Admission::refuse(const HttpRequest& request, int status, std::string_view reason,
                               const std::string& message, double seconds) {
  refused(reason);
  const std::string after = std::to_string(static_cast<int64_t>(std::max(1.0, std::ceil(seconds))));
  HttpResponse response =
      error_response_for(request, status, message + " Try again in " + after + " s.");
  response.headers.emplace_back("retry-after", after);
  return response;
}

void Admission::refused(std::string_view reason) {
  metrics_
      .counter("octavo:http_refused_total", "Requests refused before they were looked into.",
               {{"reason", std::string(reason)}})
      .add();
}

void Admission::count_refusal_of_transport(int status) {
  switch (status) {
    case 400:
      return refused("malformed");
    case 408:
      return refused("too_slow");
    case 413:
      return refused("body_too_large");
    case 431:
      return refused("head_too_large");
    default:
      return refused("other");
  }
}

void Admission::show_limits() {
  const auto show = [&](const char* limit, double value) {
    metrics_
        .gauge("octavo:http_limit",
               "Limits of clients, in requests or requests per second; 0: none.",
               {{"limit", limit}})
        .set(value);
  };
  show("streams_per_client", limits_.max_streams_per_client);
  show("queue", limits_.max_queue);
  show("rate_per_client", limits_.rate_per_client.per_second());
  show("key_failures_per_client", limits_.key_failures_per_client.per_second());
  for (const char* reason :
       {"no_key", "wrong_key", "key_failures", "streams_per_client", "rate_per_client", "queue",
        "malformed", "too_slow", "body_too_large", "head_too_large"}) {
    metrics_
        .counter("octavo:http_refused_total", "Requests refused before they were looked into.",
                 {{"reason", reason}})
        .add(0);
  }
}

}  // namespace octavo::serve
