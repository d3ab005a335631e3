// Exchange: the answer to one request, between the thread that makes it and the io thread that
// sends it; and ReadyList, through which the first wakes the second. Internal to the transport.
//
// Concurrency: HttpExchange's calls come from any thread. "Gone" is one transition, made under the
// lock by whoever sees it first: the reader (end of file), the sender (error, time-out) or write()
// (too much unsent); only the io thread reports it, once.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/transport/http_server.h"

namespace octavo::serve {

class Exchange;

// Empties a string and gives its memory back, which assigning an empty one does not.
inline void release(std::string& text) {
  std::string().swap(text);
}

// How much may wait for clients that have no room for it: for one of them, and for all of a server.
// While all is more than `in_all`, a stream that keeps more than `share` is cut off, so that many
// slow readers at once cost no more memory than this and their shares. Any thread.
struct UnsentLimits {
  UnsentLimits(size_t for_one, size_t for_all, size_t fair_share)
      : per_stream(for_one), in_all(for_all), share(fair_share) {}

  const size_t per_stream;
  const size_t in_all;
  const size_t share;
  std::atomic<size_t> total = 0;

  size_t of_one_stream() const {
    const bool full = total.load(std::memory_order_relaxed) > in_all;
    return full ? std::min(share, per_stream) : per_stream;
  }
};

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
  Exchange(std::shared_ptr<ReadyList> ready, ExchangeSender* sender,
           std::shared_ptr<UnsentLimits> limits)
      : ready_(std::move(ready)), sender_(sender), limits_(std::move(limits)) {}

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
  void count_unsent(size_t bytes);

  const std::shared_ptr<ReadyList> ready_;
  ExchangeSender* sender_;  // io thread; null once detached
  const std::shared_ptr<UnsentLimits> limits_;

  std::mutex mutex_;  // guards all below
  std::string pending_;
  std::optional<HttpResponse> head_;
  std::function<void()> on_gone_;
  size_t unsent_ = 0;   // taken, and no room for it in the socket
  size_t counted_ = 0;  // of this stream, in limits_->total: 0 while its client keeps up
  bool head_taken_ = false;
  bool streamed_ = false;
  bool ended_ = false;
  bool gone_ = false;
  bool cut_off_ = false;
  bool queued_ = false;  // on the ready list
};

}  // namespace octavo::serve
