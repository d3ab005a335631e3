#include "serve/transport/http_exchange.h"

#include <utility>

namespace octavo::serve {

void Exchange::respond(HttpResponse response) {
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

void Exchange::begin_stream(std::string_view content_type) {
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

bool Exchange::write(std::string_view bytes) {
  bool wake = false;
  bool alive = true;
  {
    const std::lock_guard lock(mutex_);
    if (ended_ || gone_) return false;
    if (pending_.size() + unsent_ + bytes.size() > limits_->of_one_stream()) {
      // The io thread closes the socket and reports; a sender waiting for room keeps queued_ set,
      // so the list gets this exchange once more.
      gone_ = cut_off_ = true;
      release(pending_);
      alive = false;
      wake = true;
    } else {
      pending_.append(bytes);
      if (unsent_ > 0) count_unsent(counted_ + bytes.size());
      wake = !std::exchange(queued_, true);
    }
  }
  if (wake) ready_->push(shared_from_this());
  return alive;
}

void Exchange::end_stream() {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (ended_ || gone_) return;
    ended_ = true;
    wake = !std::exchange(queued_, true);
  }
  if (wake) ready_->push(shared_from_this());
}

void Exchange::on_gone(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) {
      on_gone_ = std::move(callback);
      return;
    }
  }
  callback();
}

void Exchange::mark_gone() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    callback.swap(on_gone_);  // taken once, whoever saw it first
  }
  if (callback) callback();
}

bool Exchange::cut_off() {
  const std::lock_guard lock(mutex_);
  return cut_off_;
}

Exchange::Taken Exchange::take(std::string& bytes) {
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

void Exchange::set_unsent(size_t bytes) {
  const std::lock_guard lock(mutex_);
  unsent_ = bytes;
  count_unsent(bytes > 0 ? bytes + pending_.size() : 0);
}

// REQUIRES: mutex_ is held.
void Exchange::count_unsent(size_t bytes) {
  limits_->total.fetch_add(bytes - counted_, std::memory_order_relaxed);  // wraps around
  counted_ = bytes;
}

void Exchange::detach() {
  sender_ = nullptr;
  std::function<void()> callback;  // holds what holds this exchange; freed after the lock
  std::vector<std::shared_ptr<void>> tickets;
  const std::lock_guard lock(mutex_);
  count_unsent(0);
  callback.swap(on_gone_);
  if (!gone_) tickets.swap(held_);
}

void ReadyList::push(std::shared_ptr<Exchange> exchange) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  exchanges_.push_back(std::move(exchange));
  // Under the lock, so that close() returns only when no wake-up is being made.
  if (!std::exchange(scheduled_, true)) wake_();
}

void ReadyList::drain() {
  {
    const std::lock_guard lock(mutex_);
    draining_.swap(exchanges_);
  }
  for (const auto& exchange : draining_) {
    if (ExchangeSender* sender = exchange->sender()) sender->flush();
  }
  draining_.clear();
  // What came meanwhile waits for another round: between two rounds the loop looks at its other
  // sockets.
  const std::lock_guard lock(mutex_);
  scheduled_ = !exchanges_.empty() && !closed_;
  if (scheduled_) wake_();
}

void ReadyList::close() {
  std::vector<std::shared_ptr<Exchange>> dropped;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  dropped.swap(exchanges_);
}

}  // namespace octavo::serve
