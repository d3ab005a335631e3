// What a reverse proxy in front changes about a request: who sent it (X-Forwarded-For), over what
// (X-Forwarded-Proto), and under which path (--root-path). Any client can write these headers, so
// they count only when the connection comes from a proxy that was named. Plain values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/status.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// --forwarded-allow-ips: the peers that are believed.
class TrustedProxies {
 public:
  // Each entry holds one or, separated by commas, several of: an address, a network
  // ("10.0.0.0/8"), `unix` for peers at a Unix socket, `*` for everyone. None: nobody is believed.
  static StatusOr<TrustedProxies> parse(const std::vector<std::string>& entries);

  bool trusts(std::string_view client) const;
  // Sets the request's client, remote and scheme from what a trusted peer forwards. The client is
  // the last address that a trusted one has written and that is not trusted itself, as in uvicorn;
  // what is no address ends the search.
  void apply(HttpRequest& request) const;

 private:
  struct Network {
    std::array<uint8_t, 16> address;  // IPv6, or IPv4 mapped into it
    int bits;
  };
  bool everyone_ = false;
  bool unix_ = false;
  std::vector<Network> networks_;
};

// "/prefix" for "/prefix/" and "/prefix", "" for "/" and "". Errors: no slash before, or a
// character that a path does not have.
StatusOr<std::string> parse_root_path(std::string_view text);

// Takes `root_path` (of parse_root_path) off the path, if it begins with it; a path of nothing else
// becomes empty. A proxy may have taken it off already.
void strip_root_path(HttpRequest& request, std::string_view root_path);

}  // namespace octavo::serve
