// The load client's loop.
//
//   pending requests, by send_at ──► start() ──► a connection: idle one or new
//   connection: connecting → sending → reading events → idle, and the next request
//
// epoll is level-triggered and each ready connection is read once a round, so that a fast stream
// cannot starve the others and every event is stamped soon after it arrived. A connection that the
// server closed while it idled looks fine until it is used: a request that met one, and got no byte
// back, starts again on a new one.
#include "cli/bench/load_client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>

#include "base/clock.h"
#include "cli/bench/event_facts.h"
#include "http/reader.h"

namespace octavo::bench {

using http::HttpReader;
using http::take_events;

namespace {

constexpr size_t kIdle = static_cast<size_t>(-1);

struct Connection {
  int fd = -1;
  size_t request = kIdle;
  bool reused = false;
  bool wants_write = false;
  std::string out;
  size_t sent = 0;
  HttpReader reader;
  std::string body;
  double last_event = 0;
  int events = 0;
};

class LoadRun {
 public:
  LoadRun(const Endpoint& endpoint, const std::vector<LoadRequest>& requests,
          const LoadOptions& options)
      : endpoint_(endpoint), requests_(requests), options_(options), results_(requests.size()) {}
  ~LoadRun() {
    for (const auto& connection : connections_) {
      if (connection->fd >= 0) close(connection->fd);
    }
    if (epoll_ >= 0) close(epoll_);
  }

  StatusOr<LoadOutcome> run();

 private:
  double now() const { return steady_seconds() - begin_; }
  bool may_start() const {
    return next_ < requests_.size() &&
           (options_.max_concurrency <= 0 || active_ < options_.max_concurrency);
  }
  void start_due_requests();
  int wait_milliseconds() const;
  void start(size_t request, bool fresh);
  Connection* connect_new();
  void watch(Connection& c, bool write);
  void handle(Connection& c, uint32_t events);
  void send_more(Connection& c);
  void read_some(Connection& c);
  void take_body(Connection& c, double at);
  void server_closed(Connection& c);
  void succeed(Connection& c);
  void fail(Connection& c, std::string error);
  void release(Connection& c, bool keep);

  const Endpoint& endpoint_;
  const std::vector<LoadRequest>& requests_;
  const LoadOptions& options_;
  std::vector<LoadResult> results_;
  std::vector<std::unique_ptr<Connection>> connections_;  // addresses are epoll's user data
  std::vector<Connection*> idle_;                         // open, ready for a request
  std::vector<Connection*> spare_;                        // closed
  int epoll_ = -1;
  double begin_ = 0;
  size_t next_ = 0;
  size_t done_ = 0;
  int active_ = 0;
  std::vector<char> buffer_ = std::vector<char>(256 << 10);
};

StatusOr<LoadOutcome> LoadRun::run() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return internal_error(std::string("epoll_create1: ") + std::strerror(errno));
  std::vector<epoll_event> ready(1024);
  begin_ = steady_seconds();
  while (done_ < requests_.size()) {
    start_due_requests();
    if (done_ == requests_.size()) break;
    const int n =
        epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), wait_milliseconds());
    if (n < 0 && errno != EINTR)
      return internal_error(std::string("epoll_wait: ") + std::strerror(errno));
    for (int i = 0; i < n; ++i)
      handle(*static_cast<Connection*>(ready[i].data.ptr), ready[i].events);
  }
  return LoadOutcome{std::move(results_), now()};
}

void LoadRun::start_due_requests() {
  while (may_start() && requests_[next_].send_at <= now()) {
    ++active_;
    start(next_++, false);
  }
}

int LoadRun::wait_milliseconds() const {
  if (!may_start()) return -1;
  return static_cast<int>(
      std::ceil(std::clamp((requests_[next_].send_at - now()) * 1e3, 0.0, 1e6)));
}

Connection* LoadRun::connect_new() {
  Connection* c = nullptr;
  if (spare_.empty()) {
    connections_.push_back(std::make_unique<Connection>());
    c = connections_.back().get();
  } else {
    c = spare_.back();
    spare_.pop_back();
  }
  *c = Connection();
  c->fd = socket(endpoint_.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) return c;
  const int on = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int rc =
      connect(c->fd, reinterpret_cast<const sockaddr*>(&endpoint_.address), endpoint_.address_size);
  if (rc != 0 && errno != EINPROGRESS) {
    const int reason = errno;
    close(c->fd);
    c->fd = -1;
    errno = reason;
    return c;
  }
  epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.ptr = c}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, c->fd, &event);
  c->wants_write = true;
  return c;
}

void LoadRun::start(size_t request, bool fresh) {
  LoadResult& result = results_[request];
  if (!fresh) {
    result.start = now();
    result.itl.reserve(static_cast<size_t>(std::max(requests_[request].expected_tokens, 1)));
  }
  Connection* c = nullptr;
  if (idle_.empty() || fresh) {
    c = connect_new();
  } else {
    c = idle_.back();
    idle_.pop_back();
    c->reused = true;
  }
  c->request = request;
  if (c->fd < 0) {
    fail(*c, std::string("cannot connect: ") + std::strerror(errno));
    return;
  }
  c->out = http_request(endpoint_, options_.path, requests_[request].body);
  c->sent = 0;
  c->reader.reset();
  c->body.clear();
  c->events = 0;
  if (c->reused) send_more(*c);
}

