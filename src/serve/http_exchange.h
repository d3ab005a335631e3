// Exchange: the answer to one request, between the thread that makes it and the io thread that
// sends it; and ReadyList, through which the first wakes the second. Internal to the transport.
//
// Concurrency: HttpExchange's calls come from any thread. "Gone" is one transition, made under the
// lock by whoever sees it first: the reader (end of file), the sender (error, time-out) or write()
// (too much unsent); only the io thread reports it, once.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/http_server.h"

namespace octavo::serve {

class Exchange;

// The connection, as an exchange sees it. io thread.
class ExchangeSender {
 public:
  virtual ~ExchangeSender() = default;
  // The exchange has something to send, or was cut off.
  virtual void flush() = 0;
};

// Exchanges with something for the io thread to do. At most one wake-up is under way at a time.
class ReadyList {
 public:
  // `wake` makes the io thread call drain() soon; any thread may call it.
  explicit ReadyList(std::function<void()> wake) : wake_(std::move(wake)) {}

  void push(std::shared_ptr<Exchange> exchange);
  // One round over the list. io thread.
  void drain();
  // No wake-up from now on: the io thread is going away.
  void close();

 private:
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Exchange>> exchanges_;  // guarded
  bool scheduled_ = false;                            // guarded
  bool closed_ = false;                               // guarded
  std::vector<std::shared_ptr<Exchange>> draining_;   // io thread
};

class Exchange final : public HttpExchange, public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(std::shared_ptr<ReadyList> ready, ExchangeSender* sender, size_t max_unsent)
      : ready_(std::move(ready)), sender_(sender), max_unsent_(max_unsent) {}

  void respond(HttpResponse response) override;
  void begin_stream(std::string_view content_type) override;
  bool write(std::string_view bytes) override;
  void end_stream() override;
  void on_gone(std::function<void()> callback) override;

  // The following are for the io thread.
  void mark_gone();
  // write() gave up on a client that does not read; its socket is to be closed.
  bool cut_off();

  struct Taken {
    std::optional<HttpResponse> head;  // its body is in `bytes`
    bool streamed = false;
    bool ended = false;
  };
  // Swaps what waits into `bytes` (empty on entry), so that the two buffers keep their capacity.
  Taken take(std::string& bytes);
  // How much of what was taken the socket had no room for yet.
  void set_unsent(size_t bytes);
  // The answer has been sent or nobody waits for it: forgets the callback and the connection.
  void detach();
  ExchangeSender* sender() const { return sender_; }

 private:
  const std::shared_ptr<ReadyList> ready_;
  ExchangeSender* sender_;  // io thread; null once detached
  const size_t max_unsent_;

  std::mutex mutex_;  // guards all below
  std::string pending_;
  std::optional<HttpResponse> head_;
  std::function<void()> on_gone_;
  size_t unsent_ = 0;
  bool head_taken_ = false;
  bool streamed_ = false;
  bool ended_ = false;
  bool gone_ = false;
  bool cut_off_ = false;
  bool queued_ = false;  // on the ready list
};

}  // namespace octavo::serve
