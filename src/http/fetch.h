// fetch(): one HTTP request and its answer, blocking. Redirects are the caller's business, since it
// knows which headers are secrets. Any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "http/connection.h"
#include "http/reader.h"
#include "http/url.h"
#include "octavo/status.h"

namespace octavo::http {

struct Request {
  std::string method = "GET";
  Url url;
  Headers headers;   // refused if one holds a line break
  std::string body;  // sent with its length when not empty, or with POST
};

struct Head {
  int status = 0;
  Headers headers;
  const std::string* find(std::string_view name) const { return find_header(headers, name); }
};

struct Handlers {
  // Both may return false to end the call, which is then ok.
  std::function<bool(const Head&)> on_head;
  std::function<bool(std::string_view)> on_body;  // the next bytes, never none
};

// kUnavailable: no connection, or an answer that is cut short or no HTTP. What handlers got before
// stays theirs.
Status fetch(const Request& request, const Limits& limits, const Handlers& handlers);

struct Answer {
  Head head;
  std::string body;
};
// The whole answer; kTooLarge beyond `max_body` bytes.
StatusOr<Answer> fetch_whole(const Request& request, const Limits& limits, size_t max_body);

}  // namespace octavo::http
