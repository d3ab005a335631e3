#include "serve/transport/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace octavo::serve {

Peer peer_of(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {"-", "-"};
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return {text, std::string(text) + ":" + std::to_string(ntohs(v4.sin_port))};
  }
  if (storage.ss_family != AF_INET6) return {"unix", "unix"};
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  const std::string port = ":" + std::to_string(ntohs(v6.sin6_port));
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
    return {text, text + port};
  }
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return {text, "[" + std::string(text) + "]" + port};
}

}  // namespace octavo::serve
