#include "serve/access/client_table.h"

#include <arpa/inet.h>

#include <algorithm>

namespace octavo::serve {

void ClientTable::with(std::string_view client, const std::function<void(ClientRecord&)>& use) {
  const std::lock_guard lock(mutex_);
  const auto found = by_client_.find(client);
  if (found != by_client_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
  } else {
    entries_.push_front({.client = std::string(client), .record = {}});
    by_client_.emplace(entries_.front().client, entries_.begin());
    if (entries_.size() > capacity_) forget_some();
  }
  use(entries_.front().record);
}

// A handful of the oldest at most, whatever the number of those that must stay: what is left over
// goes with the next new client.
void ClientTable::forget_some() {
  auto oldest = std::prev(entries_.end());
  for (int looked_at = 0; looked_at < 8 && oldest != entries_.begin(); ++looked_at) {
    const auto entry = oldest--;
    if (entry->record.streams > 0) {
      entries_.splice(std::next(entries_.begin()), entries_, entry);
    } else {
      by_client_.erase(entry->client);
      entries_.erase(entry);
      if (entries_.size() <= capacity_) return;
    }
  }
}

size_t ClientTable::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

std::string client_of_address(std::string_view address) {
  const std::string text(address.substr(0, address.find('%')));  // without the zone of fe80::1%eth0
  in6_addr six{};
  if (inet_pton(AF_INET6, text.c_str(), &six) != 1) return std::string(address);
  char out[INET6_ADDRSTRLEN];
  if (IN6_IS_ADDR_V4MAPPED(&six)) {
    return inet_ntop(AF_INET, six.s6_addr + 12, out, sizeof out);
  }
  std::fill(six.s6_addr + 8, six.s6_addr + 16, 0);
  return std::string(inet_ntop(AF_INET6, &six, out, sizeof out)) + "/64";
}

}  // namespace octavo::serve
