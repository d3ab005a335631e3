// Rates that a client may not exceed: how they are written, and the bucket that enforces one. Plain
// values; the owner guards them.
#pragma once

#include <string>
#include <string_view>

#include "octavo/status.h"

namespace octavo::serve {

struct RateLimit {
  double count = 0;    // 0: no limit
  double seconds = 1;  // the time in which `count` come back

  bool off() const { return count <= 0; }
  double per_second() const { return count / seconds; }
};

// What one client may ask for, and all of them together. 0 is no limit.
struct ClientLimits {
  int max_streams_per_client = 0;     // requests to the model under way
  int max_queue = 0;                  // requests that wait for the model, of all clients
  RateLimit rate_per_client;          // requests that take a body
  RateLimit key_failures_per_client;  // wrong API keys from one address
};

// "10" or "10/s", "600/m", "5000/h"; "0" is no limit.
StatusOr<RateLimit> parse_rate_limit(std::string_view text);

// A token bucket: full at first, so that a client may bring a whole period's requests at once, and
// refilled evenly.
class TokenBucket {
 public:
  // Takes one token if there is one. `now` is a steady clock's seconds and never goes back.
  bool take(const RateLimit& limit, double now);
  // Whether a token is there, without taking it.
  bool available(const RateLimit& limit, double now);
  // Seconds until the next one is. REQUIRES: !limit.off().
  double seconds_until_next(const RateLimit& limit, double now);

 private:
  void refill(const RateLimit& limit, double now);
  double used_ = 0;  // tokens missing from a full bucket
  double updated_ = 0;
};

}  // namespace octavo::serve
