// Url: where a request goes. A plain value.
#pragma once

#include <string>
#include <string_view>

#include "octavo/status.h"

namespace octavo::http {

struct Url {
  bool tls = false;
  std::string host;        // without the brackets of an IPv6 address
  std::string port;        // digits
  std::string path = "/";  // with the query; begins with a slash

  // As the Host header writes it: the port is left out where it is the scheme's own.
  std::string authority() const;
  std::string to_string() const;
  // Whether a secret meant for one may be sent to the other.
  bool same_origin(const Url& other) const {
    return tls == other.tls && host == other.host && port == other.port;
  }
};

// http:// and https:// only; user names, blanks and control characters are refused. A fragment is
// dropped.
StatusOr<Url> parse_url(std::string_view text);
// What a Location header means, seen from `base`: a whole URL, or a path on the same host. From
// https to http is refused.
StatusOr<Url> resolve_redirect(const Url& base, std::string_view location);

}  // namespace octavo::http
