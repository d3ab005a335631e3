#include "serve/transport/http_connection.h"

#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/log.h"
#include "serve/transport/http_words.h"
#include "serve/transport/peer.h"
#include "serve/transport/response_head.h"

namespace octavo::serve {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kUnsentShare = 64 << 10;
constexpr size_t kKeptBytes = 1 << 10;        // capacity that a buffer keeps between requests
constexpr double kBodyBytesPerSecond = 1024;  // slower than that is an attack, or no use
constexpr int kClientGone = 499;              // nginx's code, for logs and metrics only

std::chrono::steady_clock::duration to_duration(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

}  // namespace

IoState::IoState(HttpServerOptions o)
    : options(std::move(o)),
      ready(
          std::make_shared<ReadyList>([this] { asio::post(context, [this] { ready->drain(); }); })),
      limits(std::make_shared<UnsentLimits>(options.max_unsent_bytes,
                                            options.max_unsent_bytes_in_all, kUnsentShare)),
      scratch(kReadBytes) {
  if (options.tls == nullptr) return;
  handshakes = std::make_unique<asio::thread_pool>(1);
  asio::post(*handshakes, [] { pthread_setname_np(pthread_self(), "octavo-tls"); });
}

Connection::Connection(Socket socket, std::shared_ptr<IoState> io)
    : socket_(std::move(socket)), io_(std::move(io)), timer_(io_->context) {
  Peer peer = peer_of(socket_.native_handle());
  client_ = std::move(peer.address);
  remote_ = std::move(peer.address_and_port);
  io_->connections.insert(this);
}

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
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](error_code error) {
    self->read_armed_ = false;
    if (error) return;  // closed: close() has notified
    self->readable_ = true;
    self->notify();
  });
}

std::string_view Connection::read_socket() {
  readable_ = false;
  std::vector<char>& scratch = io_->scratch;
  const ssize_t n = ::recv(socket_.native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT);
  if (n > 0) return {scratch.data(), static_cast<size_t>(n)};
  const bool nothing_yet = n < 0 && (errno == EAGAIN || errno == EINTR);
  if (!nothing_yet) peer_closed_ = true;
  return {};
}

void Connection::receive() {
  const std::string_view bytes = read_socket();
  if (tls_ == nullptr) {
    in_.append(bytes);
  } else if (!bytes.empty()) {
    receive_tls(bytes);
  }
}

void Connection::receive_tls(std::string_view bytes) {
  std::string reply;
  const TlsSession::State state = tls_->receive(bytes, in_, reply);
  obey(*tls_, state, reply);
}

// What follows from a session's receive().
void Connection::obey(const TlsSession& session, TlsSession::State state, std::string& reply) {
  send_own(reply);
  if (state == TlsSession::State::kOpen) return;
  if (!session.error().empty()) log_debug("http", remote_ + ": TLS: " + session.error());
  peer_closed_ = true;
}

