// The io thread's side of http_server.h. One coroutine per connection reads requests one after the
// other:
//
//   read head and body → handler → sleep until answered, gone or stuck → next request
//
// The hot path, one token of one stream, does not touch the coroutine: an output thread appends to
// Exchange::pending_ and queues the exchange; drain() on the io thread swaps the string out and
// sends it with one system call. Only when the socket is full does the rest wait in
// Connection::backlog_ for writability.
//
// "Gone" is one transition of Exchange, made under its lock by whoever sees it first: the reader
// (end of file), the sender (error, time-out) or write() (too much unsent); the io thread reports
// it. Closing the socket is what frees a stuck sender.
#include "serve/http_server.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <boost/asio.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstring>
#include <ctime>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "base/clock.h"
#include "base/log.h"

namespace octavo::serve {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kBacklog = 4096;
constexpr size_t kReadBytes = 64 << 10;
constexpr int kClientGone = 499;  // nginx's code, for logs and metrics only

Clock::duration to_duration(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

class Connection;

// Streams with something for the io thread to do. At most one wake-up is under way at a time.
class Exchange;
struct ReadyList {
  explicit ReadyList(asio::io_context& context) : context(context) {}
  asio::io_context& context;
  std::mutex mutex;
  std::vector<std::shared_ptr<Exchange>> exchanges;
  bool scheduled = false;
  bool closed = false;  // the io context is no more

  void push(std::shared_ptr<Exchange> exchange);
  void drain();
  std::vector<std::shared_ptr<Exchange>> draining;  // io thread
};

class Exchange final : public HttpExchange, public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(std::shared_ptr<ReadyList> ready, Connection* connection, size_t max_unsent)
      : ready_(std::move(ready)), connection_(connection), max_unsent_(max_unsent) {}

  void respond(HttpResponse response) override {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      if (ended_ || gone_ || head_) return;
      pending_ = std::move(response.body);
      head_ = std::move(response);
      ended_ = true;
      wake = !std::exchange(queued_, true);
    }
    if (wake) ready_->push(shared_from_this());
  }

