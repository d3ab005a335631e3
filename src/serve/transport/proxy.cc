#include "serve/transport/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/status_macros.h"
#include "serve/transport/http_words.h"

namespace octavo::serve {

namespace {

using Address = std::array<uint8_t, 16>;
constexpr int kMappedBits = 96;  // of ::ffff:0:0/96, where IPv4 lies in IPv6

std::optional<Address> parse_address(std::string_view text, bool* is_v4 = nullptr) {
  const std::string copy(text);
  Address address{};
  in_addr v4{};
  const bool found_v4 = inet_pton(AF_INET, copy.c_str(), &v4) == 1;
  if (is_v4 != nullptr) *is_v4 = found_v4;
  if (found_v4) {
    address[10] = address[11] = 0xff;
    std::memcpy(&address[12], &v4, sizeof v4);
    return address;
  }
  if (inet_pton(AF_INET6, copy.c_str(), address.data()) == 1) return address;
  return std::nullopt;
}

// One writing for each address, so that equal ones compare equal.
std::string to_text(const Address& address) {
  char text[INET6_ADDRSTRLEN];
  Address mapped{};
  mapped[10] = mapped[11] = 0xff;
  if (std::equal(address.begin(), address.begin() + kMappedBits / 8, mapped.begin())) {
    inet_ntop(AF_INET, &address[12], text, sizeof text);
  } else {
    inet_ntop(AF_INET6, address.data(), text, sizeof text);
  }
  return text;
}

// Takes the last item off a list.
std::string_view pop_last(std::string_view& list) {
  const size_t comma = list.rfind(',');
  const std::string_view item = trim_blanks(comma == list.npos ? list : list.substr(comma + 1));
  list = comma == list.npos ? "" : list.substr(0, comma);
  return item;
}

// "10.0.0.1", "10.0.0.1:80", "::1", "[::1]", "[::1]:80"
std::string_view without_port(std::string_view text) {
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    return end == text.npos ? "" : text.substr(1, end - 1);
  }
  return std::count(text.begin(), text.end(), ':') == 1 ? text.substr(0, text.find(':')) : text;
}

bool within(const Address& address, const Address& network, int bits) {
  const int whole = bits / 8;
  if (!std::equal(address.begin(), address.begin() + whole, network.begin())) return false;
  if (bits % 8 == 0) return true;
  const int mask = 0xff << (8 - bits % 8) & 0xff;
  return ((address[whole] ^ network[whole]) & mask) == 0;
}

// The values of all headers of that name, as one list.
std::string joined_header(const HttpRequest& request, std::string_view name) {
  std::string list;
  for (const auto& [key, value] : request.headers) {
    if (!equals_ignoring_case(key, name)) continue;
    if (!list.empty()) list += ',';
    list += value;
  }
  return list;
}

}  // namespace

StatusOr<TrustedProxies> TrustedProxies::parse(const std::vector<std::string>& entries) {
  TrustedProxies proxies;
  for (const std::string& entry : entries) {
    for (std::string_view list = entry; !list.empty();) {
      const std::string_view item = pop_last(list);
      if (item.empty()) continue;
      if (item == "*") {
        proxies.everyone_ = true;
        continue;
      }
      if (item == "unix") {
        proxies.unix_ = true;
        continue;
      }
      const size_t slash = std::min(item.find('/'), item.size());
      bool is_v4 = false;
      const auto address = parse_address(item.substr(0, slash), &is_v4);
      const int width = is_v4 ? 32 : 128;
      int bits = width;
      if (slash < item.size()) {
        const std::string_view digits = item.substr(slash + 1);
        const bool number = !digits.empty() && digits.size() <= 3 &&
                            digits.find_first_not_of("0123456789") == digits.npos;
        bits = number ? std::stoi(std::string(digits)) : -1;
      }
      if (!address || bits < 0 || bits > width) {
        return invalid_argument("--forwarded-allow-ips: '" + std::string(item) +
                                "' is no address, network, `unix` or `*`");
      }
      proxies.networks_.push_back({*address, is_v4 ? bits + kMappedBits : bits});
    }
  }
  return proxies;
}

bool TrustedProxies::trusts(std::string_view client) const {
  if (everyone_) return true;
  if (client == "unix") return unix_;
  const auto address = networks_.empty() ? std::nullopt : parse_address(client);
  return address && std::any_of(networks_.begin(), networks_.end(), [&](const Network& network) {
           return within(*address, network.address, network.bits);
         });
}

void TrustedProxies::apply(HttpRequest& request) const {
  if (!trusts(request.client)) return;
  std::string_view scheme = request.header("x-forwarded-proto");
  scheme = scheme.empty() ? scheme : pop_last(scheme);
  if (scheme == "http" || scheme == "https") request.scheme = scheme;

  const std::string forwarded = joined_header(request, "x-forwarded-for");
  for (std::string_view list = forwarded; !list.empty();) {
    const auto address = parse_address(without_port(pop_last(list)));
    if (!address) return;
    request.client = request.remote = to_text(*address);
    if (!trusts(request.client)) return;
  }
}

StatusOr<std::string> parse_root_path(std::string_view text) {
  while (text.ends_with('/')) text.remove_suffix(1);
  const bool path = text.empty() || (text.starts_with('/') && !text.starts_with("//"));
  const bool clean = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c > ' ' && c < 0x7f && std::string_view("?#\"<>\\").find(c) == std::string_view::npos;
  });
  if (!path || !clean) {
    return invalid_argument("'" + std::string(text) + "' is no path such as /octavo");
  }
  return std::string(text);
}

void strip_root_path(HttpRequest& request, std::string_view root_path) {
  if (root_path.empty() || !request.path.starts_with(root_path)) return;
  const std::string_view rest = std::string_view(request.path).substr(root_path.size());
  if (rest.empty() || rest.starts_with('/')) request.path.erase(0, root_path.size());
}

}  // namespace octavo::serve
