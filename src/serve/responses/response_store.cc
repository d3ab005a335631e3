#include "serve/responses/response_store.h"

#include <algorithm>

namespace octavo::serve {

namespace {

// Nodes, pointers and the allocator's own share, so that tiny answers cannot add up to much.
constexpr size_t kEntryBytes = 512;
constexpr size_t kItemBytes = 256;

}  // namespace

size_t StoredResponse::items_bytes() const {
  size_t sum = 0;
  for (const Item& item : input_items) sum += item.json.size();
  for (const Item& item : output_items) sum += item.json.size();
  return sum;
}

size_t StoredResponse::bytes() const {
  size_t sum = kEntryBytes + 2 * (owner.size() + id.size()) + previous_id.size() + body.size();
  for (const Item& item : input_items) sum += kItemBytes + item.id.size();
  for (const Item& item : output_items) sum += kItemBytes + 2 * item.id.size() + owner.size();
  return sum + items_bytes();
}

ResponseStore::ResponseStore(size_t max_bytes, double max_seconds, std::function<double()> clock)
    : max_bytes_(max_bytes), max_seconds_(max_seconds), clock_(std::move(clock)) {}

void ResponseStore::put(StoredResponse response) {
  const size_t size = response.bytes();
  if (size > max_bytes_) return;
  Key key(response.owner, response.id);
  auto kept = std::make_shared<const StoredResponse>(std::move(response));
  Entries dropped;
  const std::lock_guard lock(mutex_);
  if (const auto old = by_key_.find(key); old != by_key_.end()) remove(old, dropped);
  entries_.push_front({std::move(kept), clock_()});
  by_key_.emplace(std::move(key), entries_.begin());
  const StoredResponse& newest = *entries_.front().response;
  for (const auto& item : newest.output_items) {
    by_item_.emplace(Key(newest.owner, item.id), entries_.begin());
  }
  bytes_ += size;
  make_room(dropped);
}

StatusOr<ResponseStore::Pointer> ResponseStore::find(const std::string& owner,
                                                     const std::string& id) {
  Entries dropped;
  const std::lock_guard lock(mutex_);
  make_room(dropped);
  Pointer found = touch({owner, id});
  if (found == nullptr) return missing("Response", id);
  return found;
}

StatusOr<std::string> ResponseStore::find_item(const std::string& owner,
                                               const std::string& item_id) {
  Entries dropped;
  Pointer found;
  {
    const std::lock_guard lock(mutex_);
    make_room(dropped);
    const auto at = by_item_.find({owner, item_id});
    if (at == by_item_.end()) return missing("Item", item_id);
    found = touch({owner, at->second->response->id});
  }
  for (const StoredResponse::Item& item : found->output_items) {
    if (item.id == item_id) return item.json;
  }
  return missing("Item", item_id);
}

Status ResponseStore::erase(const std::string& owner, const std::string& id) {
  Entries dropped;
  const std::lock_guard lock(mutex_);
  make_room(dropped);
  const auto at = by_key_.find({owner, id});
  if (at == by_key_.end()) return missing("Response", id);
  remove(at, dropped);
  return ok_status();
}

StatusOr<std::vector<ResponseStore::Pointer>> ResponseStore::chain(const std::string& owner,
                                                                   const std::string& id,
                                                                   size_t max_items_bytes) {
  Entries dropped;
  std::vector<Pointer> out;
  size_t items_bytes = 0;
  const std::lock_guard lock(mutex_);
  make_room(dropped);
  for (std::string next = id; !next.empty(); next = out.back()->previous_id) {
    Pointer found = touch({owner, next});
    if (found == nullptr) return missing("Response", next);
    items_bytes += found->items_bytes();
    // Whoever chooses its ids can close a circle: this ends that, too.
    if (items_bytes > max_items_bytes || out.size() >= entries_.size()) {
      return invalid_argument("The conversation that ends with `" + id +
                              "` is longer than a request may be.");
    }
    out.push_back(std::move(found));
  }
  std::reverse(out.begin(), out.end());
  return out;
}

size_t ResponseStore::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

size_t ResponseStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

Status ResponseStore::missing(std::string_view what, const std::string& id) const {
  std::string message = std::string(what) + " with id '" + id + "' not found: ";
  if (!enabled()) return not_found(message + "this server keeps none (--response-store-bytes 0).");
  return not_found(message +
                   "it was sent with `store` false, has not ended, was deleted, or has made room. "
                   "This server keeps " +
                   std::to_string(max_bytes_) + " bytes of responses, in memory alone, for " +
                   std::to_string(static_cast<long>(max_seconds_)) +
                   " seconds after their last use.");
}

ResponseStore::Pointer ResponseStore::touch(const Key& key) {
  const auto at = by_key_.find(key);
  if (at == by_key_.end()) return nullptr;
  at->second->used = clock_();
  entries_.splice(entries_.begin(), entries_, at->second);
  return at->second->response;
}

void ResponseStore::remove(std::map<Key, Entries::iterator>::iterator at, Entries& dropped) {
  bytes_ -= at->second->response->bytes();
  forget_items(at->second);
  dropped.splice(dropped.begin(), entries_, at->second);
  by_key_.erase(at);
}

void ResponseStore::forget_items(Entries::iterator entry) {
  const StoredResponse& response = *entry->response;
  for (const StoredResponse::Item& item : response.output_items) {
    const auto at = by_item_.find({response.owner, item.id});
    if (at != by_item_.end() && at->second == entry) by_item_.erase(at);
  }
}

void ResponseStore::make_room(Entries& dropped) {
  const double oldest = clock_() - max_seconds_;
  while (!entries_.empty() && (bytes_ > max_bytes_ || entries_.back().used < oldest)) {
    const StoredResponse& last = *entries_.back().response;
    remove(by_key_.find({last.owner, last.id}), dropped);
  }
}

}  // namespace octavo::serve
