// ResponseStore: the answers of /v1/responses that may be asked for again, or continued by
// `previous_response_id`. In memory alone: a restart forgets them. What was used least recently
// makes room for what is new; what was not used for some time is dropped by the next call.
//
// An answer belongs to an owner, the API key that asked for it, and nobody else finds it. A chain
// is used from its end to its beginning, so that an answer never goes before what follows it does.
//
// Concurrency: any thread; one lock, under which nothing is copied or freed that is large.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "octavo/status.h"

namespace octavo::serve {

struct StoredResponse {
  struct Item {
    std::string id, json;
  };
  std::string owner;
  std::string id;
  std::string previous_id;        // empty: the conversation begins here
  std::vector<Item> input_items;  // of this turn, oldest first
  std::vector<Item> output_items;
  std::string body;  // as it was answered

  size_t items_bytes() const;
  size_t bytes() const;
};

class ResponseStore {
 public:
  using Pointer = std::shared_ptr<const StoredResponse>;

  // max_bytes 0: nothing is kept. `clock` tells seconds.
  ResponseStore(size_t max_bytes, double max_seconds,
                std::function<double()> clock = steady_seconds);

  bool enabled() const { return max_bytes_ > 0; }
  // Keeps it, in place of one of the same owner and id; nothing where it alone is too large.
  void put(StoredResponse response);
  // Errors, of all that follow: not found, with what may have become of it.
  StatusOr<Pointer> find(const std::string& owner, const std::string& id);
  // An output item of any response, as JSON.
  StatusOr<std::string> find_item(const std::string& owner, const std::string& item_id);
  Status erase(const std::string& owner, const std::string& id);
  // The response and all that it continues, oldest first. Errors, beside: too large, if their items
  // are more than `max_items_bytes`.
  StatusOr<std::vector<Pointer>> chain(const std::string& owner, const std::string& id,
                                       size_t max_items_bytes);

  size_t size() const;
  size_t bytes() const;

 private:
  struct Entry {
    Pointer response;
    double used;
  };
  using Entries = std::list<Entry>;
  using Key = std::pair<std::string, std::string>;  // owner, id

  Status missing(std::string_view what, const std::string& id) const;
  // The following need the lock; what they take out goes to `dropped`, to be freed without it.
  Pointer touch(const Key& key);
  void remove(std::map<Key, Entries::iterator>::iterator at, Entries& dropped);
  void forget_items(Entries::iterator entry);
  void make_room(Entries& dropped);

  const size_t max_bytes_;
  const double max_seconds_;
  const std::function<double()> clock_;
  mutable std::mutex mutex_;
  Entries entries_;  // guarded, as below; the last used first
  std::map<Key, Entries::iterator> by_key_;
  std::map<Key, Entries::iterator> by_item_;  // owner, id of an output item
  size_t bytes_ = 0;
};

}  // namespace octavo::serve
