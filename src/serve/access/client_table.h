// ClientTable: what is remembered of each client, in bounded memory. The least recently seen are
// forgotten first; those with a request under way are kept, so the table holds at most `capacity`
// clients, or as many as have requests under way.
//
// Concurrency: any thread; one lock.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "serve/access/rate_limit.h"

namespace octavo::serve {

struct ClientRecord {
  int streams = 0;  // requests under way
  TokenBucket bucket;
};

class ClientTable {
 public:
  explicit ClientTable(size_t capacity) : capacity_(capacity) {}

  // Runs `use` on the client's record under the lock; a new client's is fresh.
  void with(std::string_view client, const std::function<void(ClientRecord&)>& use);
  size_t size() const;

 private:
  struct Entry {
    std::string client;
    ClientRecord record;
  };
  using Entries = std::list<Entry>;
  void forget_some();

  const size_t capacity_;
  mutable std::mutex mutex_;
  Entries entries_;  // guarded; the most recently seen first
  std::unordered_map<std::string_view, Entries::iterator> by_client_;  // guarded; views of entries_
};

// The name under which a client at `address` is remembered: an IPv4 address, also one written as
// ::ffff:192.0.2.1; the /64 of an IPv6 address, which is what one subscriber has; anything else as
// it stands.
std::string client_of_address(std::string_view address);

}  // namespace octavo::serve