  void begin_stream(std::string_view content_type) override {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      if (gone_ || head_) return;  // ended_ may be set: outputs can be faster than the head
      head_.emplace();
      head_->content_type = content_type;
      head_->headers.emplace_back("cache-control", "no-cache");
      streamed_ = true;
      wake = !std::exchange(queued_, true);
    }
    if (wake) ready_->push(shared_from_this());
  }

  bool write(std::string_view bytes) override {
    bool wake = false;
    bool alive = true;
    {
      const std::lock_guard lock(mutex_);
      if (ended_ || gone_) return false;
      if (pending_.size() + unsent_ + bytes.size() > max_unsent_) {
        // The io thread closes the socket and reports; a sender waiting for room keeps queued_ set,
        // so the list gets this exchange once more.
        gone_ = cut_off_ = true;
        pending_ = {};
        alive = false;
        wake = true;
      } else {
        pending_.append(bytes);
        wake = !std::exchange(queued_, true);
      }
    }
    if (wake) ready_->push(shared_from_this());
    return alive;
  }

  void end_stream() override {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      if (ended_ || gone_) return;
      ended_ = true;
      wake = !std::exchange(queued_, true);
    }
    if (wake) ready_->push(shared_from_this());
  }

  void on_gone(std::function<void()> callback) override {
    {
      const std::lock_guard lock(mutex_);
      if (!gone_) {
        on_gone_ = std::move(callback);
        return;
      }
    }
    callback();
  }

  // What follows is for the io thread.
  void mark_gone() {
    std::function<void()> callback;
    {
      const std::lock_guard lock(mutex_);
      gone_ = true;
      callback.swap(on_gone_);  // taken once, whoever saw it first
    }
    if (callback) callback();
  }
  bool cut_off() {
    const std::lock_guard lock(mutex_);
    return cut_off_;
  }

  struct Taken {
    std::optional<HttpResponse> head;  // its body is in `bytes`
    bool streamed = false;
    bool ended = false;
  };
  // Swaps what waits into `bytes` (empty on entry), so that the two buffers keep their capacity.
  Taken take(std::string& bytes) {
    const std::lock_guard lock(mutex_);
    queued_ = false;
    Taken taken{.head = {}, .streamed = streamed_, .ended = ended_ && head_};
    if (head_ && !head_taken_) {
      taken.head = std::move(head_);
      head_.emplace();
      head_taken_ = true;
    }
    if (head_taken_) bytes.swap(pending_);
    return taken;
  }
  void set_unsent(size_t bytes) {
    const std::lock_guard lock(mutex_);
    unsent_ = bytes;
  }
  // The answer has been sent: breaks the circle exchange → callback → exchange.
  void release() {
    std::function<void()> callback;
    const std::lock_guard lock(mutex_);
    callback.swap(on_gone_);
  }
  void detach() { connection_ = nullptr; }
  Connection* connection() const { return connection_; }

 private:
  const std::shared_ptr<ReadyList> ready_;
  Connection* connection_;  // io thread; null once it is closed
  const size_t max_unsent_;
  std::mutex mutex_;
  std::string pending_;  // guarded, as all below
  std::optional<HttpResponse> head_;
  bool head_taken_ = false;
  bool streamed_ = false;
  bool ended_ = false;
  bool gone_ = false;
  bool cut_off_ = false;
  bool queued_ = false;  // on the ready list
  size_t unsent_ = 0;    // taken by the io thread, waiting for the socket
  std::function<void()> on_gone_;
};

}  // namespace

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  explicit Impl(HttpServerOptions o) : options(std::move(o)), scratch(kReadBytes) {}

  HttpServerOptions options;
  asio::io_context context{1};
  std::shared_ptr<ReadyList> ready = std::make_shared<ReadyList>(context);
  tcp::acceptor acceptor{context};
  asio::signal_set signals{context};
  asio::steady_timer finish_timer{context};
  std::unordered_set<Connection*> connections;
  std::vector<char> scratch;  // every connection reads into it
  int active = 0;             // answers under way
  int signal_count = 0;
  bool closing = false;  // stop_accepting() was called
  bool finishing = false;

  void wait_for_signal();
  void maybe_finish() {
    if (finishing && active == 0) context.stop();
  }
};

namespace {

using ServerImpl = HttpServer::Impl;

void append_head_line(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

std::string_view http_date() {
  static thread_local time_t last = 0;
  static thread_local char text[40];
  const time_t now = time(nullptr);
  if (now != last) {
    tm utc;
    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    last = now;
  }
  return text;
}

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, std::shared_ptr<ServerImpl> server)
      : socket_(std::move(socket)), server_(std::move(server)), timer_(server_->context) {
    server_->connections.insert(this);
  }
  ~Connection() { server_->connections.erase(this); }

  asio::awaitable<void> run();
  // Sends what the exchange holds. Called when it was queued and when the socket has room again.
  void flush();
  void close();

 private:
  using Parser = http::request_parser<http::string_body>;
  enum class Read { kMessage, kClosed, kFailed };

  asio::awaitable<Read> read_message(Parser& parser, bool first);
  asio::awaitable<void> await_answer();
  asio::awaitable<void> linger();
  void refuse(int status, const std::string& message);
  void fail_parse(error_code error);
  void send_continue(Parser& parser);
  void dispatch(Parser& parser);
  void append_response_head(const HttpResponse& response, bool streamed, size_t body_bytes);

  // Reading: arm_read() asks for one readiness, receive() moves what came into in_.
  void arm_read();
  bool receive();  // false: end of file or error

  // A condition variable of one thread: sleep() ends at notify() (true) or at the deadline (false).
  asio::awaitable<bool> sleep_until(Clock::time_point deadline);
  void notify() {
    notified_ = true;
    timer_.cancel();
  }

  void send_backlog();
  void wait_writable();
  void answer_sent();

  tcp::socket socket_;
  std::shared_ptr<ServerImpl> server_;
  asio::steady_timer timer_;
  bool notified_ = false;
  bool read_armed_ = false;
  bool readable_ = false;
  bool peer_closed_ = false;
  bool closed_ = false;

