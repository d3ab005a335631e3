// Connection: one client's socket, from its first request to its last answer. Internal to the
// transport; the io thread alone touches it. One coroutine reads requests one after the other:
//
//   read head and body → handler → sleep until answered, gone or stuck → next request
//
// The hot path, one token of one stream, does not touch the coroutine: an output thread appends to
// the exchange and queues it; flush() takes what waits and sends it with one system call. Only when
// the socket is full does the rest wait in backlog_ for room. Closing the socket is what frees a
// stuck sender.
#pragma once

#include <boost/asio.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "serve/http_exchange.h"
#include "serve/http_server.h"

namespace octavo::serve {

class Connection;

// What the connections of one server share.
struct IoState {
  explicit IoState(HttpServerOptions o);

  const HttpServerOptions options;
  boost::asio::io_context context{1};
  std::shared_ptr<ReadyList> ready;
  std::unordered_set<Connection*> connections;
  std::vector<char> scratch;  // every connection reads into it
  int active = 0;             // answers under way
  bool closing = false;       // answers from now on close their connection
  bool finishing = false;     // the loop stops when active falls to 0

  void answer_ended() {
    --active;
    stop_if_finished();
  }
  void stop_if_finished() {
    if (finishing && active == 0) context.stop();
  }
};

class Connection final : public ExchangeSender, public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::ip::tcp::socket socket, std::shared_ptr<IoState> io)
      : socket_(std::move(socket)), io_(std::move(io)), timer_(io_->context) {
    io_->connections.insert(this);
  }
  ~Connection() override { io_->connections.erase(this); }

  boost::asio::awaitable<void> run();
  // Sends what the exchange holds. Called when it was queued and when the socket has room again.
  void flush() override;
  void close();

 private:
  using Clock = std::chrono::steady_clock;
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  enum class Read { kMessage, kClosed, kFailed };

  boost::asio::awaitable<Read> read_message(Parser& parser, bool first);
  boost::asio::awaitable<void> await_answer();
  boost::asio::awaitable<void> linger();
  void refuse(int status, const std::string& message);
  void fail_parse(boost::system::error_code error);
  void send_continue(Parser& parser);
  void dispatch(Parser& parser);
  void append_response_head(const HttpResponse& response, bool streamed, size_t body_bytes);

  // Reading: arm_read() asks for one readiness, receive() moves what came into in_.
  void arm_read();
  bool receive();  // false: end of file or error

  // A condition variable of one thread: sleep_until() ends at notify() (true) or at the deadline
  // (false).
  boost::asio::awaitable<bool> sleep_until(Clock::time_point deadline);
  void notify() {
    notified_ = true;
    timer_.cancel();
  }

  void send_piece(std::string_view tail, bool ends);
  void send_backlog();
  void wait_writable();
  void answer_sent();

  boost::asio::ip::tcp::socket socket_;
  std::shared_ptr<IoState> io_;
  boost::asio::steady_timer timer_;
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

}  // namespace octavo::serve
