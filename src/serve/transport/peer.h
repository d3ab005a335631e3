// Who is at the other end of a socket, as logs and limits name it.
#pragma once

#include <string>

namespace octavo::serve {

struct Peer {
  std::string address, address_and_port;  // "unix" for a Unix socket, "-" where it is not known
};

// IPv4 is written as such, also where it comes in through IPv6. Any thread.
Peer peer_of(int fd);

}  // namespace octavo::serve