  std::string in_;  // received, not yet parsed
  std::string remote_;

  HttpRequest request_;  // of the answer under way, without its body
  std::shared_ptr<Exchange> exchange_;
  int status_ = 0;
  bool keep_alive_ = false;
  bool http10_ = false;
  bool head_only_ = false;
  bool chunked_ = false;
  bool cors_ = false;
  bool answered_ = false;
  bool end_after_backlog_ = false;

  std::string out_;      // head and framing of the piece being sent
  std::string body_;     // body of the piece being sent
  std::string backlog_;  // what the socket had no room for
  size_t backlog_sent_ = 0;
  bool writing_ = false;  // waits for room in the socket
  Clock::time_point last_progress_;
};

asio::awaitable<bool> Connection::sleep_until(Clock::time_point deadline) {
  if (!notified_) {
    timer_.expires_at(deadline);
    co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  co_return std::exchange(notified_, false);
}

void Connection::arm_read() {
  if (read_armed_ || closed_ || peer_closed_) return;
  read_armed_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](error_code error) {
    self->read_armed_ = false;
    if (error) return;  // closed: close() has notified
    self->readable_ = true;
    self->notify();
  });
}

bool Connection::receive() {
  readable_ = false;
  std::vector<char>& scratch = server_->scratch;
  const ssize_t n = ::recv(socket_.native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT);
  if (n > 0) {
    in_.append(scratch.data(), n);
    return true;
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  peer_closed_ = true;
  return false;
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  if (exchange_) exchange_->mark_gone();
  error_code ignored;
  socket_.close(ignored);
  notify();
}

asio::awaitable<Connection::Read> Connection::read_message(Parser& parser, bool first) {
  const auto& options = server_->options;
  auto deadline =
      Clock::now() + to_duration(first ? options.read_seconds : options.keep_alive_seconds);
  bool started = false;
  bool continued = false;
  while (true) {
    while (!in_.empty() && !parser.is_done()) {
      if (!started) {
        started = true;
        request_.arrival = steady_seconds();
        deadline = Clock::now() + to_duration(options.read_seconds);
      }
      error_code error;
      const size_t used = parser.put(asio::buffer(in_), error);
      in_.erase(0, used);
      if (error == http::error::need_more) break;
      if (error) {
        fail_parse(error);
        co_return Read::kFailed;
      }
      if (used == 0) break;
    }
    if (parser.is_done()) co_return Read::kMessage;
    if (parser.is_header_done()) {
      deadline = Clock::now() + to_duration(options.read_seconds);
      if (!std::exchange(continued, true)) send_continue(parser);
    }
    if (peer_closed_) co_return Read::kClosed;
    arm_read();
    while (!readable_) {
      const bool woken = co_await sleep_until(deadline);
      if (closed_) co_return Read::kClosed;
      if (woken) continue;
      if (!started) co_return Read::kClosed;
      refuse(408, "The request did not arrive in time.");
      co_return Read::kFailed;
    }
    receive();
  }
}

void Connection::send_continue(Parser& parser) {
  if (!boost::beast::iequals(parser.get()[http::field::expect], "100-continue")) return;
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  // 25 bytes fit: nothing else is being sent. If they do not, the client's own timer makes it go
  // on.
  [[maybe_unused]] const ssize_t sent = ::send(socket_.native_handle(), kContinue.data(),
                                               kContinue.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Connection::fail_parse(error_code error) {
  const auto& options = server_->options;
  if (error == http::error::body_limit) {
    refuse(413, "The request body is larger than the limit of " +
                    std::to_string(options.max_body_bytes) + " bytes.");
  } else if (error == http::error::header_limit) {
    refuse(431, "The request's headers are larger than the limit of " +
                    std::to_string(options.max_header_bytes) + " bytes.");
  } else {
    refuse(400, "Invalid HTTP request: " + error.message() + ".");
  }
}

// Answers in the transport's own name, with no handler, and closes after it.
void Connection::refuse(int status, const std::string& message) {
  request_.remote = remote_;
  keep_alive_ = false;
  exchange_ = std::make_shared<Exchange>(server_->ready, this, server_->options.max_unsent_bytes);
  ++server_->active;
  answered_ = false;
  exchange_->respond(server_->options.make_error(status, message));
}

void Connection::dispatch(Parser& parser) {
  auto message = parser.release();
  request_.method = std::string(message.method_string());
  const std::string_view target(message.target().data(), message.target().size());
  const size_t question = std::min(target.find('?'), target.size());
  request_.path = target.substr(0, question);
  request_.query = target.substr(std::min(question + 1, target.size()));
  request_.headers.clear();
  for (const auto& field : message) {
    request_.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  request_.remote = remote_;
  keep_alive_ = message.keep_alive() && !server_->closing;
  http10_ = message.version() < 11;
  head_only_ = message.method() == http::verb::head;
  cors_ = message.find(http::field::origin) != message.end();
  exchange_ = std::make_shared<Exchange>(server_->ready, this, server_->options.max_unsent_bytes);
  ++server_->active;
  answered_ = false;
  HttpRequest request = request_;
  request.body = std::move(message.body());
  server_->options.handler(std::move(request), exchange_);
}

// Waits for the answer and watches the client meanwhile: end of file means that nobody will read
// it.
asio::awaitable<void> Connection::await_answer() {
  while (!answered_ && !closed_) {
    // A client may send its next requests early, but only so much of them.
    if (in_.size() < server_->options.max_header_bytes) arm_read();
    const bool stuck_possible = writing_;
    const auto deadline = stuck_possible
                              ? last_progress_ + to_duration(server_->options.write_seconds)
                              : Clock::time_point::max();
    const bool woken = co_await sleep_until(deadline);
    if (closed_ || answered_) break;
    if (readable_ && !receive()) close();
    if (!woken && writing_ &&
        Clock::now() >= last_progress_ + to_duration(server_->options.write_seconds)) {
      close();
    }
  }
  if (!answered_) status_ = kClientGone;
  exchange_->release();
  exchange_->detach();
  exchange_ = nullptr;
  if (server_->options.on_answered) {
    server_->options.on_answered(request_, status_, steady_seconds() - request_.arrival);
  }
  --server_->active;
  server_->maybe_finish();
}

// After an early refusal the client may still be sending. Closing at once would reset the
// connection and take the answer with it, so what comes is read and dropped for a while.
asio::awaitable<void> Connection::linger() {
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  const auto end = Clock::now() + std::chrono::seconds(30);
  while (!closed_ && !peer_closed_ && Clock::now() < end) {
    arm_read();
    const auto quiet = std::min(end, Clock::now() + std::chrono::seconds(5));
    if (!co_await sleep_until(quiet)) break;
    if (closed_ || !readable_) continue;
    receive();
    in_.clear();
  }
}

asio::awaitable<void> Connection::run() {
  const auto self = shared_from_this();
  error_code ignored;
  socket_.set_option(tcp::no_delay(true), ignored);
  const auto peer = socket_.remote_endpoint(ignored);
  remote_ = peer.address().to_string(ignored) + ":" + std::to_string(peer.port());
  bool lingering = false;
  for (bool first = true; !closed_; first = false) {
    Parser parser;
    parser.eager(true);
    parser.header_limit(static_cast<uint32_t>(server_->options.max_header_bytes));
    parser.body_limit(server_->options.max_body_bytes);
    request_ = {};
    const Read read = co_await read_message(parser, first);
    if (read == Read::kClosed) break;
    if (read == Read::kMessage) dispatch(parser);
    co_await await_answer();
    lingering = read == Read::kFailed;
    if (!keep_alive_ || server_->closing) break;
  }
  if (lingering && !closed_) co_await linger();
  close();
}

void Connection::append_response_head(const HttpResponse& response, bool streamed,
                                      size_t body_bytes) {
  status_ = response.status;
  const auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
  out_.append(http10_ ? "HTTP/1.0 " : "HTTP/1.1 ");
  out_.append(std::to_string(response.status)).append(" ");
  out_.append(reason.data(), reason.size()).append("\r\n");
  append_head_line(out_, "date", http_date());
  append_head_line(out_, "server", "octavo");
  if (!response.content_type.empty()) append_head_line(out_, "content-type", response.content_type);
  for (const auto& [name, value] : response.headers) append_head_line(out_, name, value);
  if (cors_) append_head_line(out_, "access-control-allow-origin", "*");
  if (server_->closing) keep_alive_ = false;
  chunked_ = streamed && !http10_;
  if (streamed && http10_) keep_alive_ = false;  // the end of the body is the end of the connection
  if (chunked_) {
    append_head_line(out_, "transfer-encoding", "chunked");
  } else if (!streamed && response.status != 204) {
    append_head_line(out_, "content-length", std::to_string(body_bytes));
  }
  if (!keep_alive_) {
    append_head_line(out_, "connection", "close");
  } else if (http10_) {
    append_head_line(out_, "connection", "keep-alive");
  }
  out_.append("\r\n");
}

void Connection::flush() {
  if (closed_ || answered_ || !exchange_) return;
  if (exchange_->cut_off()) {
    log_warning("http", remote_ + " reads too slowly: cut off");
    close();
    return;
  }
  if (writing_) return;
  body_.clear();
  out_.clear();
  Exchange::Taken taken = exchange_->take(body_);
  if (taken.head) append_response_head(*taken.head, taken.streamed, body_.size());
  if (head_only_) {
    body_.clear();
    chunked_ = false;
  }
  std::string_view tail;
  if (chunked_) {
    if (!body_.empty()) {
      char size[20];
      out_.append(size, snprintf(size, sizeof size, "%zx\r\n", body_.size()));
    }
    static constexpr std::string_view kLast = "\r\n0\r\n\r\n";
    tail = taken.ended ? kLast : kLast.substr(0, 2);
    if (body_.empty()) tail.remove_prefix(2);
  }
  const size_t total = out_.size() + body_.size() + tail.size();
  if (total > 0) {
    std::array<iovec, 3> parts = {iovec{out_.data(), out_.size()},
                                  iovec{body_.data(), body_.size()},
                                  iovec{const_cast<char*>(tail.data()), tail.size()}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      close();
      return;
    }
    const size_t done = sent < 0 ? 0 : static_cast<size_t>(sent);
    if (done < total) {
      backlog_.clear();
      size_t skip = done;
      for (const iovec& part : parts) {
        const size_t from = std::min(skip, part.iov_len);
        backlog_.append(static_cast<const char*>(part.iov_base) + from, part.iov_len - from);
        skip -= from;
      }
      backlog_sent_ = 0;
      end_after_backlog_ = taken.ended;
      writing_ = true;
      last_progress_ = Clock::now();
      exchange_->set_unsent(backlog_.size());
      wait_writable();
      notify();  // await_answer() must watch the clock now
      return;
    }
  }
  if (taken.ended) answer_sent();
}

void Connection::wait_writable() {
  socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](error_code error) {
    if (!error && !self->closed_) self->send_backlog();
  });
}

void Connection::send_backlog() {
  const ssize_t sent = ::send(socket_.native_handle(), backlog_.data() + backlog_sent_,
                              backlog_.size() - backlog_sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    close();
    return;
  }
  if (sent > 0) {
    backlog_sent_ += sent;
    last_progress_ = Clock::now();
  }
  if (backlog_sent_ < backlog_.size()) {
    exchange_->set_unsent(backlog_.size() - backlog_sent_);
    wait_writable();
    return;
  }
  backlog_ = {};
  writing_ = false;
  exchange_->set_unsent(0);
  if (end_after_backlog_) {
    answer_sent();
  } else {
    flush();
  }
}

void Connection::answer_sent() {
  answered_ = true;
  notify();
}

void ReadyList::push(std::shared_ptr<Exchange> exchange) {
  const std::lock_guard lock(mutex);
  if (closed) return;
  exchanges.push_back(std::move(exchange));
  if (std::exchange(scheduled, true)) return;
  asio::post(context, [this] { drain(); });
}

void ReadyList::drain() {
  while (true) {
    {
      const std::lock_guard lock(mutex);
      if (exchanges.empty()) {
        scheduled = false;
        return;
      }
      draining.swap(exchanges);
    }
    for (const auto& exchange : draining) {
      if (Connection* connection = exchange->connection()) connection->flush();
    }
    draining.clear();
  }
}

asio::awaitable<void> accept_loop(std::shared_ptr<ServerImpl> server) {
  asio::steady_timer pause(server->context);
  while (server->acceptor.is_open()) {
    auto [error, socket] =
        co_await server->acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      // Out of descriptors, most likely: connections that end will free some.
      log_warning("http", "accept: " + error.message());
      pause.expires_after(std::chrono::milliseconds(100));
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    auto connection = std::make_shared<Connection>(std::move(socket), server);
    asio::co_spawn(
        server->context, [connection] { return connection->run(); },
        [](std::exception_ptr failure) {
          if (failure) log_error("http", "a connection ended with an exception");
        });
  }
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (boost::beast::iequals(key, name)) return value;
  }
  return {};
}

void HttpServer::Impl::wait_for_signal() {
  signals.async_wait([self = shared_from_this()](error_code error, int) {
    if (error) return;
    self->options.on_signal(++self->signal_count);
    if (self->signal_count < 2) {
      self->wait_for_signal();
    } else {
      error_code ignored;
      self->signals.clear(ignored);  // a third one ends the process
    }
  });
}

HttpServer::HttpServer(HttpServerOptions options)
    : impl_(std::make_shared<Impl>(std::move(options))) {}

HttpServer::~HttpServer() {
  // Threads that still hold an exchange may push to the list; it no longer reaches the context.
  const std::lock_guard lock(impl_->ready->mutex);
  impl_->ready->closed = true;
  impl_->ready->exchanges.clear();
}

Status HttpServer::listen(const std::string& host, int port) {
  const std::string place = host + ":" + std::to_string(port);
  error_code error;
  tcp::resolver resolver(impl_->context);
  const auto found =
      resolver.resolve(host.empty() ? "0.0.0.0" : host, std::to_string(port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error) return invalid_argument("cannot listen on " + place + ": " + error.message());
  const tcp::endpoint endpoint = *found.begin();
  tcp::acceptor& acceptor = impl_->acceptor;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(kBacklog, error);
  if (error) {
    error_code ignored;
    acceptor.close(ignored);
    return failed_precondition("cannot listen on " + place + ": " + error.message());
  }
  return ok_status();
}

int HttpServer::port() const {
  error_code ignored;
  return impl_->acceptor.local_endpoint(ignored).port();
}

void HttpServer::run(std::function<void()> on_running) {
  Impl& impl = *impl_;
  if (impl.options.on_signal) {
    error_code ignored;
    impl.signals.add(SIGINT, ignored);
    impl.signals.add(SIGTERM, ignored);
    impl.wait_for_signal();
  }
  asio::co_spawn(impl.context, accept_loop(impl_), asio::detached);
  if (on_running) asio::post(impl.context, std::move(on_running));
  impl.context.run();
  // Everything that waits holds the server; it is told to end, and polled until it has.
  error_code ignored;
  impl.signals.clear(ignored);
  impl.signals.cancel(ignored);
  impl.finish_timer.cancel();
  impl.acceptor.close(ignored);
  for (Connection* connection : impl.connections) connection->close();
  impl.context.restart();
  impl.context.poll();
}

void HttpServer::stop_accepting() {
  asio::post(impl_->context, [impl = impl_] {
    impl->closing = true;
    error_code ignored;
    impl->acceptor.close(ignored);
  });
}

void HttpServer::finish(double grace_seconds) {
  asio::post(impl_->context, [impl = impl_, grace_seconds] {
    impl->finishing = true;
    impl->finish_timer.expires_after(to_duration(grace_seconds));
    impl->finish_timer.async_wait([impl](error_code error) {
      if (!error) impl->context.stop();
    });
    impl->maybe_finish();
  });
}

void HttpServer::close_connections() {
  asio::post(impl_->context, [impl = impl_] {
    for (Connection* connection : impl->connections) connection->close();
  });
}

}  // namespace octavo::serve
