#include "http/url.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/status_macros.h"

namespace octavo::http {
namespace {

bool is_url_byte(unsigned char c) {
  return c > 0x20 && c < 0x7f;
}

Status bad_url(std::string_view text, const char* why) {
  return invalid_argument("not a URL that octavo can ask (" + std::string(why) +
                          "): " + std::string(text.substr(0, 200)));
}

bool is_port(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port > 0 && port < 65536;
}

}  // namespace

std::string Url::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == (tls ? "443" : "80") ? name : name + ":" + port;
}

std::string Url::to_string() const {
  return (tls ? "https://" : "http://") + authority() + path;
}

StatusOr<Url> parse_url(std::string_view text) {
  if (!std::all_of(text.begin(), text.end(), is_url_byte))
    return invalid_argument("a URL holds blanks or bytes that belong in none");
  Url url;
  std::string_view rest = text;
  if (rest.substr(0, 8) == "https://") {
    url.tls = true;
    rest.remove_prefix(8);
  } else if (rest.substr(0, 7) == "http://") {
    rest.remove_prefix(7);
  } else {
    return bad_url(text, "it begins with neither http:// nor https://");
  }
  rest = rest.substr(0, rest.find('#'));
  const size_t slash = std::min(rest.find_first_of("/?"), rest.size());
  const std::string_view authority = rest.substr(0, slash);
  if (slash < rest.size())
    url.path = (rest[slash] == '?' ? "/" : "") + std::string(rest.substr(slash));
  if (authority.find('@') != std::string_view::npos) return bad_url(text, "it holds a user name");

  const size_t bracket = authority.find(']');
  const size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  std::string_view host = authority.substr(0, colon);
  url.port = url.tls ? "443" : "80";
  if (colon != std::string_view::npos) url.port = authority.substr(colon + 1);
  if (!is_port(url.port)) return bad_url(text, "the port is none");
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (host.empty()) return bad_url(text, "it names no host");
  url.host = host;
  return url;
}

StatusOr<Url> resolve_redirect(const Url& base, std::string_view location) {
  if (location.substr(0, 1) == "/" && location.substr(0, 2) != "//") {
    Url url = base;
    url.path.clear();
    return parse_url(url.to_string() + std::string(location));
  }
  ASSIGN_OR_RETURN(Url url, parse_url(location));
  if (base.tls && !url.tls)
    return bad_url(location, "a redirect from https to http would give up the encryption");
  return url;
}

}  // namespace octavo::http
