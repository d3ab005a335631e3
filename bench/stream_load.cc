#include "stream_load.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/clock.h"

namespace octavo {

StreamLoad::~StreamLoad() {
  for (const Stream& stream : streams_) {
    if (stream.fd >= 0) close(stream.fd);
  }
  if (epoll_ >= 0) close(epoll_);
}

bool StreamLoad::add(const std::string& body) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port_));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string request = "POST " + path_ +
                              " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                              "Content-Length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body;
  const auto size = static_cast<ssize_t>(request.size());
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) != size) {
    if (fd >= 0) close(fd);
    return false;
  }
  streams_.push_back({.fd = fd});
  return true;
}

void StreamLoad::read(Stream& stream) {
  const ssize_t n = recv(stream.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (n > 0) {
    count(stream, std::string_view(buffer_).substr(0, static_cast<size_t>(n)));
  } else if (n == 0) {
    close(stream.fd);
    stream.fd = -1;
    ++counts_.ended;
  }
}

void StreamLoad::sweep() {
  for (Stream& stream : streams_) {
    if (stream.fd >= 0) read(stream);
  }
}

void StreamLoad::wait(double seconds) {
  if (epoll_ < 0) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < streams_.size(); ++i) {
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      epoll_ctl(epoll_, EPOLL_CTL_ADD, streams_[i].fd, &event);
    }
  }
  for (const double end = steady_seconds() + seconds; steady_seconds() < end;) {
    std::array<epoll_event, 256> ready;
    const int n = epoll_wait(epoll_, ready.data(), ready.size(), 10);
    for (int i = 0; i < n; ++i) read(streams_[ready[i].data.u64]);
  }
}

void StreamLoad::count(Stream& stream, std::string_view bytes) {
  static constexpr std::string_view kEvent = "data: ";
  static constexpr std::string_view kChunk = "\r\n";
  counts_.bytes += static_cast<int64_t>(bytes.size());
  const bool had_begun = stream.events >= 2;
  stream.tail.append(bytes);
  const std::string_view text = stream.tail;
  size_t end = 0;  // of the last event's mark
  for (size_t at = text.find(kEvent); at != text.npos; at = text.find(kEvent, end)) {
    end = at + kEvent.size();
    ++counts_.events;
    ++stream.events;
    if (at >= kChunk.size() && text.substr(at - kChunk.size(), kChunk.size()) == kChunk)
      ++counts_.chunks;
    if (text.substr(end).starts_with("[DONE]")) ++counts_.ended;
  }
  if (!had_begun && stream.events >= 2) ++counts_.begun;
  const size_t kept = std::min(text.size() - end, kChunk.size() + kEvent.size() - 1);
  stream.tail.erase(0, text.size() - kept);
}

}  // namespace octavo