void LoadRun::watch(Connection& c, bool write) {
  if (c.wants_write == write) return;
  c.wants_write = write;
  epoll_event event{.events = EPOLLIN | (write ? uint32_t{EPOLLOUT} : 0u), .data = {.ptr = &c}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &event);
}

void LoadRun::handle(Connection& c, uint32_t events) {
  if (c.fd < 0) return;  // closed earlier in this round
  if (c.request == kIdle) {
    // Nothing may come unasked: the server closes the connection.
    idle_.erase(std::remove(idle_.begin(), idle_.end(), &c), idle_.end());
    release(c, false);
    return;
  }
  if (events & EPOLLOUT) send_more(c);
  if (c.fd >= 0 && c.request != kIdle && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) read_some(c);
}

void LoadRun::send_more(Connection& c) {
  while (c.sent < c.out.size()) {
    const ssize_t n = send(c.fd, c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
      watch(c, true);
      return;
    }
    if (n < 0) {
      server_closed(c);
      return;
    }
    c.sent += static_cast<size_t>(n);
  }
  watch(c, false);
}

void LoadRun::read_some(Connection& c) {
  const ssize_t n = recv(c.fd, buffer_.data(), buffer_.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    if (n == 0 && c.reader.started() && c.reader.finish() == HttpReader::State::kDone) {
      take_body(c, now());
      succeed(c);
    } else {
      server_closed(c);
    }
    return;
  }
  const double at = now();
  const auto state = c.reader.feed({buffer_.data(), static_cast<size_t>(n)}, c.body);
  if (state == HttpReader::State::kBad) {
    fail(c, "the server did not answer in HTTP/1.1");
    return;
  }
  if (state != HttpReader::State::kHead) take_body(c, at);
  if (state == HttpReader::State::kDone) succeed(c);
}

void LoadRun::take_body(Connection& c, double at) {
  if (c.reader.status() != 200) return;
  LoadResult& result = results_[c.request];
  take_events(c.body, [&](std::string_view payload) {
    if (payload == "[DONE]") return;
    const EventFacts facts = read_event(payload);
    if (options_.keep_events) result.events.append(payload).push_back('\n');
    if (facts.is_error && result.error.empty()) result.error = payload.substr(0, 300);
    if (facts.completion_tokens >= 0) result.output_tokens = facts.completion_tokens;
    if (facts.prompt_tokens >= 0) result.prompt_tokens = facts.prompt_tokens;
    if (!facts.has_choices) return;
    if (c.events++ == 0)
      result.ttft = at - result.start;
    else
      result.itl.push_back(static_cast<float>(at - c.last_event));
    c.last_event = at;
    result.latency = at - result.start;
  });
}

void LoadRun::server_closed(Connection& c) {
  if (c.reused && !c.reader.started()) {
    const size_t request = c.request;
    release(c, false);
    start(request, true);
    return;
  }
  int reason = 0;
  socklen_t size = sizeof reason;
  getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &reason, &size);
  fail(c, reason != 0 ? std::strerror(reason) : "the server closed the connection before the end");
}

void LoadRun::succeed(Connection& c) {
  LoadResult& result = results_[c.request];
  if (c.reader.status() != 200) {
    fail(c, "HTTP " + std::to_string(c.reader.status()) + ": " + c.body.substr(0, 300));
    return;
  }
  if (result.error.empty() && c.events == 0) result.error = "no token came";
  if (!result.error.empty()) {
    fail(c, result.error);
    return;
  }
  if (result.output_tokens == 0) result.output_tokens = c.events;
  result.ok = true;
  release(c, true);
}

void LoadRun::fail(Connection& c, std::string error) {
  results_[c.request].error = std::move(error);
  release(c, c.reader.state() == HttpReader::State::kDone);
}

// Takes the connection from its request, which is over unless it is about to start again.
void LoadRun::release(Connection& c, bool keep) {
  const bool had_request = c.request != kIdle;
  const bool retried = had_request && !results_[c.request].ok && results_[c.request].error.empty();
  c.request = kIdle;
  c.reused = false;
  if (keep && c.reader.keep_alive()) {
    idle_.push_back(&c);
  } else {
    if (c.fd >= 0) close(c.fd);
    c.fd = -1;
    spare_.push_back(&c);
  }
  if (!had_request || retried) return;
  --active_;
  ++done_;
  if (options_.on_progress) options_.on_progress(done_, now());
}

}  // namespace

StatusOr<LoadOutcome> run_load(const Endpoint& endpoint, const std::vector<LoadRequest>& requests,
                               const LoadOptions& options) {
  return LoadRun(endpoint, requests, options).run();
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace octavo::bench
