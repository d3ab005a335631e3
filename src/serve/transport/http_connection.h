// Connection: one client's socket, from its first request to its last answer. Internal to the
// transport; the io thread alone touches it. One coroutine reads requests one after the other:
//
//   read head and body → handler → sleep until answered, gone or stuck → next request
//
// The hot path, one token of one stream, does not touch the coroutine: an output thread appends to
// the exchange and queues it; flush() takes what waits and sends it with one system call. Only when
// the socket is full does the rest wait in backlog_ for room. Closing the socket is what frees a
// stuck sender. With TLS, bytes pass through the session between the socket and the rest, once
// hands were shaken. That takes a processor milliseconds, so it happens beside the io thread.
#pragma once

#include <sys/uio.h>

#include <boost/asio.hpp>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "serve/transport/http_exchange.h"
#include "serve/transport/http_server.h"
#include "serve/transport/request_reader.h"
#include "serve/transport/tls.h"

namespace octavo::serve {

class Connection;

// What the connections of one server share.
struct IoState {
  explicit IoState(HttpServerOptions o);

  const HttpServerOptions options;
  boost::asio::io_context context{1};
  std::unique_ptr<boost::asio::thread_pool> handshakes;  // one thread; null without TLS
  std::shared_ptr<ReadyList> ready;
  std::shared_ptr<UnsentLimits> limits;
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
  using Socket = boost::asio::generic::stream_protocol::socket;  // TCP or Unix

  Connection(Socket socket, std::shared_ptr<IoState> io);
  ~Connection() override { io_->connections.erase(this); }

  boost::asio::awaitable<void> run();
  // Sends what the exchange holds. Called when it was queued and when the socket has room again.
  void flush() override;
  void close();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Read { kMessage, kClosed, kFailed };

  boost::asio::awaitable<void> shake_hands(std::unique_ptr<TlsSession> session);
  boost::asio::awaitable<Read> read_message(RequestReader& reader, bool first);
  boost::asio::awaitable<void> await_answer();
  boost::asio::awaitable<void> linger();
  void take_head(RequestReader& reader);
  void begin_answer();
  void refuse(RequestReader& reader, int status, const std::string& message);
  void refuse(RequestReader& reader, HttpResponse answer);
  void send_continue();
  void dispatch(RequestReader& reader);
  void append_head(const HttpResponse& response, bool streamed);

  // Reading: arm_read() asks for one readiness; read_socket() returns what came, in the shared
  // scratch memory; receive() moves it into in_. At the end, or after an error, peer_closed_ is
  // set.
  void arm_read();
  std::string_view read_socket();
  void receive();
  void receive_tls(std::string_view bytes);
  void obey(const TlsSession& session, TlsSession::State state, std::string& reply);

  // A condition variable of one thread: sleep_until() ends at notify() (true) or at the deadline
  // (false).
  boost::asio::awaitable<bool> sleep_until(Clock::time_point deadline);
  void notify() {
    notified_ = true;
    timer_.cancel();
  }

  void send_piece(std::string_view tail, bool ends);
  bool send_or_keep(std::span<const iovec> parts);
  void send_own(std::string& bytes);
  void send_backlog();
  void wait_writable();
  void answer_sent();

  Socket socket_;
  std::shared_ptr<IoState> io_;
  std::unique_ptr<TlsSession> tls_;  // null: plain, or no hands shaken yet
  boost::asio::steady_timer timer_;
  bool notified_ = false;
  bool read_armed_ = false;
  bool readable_ = false;
  bool peer_closed_ = false;
  bool peer_speaks_plain_http_ = false;  // on a port for TLS
  bool closed_ = false;

  std::string in_;  // received, not yet parsed
  std::string remote_;
  std::string client_;

  HttpRequest request_;  // of the answer under way, without its body
  std::shared_ptr<Exchange> exchange_;
  HttpHeaders more_headers_;             // of the answer, from on_received
  std::optional<HttpResponse> refusal_;  // of the request being read, from admit
  int status_ = 0;
  bool keep_alive_ = false;
  bool http10_ = false;
  bool head_only_ = false;
  bool chunked_ = false;
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
