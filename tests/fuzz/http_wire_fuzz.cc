// Fuzzes what a server takes off the wire before anything else looks at it: requests, and the words
// of proxies in them. The first byte says how the rest is cut into pieces.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "fuzzing.h"
#include "serve/transport/http_words.h"
#include "serve/transport/proxy.h"
#include "serve/transport/request_reader.h"

using namespace octavo;
using namespace octavo::serve;

namespace {

using State = RequestReader::State;
constexpr RequestReader::Limits kLimits = {.head_bytes = 512, .body_bytes = 256, .headers = 8};

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; });
}

// Bytes of one request, taken in pieces of `piece`.
size_t feed(RequestReader& reader, std::string_view bytes, size_t piece) {
  size_t used = 0;
  while (used < bytes.size()) {
    const std::string_view next = bytes.substr(used, piece);
    const size_t taken = reader.feed(next);
    used += taken;
    if (taken < next.size()) break;
    if (reader.state() == State::kDone || reader.state() == State::kFailed) break;
  }
  return used;
}

// What reaches a handler, written so that any server reads the same out of it.
std::string write_again(const HttpRequest& request, bool http10) {
  std::string text = request.method + " " + request.path;
  if (!request.query.empty()) text += "?" + request.query;
  text += http10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n";
  for (const auto& [name, value] : request.headers) {
    if (equals_ignoring_case(name, "content-length")) continue;
    if (equals_ignoring_case(name, "transfer-encoding")) continue;
    text += name + ":" + value + "\r\n";
  }
  return text + "Content-Length:" + std::to_string(request.body.size()) + "\r\n\r\n" + request.body;
}

void check_request(const HttpRequest& request) {
  require(!request.method.empty() && printable(request.method));
  require(request.path.starts_with('/') || (request.path == "*" && request.method == "OPTIONS"));
  require(printable(request.path) && (request.query.empty() || printable(request.query)));
  require(request.body.size() <= kLimits.body_bytes && request.headers.size() <= 8);
  for (const auto& [name, value] : request.headers) {
    require(!name.empty() && printable(name) && name.find(':') == name.npos);
    require(value.find_first_of(std::string_view("\r\n\0", 3)) == value.npos);
    require(trim_blanks(value) == value);
  }
}

void check_proxies(HttpRequest request) {
  static const TrustedProxies nobody = *TrustedProxies::parse({});
  static const TrustedProxies some = *TrustedProxies::parse({"10.0.0.0/8", "fc00::/7", "::1"});
  request.client = request.remote = "10.0.0.1";
  HttpRequest untouched = request;
  nobody.apply(untouched);
  require(untouched.client == request.client && untouched.scheme == "http");
  some.apply(request);
  require(printable(request.client) && request.client.size() < 64);
  require(request.scheme == "http" || request.scheme == "https");
  strip_root_path(request, "/v1");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  RequestReader whole(kLimits), cut(kLimits);
  const size_t used = feed(whole, bytes, bytes.size());
  const size_t used_cut = feed(cut, bytes, data[0] % 16 + 1);
  require(whole.state() == cut.state());
  if (whole.state() == State::kFailed) {
    require(whole.error_status() == cut.error_status() && whole.error() == cut.error());
    require(whole.error_status() >= 400 && !whole.error().empty() && used <= bytes.size());
  }
  if (whole.state() != State::kDone) return 0;
  require(used == used_cut);
  check_request(whole.request());
  require(whole.request().body == cut.request().body &&
          whole.request().headers == cut.request().headers);

  // A length may take the place of chunks, which costs a header more.
  RequestReader again({.head_bytes = 1024, .body_bytes = 256, .headers = 9});
  const std::string text = write_again(whole.request(), whole.http10());
  require(feed(again, text, text.size()) == text.size() && again.state() == State::kDone);
  require(again.request().method == whole.request().method);
  require(again.request().path == whole.request().path);
  require(again.request().query == whole.request().query);
  require(again.request().body == whole.request().body);
  require(again.keep_alive() == whole.keep_alive());
  check_proxies(std::move(whole.request()));
  return 0;
}
