#include "serve/http_connection.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <boost/beast/core/string.hpp>
#include <ctime>

#include "base/clock.h"
#include "base/log.h"

namespace octavo::serve {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr int kClientGone = 499;  // nginx's code, for logs and metrics only

std::chrono::steady_clock::duration to_duration(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

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

}  // namespace

IoState::IoState(HttpServerOptions o)
    : options(std::move(o)),
      ready(
          std::make_shared<ReadyList>([this] { asio::post(context, [this] { ready->drain(); }); })),
      scratch(kReadBytes) {}

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
  std::vector<char>& scratch = io_->scratch;
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
  const auto& options = io_->options;
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
  const auto& options = io_->options;
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
  keep_alive_ = http10_ = head_only_ = cors_ = false;
  exchange_ = std::make_shared<Exchange>(io_->ready, this, io_->options.max_unsent_bytes);
  ++io_->active;
  answered_ = false;
  exchange_->respond(io_->options.make_error(status, message));
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
  keep_alive_ = message.keep_alive() && !io_->closing;
  http10_ = message.version() < 11;
  head_only_ = message.method() == http::verb::head;
  cors_ = message.find(http::field::origin) != message.end();
  exchange_ = std::make_shared<Exchange>(io_->ready, this, io_->options.max_unsent_bytes);
  ++io_->active;
  answered_ = false;
  if (in_.empty()) in_ = {};
  HttpRequest request = request_;
  request.body = std::move(message.body());
  io_->options.handler(std::move(request), exchange_);
}

// Waits for the answer and watches the client meanwhile: end of file means that nobody will read
// it.
asio::awaitable<void> Connection::await_answer() {
  while (!answered_ && !closed_) {
    // A client may send its next requests early, but only so much of them.
    if (in_.size() < io_->options.max_header_bytes) arm_read();
    const bool stuck_possible = writing_;
    const auto deadline = stuck_possible ? last_progress_ + to_duration(io_->options.write_seconds)
                                         : Clock::time_point::max();
    const bool woken = co_await sleep_until(deadline);
    if (closed_ || answered_) break;
    if (readable_ && !receive()) close();
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
    parser.header_limit(static_cast<uint32_t>(io_->options.max_header_bytes));
    parser.body_limit(io_->options.max_body_bytes);
    request_ = {};
    const Read read = co_await read_message(parser, first);
    if (read == Read::kClosed) break;
    if (read == Read::kMessage) dispatch(parser);
    co_await await_answer();
    lingering = read == Read::kFailed;
    if (!keep_alive_ || io_->closing) break;
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
  if (io_->closing) keep_alive_ = false;
  chunked_ = streamed && !http10_;
  if (streamed && http10_) keep_alive_ = false;  // the end of the body is the end of the connection
  if (chunked_) {
    append_head_line(out_, "transfer-encoding", "chunked");
  } else if (!streamed && response.status != 204 && response.status != 304) {
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
  send_piece(tail, taken.ended);
}

// Sends out_, body_ and `tail` as one; what does not fit waits in the backlog.
void Connection::send_piece(std::string_view tail, bool ends) {
  std::array<iovec, 3> parts = {iovec{out_.data(), out_.size()}, iovec{body_.data(), body_.size()},
                                iovec{const_cast<char*>(tail.data()), tail.size()}};
  const size_t total = out_.size() + body_.size() + tail.size();
  size_t sent = 0;
  if (total > 0) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t n = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return close();
    sent = n < 0 ? 0 : static_cast<size_t>(n);
  }
  if (sent == total) {
    if (ends) answer_sent();
    return;
  }
  backlog_.clear();
  for (const iovec& part : parts) {
    const size_t from = std::min(sent, part.iov_len);
    backlog_.append(static_cast<const char*>(part.iov_base) + from, part.iov_len - from);
    sent -= from;
  }
  backlog_sent_ = 0;
  end_after_backlog_ = ends;
  writing_ = true;
  last_progress_ = Clock::now();
  exchange_->set_unsent(backlog_.size());
  wait_writable();
  notify();  // await_answer() must watch the clock now
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
  // A large answer does not keep its memory while the connection idles.
  if (body_.capacity() > kReadBytes) body_ = {};
  answered_ = true;
  notify();
}

}  // namespace octavo::serve
