#include "serve/access/rate_limit.h"

#include <algorithm>
#include <charconv>

namespace octavo::serve {

StatusOr<RateLimit> parse_rate_limit(std::string_view text) {
  const std::string_view whole = text;
  RateLimit limit;
  if (const size_t slash = text.find('/'); slash != std::string_view::npos) {
    const std::string_view unit = text.substr(slash + 1);
    if (unit == "m") {
      limit.seconds = 60;
    } else if (unit == "h") {
      limit.seconds = 3600;
    } else if (unit != "s") {
      limit.seconds = 0;
    }
    text = text.substr(0, slash);
  }
  int count = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 0 || limit.seconds == 0) {
    return invalid_argument("'" + std::string(whole) +
                            "' is no rate: a whole number, then /s, /m or /h");
  }
  limit.count = count;
  return limit;
}

void TokenBucket::refill(const RateLimit& limit, double now) {
  used_ = std::max(0.0, used_ - (now - updated_) * limit.per_second());
  updated_ = now;
}

bool TokenBucket::available(const RateLimit& limit, double now) {
  if (limit.off()) return true;
  refill(limit, now);
  return used_ + 1 <= limit.count;
}

bool TokenBucket::take(const RateLimit& limit, double now) {
  if (!available(limit, now)) return false;
  used_ += limit.off() ? 0 : 1;
  return true;
}

double TokenBucket::seconds_until_next(const RateLimit& limit, double now) {
  refill(limit, now);
  return std::max(0.0, (used_ + 1 - limit.count) / limit.per_second());
}

}  // namespace octavo::serve