// Until hands are shaken nothing but the alerts and messages of TLS is sent, and tls_ is null: the
// session is this coroutine's, and on the other thread only while the coroutine waits for it.
asio::awaitable<void> Connection::shake_hands(std::unique_ptr<TlsSession> session) {
  const auto deadline = Clock::now() + to_duration(io_->options.read_seconds);
  while (!session->established() && !peer_closed_) {
    arm_read();
    while (!readable_) {
      const bool woken = co_await sleep_until(deadline);
      if (!woken) close();
      if (closed_) co_return;
    }
    const std::string bytes(read_socket());
    if (bytes.empty()) continue;
    std::string plain, reply;
    const TlsSession::State state = co_await asio::co_spawn(
        *io_->handshakes,
        [&]() -> asio::awaitable<TlsSession::State> {
          co_return session->receive(bytes, plain, reply);
        },
        asio::use_awaitable);
    if (closed_) co_return;
    if (state == TlsSession::State::kPlainHttp) {
      peer_speaks_plain_http_ = true;
      co_return;
    }
    in_.append(plain);
    obey(*session, state, reply);
  }
  tls_ = std::move(session);
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  if (exchange_) exchange_->mark_gone();
  if (tls_ != nullptr && !writing_) {
    std::string alert;
    tls_->close(alert);
    [[maybe_unused]] const ssize_t sent =
        ::send(socket_.native_handle(), alert.data(), alert.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  error_code ignored;
  socket_.close(ignored);
  notify();
}

asio::awaitable<Connection::Read> Connection::read_message(RequestReader& reader, bool first) {
  const auto& options = io_->options;
  const auto patience = to_duration(options.read_seconds);
  auto deadline = Clock::now() + (first ? patience : to_duration(options.keep_alive_seconds));
  bool started = false;
  Clock::time_point body_began{};
  if (peer_speaks_plain_http_) {
    request_.arrival = steady_seconds();
    refuse(reader, 400, "This port speaks HTTPS: use https:// in the URL.");
    co_return Read::kFailed;
  }
  while (!closed_) {
    if (!in_.empty()) {
      if (!std::exchange(started, true)) {
        request_.arrival = steady_seconds();
        deadline = Clock::now() + patience;
      }
      const bool had_head = reader.head_is_whole();
      in_.erase(0, reader.feed(in_));
      if (reader.head_is_whole() && !had_head) take_head(reader);
      switch (reader.state()) {
        case RequestReader::State::kDone:
          co_return Read::kMessage;
        case RequestReader::State::kFailed:
          refuse(reader, reader.error_status(), reader.error());
          co_return Read::kFailed;
        case RequestReader::State::kBody: {
          if (refusal_) {
            refuse(reader, *std::exchange(refusal_, std::nullopt));
            co_return Read::kFailed;
          }
          const auto now = Clock::now();
          if (!had_head) {
            body_began = now;
            if (reader.wants_continue()) send_continue();
          }
          const double earned =
              static_cast<double>(reader.request().body.size()) / kBodyBytesPerSecond;
          deadline = std::min(now, body_began + to_duration(earned)) + patience;
          break;
        }
        case RequestReader::State::kHead:
          break;
      }
    }
    if (peer_closed_) co_return Read::kClosed;
    arm_read();
    while (!readable_) {
      const bool woken = co_await sleep_until(deadline);
      if (closed_) co_return Read::kClosed;
      if (woken) continue;
      if (!started) co_return Read::kClosed;
      refuse(reader, 408, "The request did not arrive in time.");
      co_return Read::kFailed;
    }
    receive();
  }
  co_return Read::kClosed;
}

// The headers are whole; the body may still be on its way.
void Connection::take_head(RequestReader& reader) {
  HttpRequest& request = reader.request();
  request.remote = remote_;
  request.client = client_;
  request.arrival = request_.arrival;
  if (tls_ != nullptr) request.scheme = "https";
  keep_alive_ = reader.keep_alive() && !io_->closing;
  http10_ = reader.http10();
  head_only_ = request.method == "HEAD";
  if (io_->options.on_received) more_headers_ = io_->options.on_received(request);
  refusal_.reset();
  if (io_->options.admit && reader.state() != RequestReader::State::kFailed) {
    refusal_ = io_->options.admit(request);
  }
}

void Connection::send_continue() {
  std::string bytes = "HTTP/1.1 100 Continue\r\n\r\n";
  if (tls_ != nullptr) {
    std::string plain;
    plain.swap(bytes);
    tls_->send(plain, bytes);
  }
  send_own(bytes);
}

void Connection::begin_answer() {
  exchange_ = std::make_shared<Exchange>(io_->ready, this, io_->limits);
  ++io_->active;
  answered_ = false;
}

// Answers in the transport's own name, with no handler, and closes after it.
void Connection::refuse(RequestReader& reader, HttpResponse answer) {
  const double arrival = request_.arrival;
  request_ = std::move(reader.request());
  release(request_.body);
  request_.ticket = nullptr;
  request_.arrival = arrival;
  if (!reader.head_is_whole()) {
    request_.remote = remote_;
    request_.client = client_;
    http10_ = head_only_ = false;
  }
  keep_alive_ = false;
  begin_answer();
  exchange_->respond(std::move(answer));
}

void Connection::refuse(RequestReader& reader, int status, const std::string& message) {
  refuse(reader, io_->options.make_error(reader.request(), status, message));
}

void Connection::dispatch(RequestReader& reader) {
  HttpRequest request = std::move(reader.request());
  std::string body = std::move(request.body);
  std::shared_ptr<void> ticket = std::move(request.ticket);
  request_ = request;
  request.body = std::move(body);
  if (in_.empty()) release(in_);
  begin_answer();
  if (refusal_) return exchange_->respond(*std::exchange(refusal_, std::nullopt));
  exchange_->hold(std::move(ticket));
  io_->options.handler(std::move(request), exchange_);
}

// Waits for the answer and watches the client meanwhile: end of file means that nobody will read
// it.
asio::awaitable<void> Connection::await_answer() {
  if (peer_closed_) close();  // with TLS the end can come together with the request
  while (!answered_ && !closed_) {
    // A client may send its next requests early, but only so much of them.
    if (in_.size() < io_->options.max_header_bytes) arm_read();
    const bool stuck_possible = writing_;
    const auto deadline = stuck_possible ? last_progress_ + to_duration(io_->options.write_seconds)
                                         : Clock::time_point::max();
    const bool woken = co_await sleep_until(deadline);
    if (closed_ || answered_) break;
    if (readable_) receive();
    if (peer_closed_) close();
    if (!woken && writing_ &&
        Clock::now() >= last_progress_ + to_duration(io_->options.write_seconds)) {
      close();
    }
  }
  if (!answered_) status_ = kClientGone;
  exchange_->detach();
  exchange_ = nullptr;
  if (io_->options.on_answered) {
    io_->options.on_answered(request_, status_, steady_seconds() - request_.arrival);
  }
  io_->answer_ended();
}

// After an early refusal the client may still be sending. Closing at once would reset the
// connection and take the answer with it, so what comes is read and dropped for a while.
asio::awaitable<void> Connection::linger() {
  if (tls_ != nullptr) {
    std::string alert;
    tls_->close(alert);
    send_own(alert);
  }
  error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
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
  if (io_->options.tls != nullptr) {
    std::unique_ptr<TlsSession> session = io_->options.tls->accept();
    if (session == nullptr) {
      close();
    } else {
      co_await shake_hands(std::move(session));
    }
  }
  bool lingering = false;
  for (bool first = true; !closed_; first = false) {
    RequestReader reader({.head_bytes = io_->options.max_header_bytes,
                          .body_bytes = io_->options.max_body_bytes,
                          .headers = io_->options.max_header_count});
    request_ = {};
    more_headers_.clear();
    const Read read = co_await read_message(reader, first);
    if (read == Read::kClosed) break;
    if (read == Read::kMessage) dispatch(reader);
    co_await await_answer();
    lingering = read == Read::kFailed;
    if (!keep_alive_ || io_->closing) break;
  }
  if (lingering && !closed_) co_await linger();
  close();
}

void Connection::append_head(const HttpResponse& response, bool streamed) {
  status_ = response.status;
  if (io_->closing) keep_alive_ = false;
  chunked_ = streamed && !http10_;
  if (streamed && http10_) keep_alive_ = false;  // the end of the body is the end of the connection
  append_response_head(out_, response, more_headers_,
                       {.http10 = http10_,
                        .chunked = chunked_,
                        .keep_alive = keep_alive_,
                        .length_known = !streamed,
                        .body_bytes = body_.size()});
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
  if (taken.head) append_head(*taken.head, taken.streamed);
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
  send_piece(tail, taken.ended);
}

// Sends out_, body_ and `tail` as one.
void Connection::send_piece(std::string_view tail, bool ends) {
  if (tls_ != nullptr) {
    out_.append(body_).append(tail);
    body_.clear();
    if (!tls_->send(out_, body_)) return close();
    out_.clear();
    tail = {};
  }
  const std::array<iovec, 3> parts = {iovec{out_.data(), out_.size()},
                                      iovec{body_.data(), body_.size()},
                                      iovec{const_cast<char*>(tail.data()), tail.size()}};
  if (!send_or_keep(parts)) return;
  if (!writing_) {
    if (ends) answer_sent();
    return;
  }
  end_after_backlog_ = ends;
  exchange_->set_unsent(backlog_.size());
  notify();  // await_answer() must watch the clock now
}

// What the socket has no room for waits in the backlog, with writing_ set. False: the connection is
// closed.
bool Connection::send_or_keep(std::span<const iovec> parts) {
  size_t total = 0;
  for (const iovec& part : parts) total += part.iov_len;
  size_t sent = 0;
  if (total > 0) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());
    message.msg_iovlen = parts.size();
    const ssize_t n = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
      close();
      return false;
    }
    sent = n < 0 ? 0 : static_cast<size_t>(n);
  }
  if (sent == total) return true;
  backlog_.clear();
  for (const iovec& part : parts) {
    const size_t from = std::min(sent, part.iov_len);
    backlog_.append(static_cast<const char*>(part.iov_base) + from, part.iov_len - from);
    sent -= from;
  }
  backlog_sent_ = 0;
  writing_ = true;
  end_after_backlog_ = false;
  last_progress_ = Clock::now();
  wait_writable();
  return true;
}

// Sends what is no part of an answer: TLS's own messages, and 100 Continue.
void Connection::send_own(std::string& bytes) {
  if (bytes.empty() || closed_) return;
  if (!writing_) {
    const iovec part{bytes.data(), bytes.size()};
    send_or_keep({&part, 1});
  } else if (backlog_.size() - backlog_sent_ < kReadBytes) {
    backlog_.append(bytes);
  } else {
    close();  // a peer that makes TLS talk and does not listen
  }
}

void Connection::wait_writable() {
  socket_.async_wait(Socket::wait_write, [self = shared_from_this()](error_code error) {
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
  const size_t left = backlog_.size() - backlog_sent_;
  if (exchange_ != nullptr) exchange_->set_unsent(left);
  if (left > 0) {
    wait_writable();
    return;
  }
  release(backlog_);
  writing_ = false;
  if (std::exchange(end_after_backlog_, false)) {
    answer_sent();
  } else {
    flush();
  }
}

void Connection::answer_sent() {
  // An idle connection holds no more than it must.
  if (body_.capacity() > kKeptBytes) release(body_);
  if (out_.capacity() > kKeptBytes) release(out_);
  answered_ = true;
  notify();
}

}  // namespace octavo::serve
