#include "serve/transport/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace octavo::serve {

namespace {

// Whether somebody accepts connections at the socket; errno tells why not.
bool somebody_listens(const sockaddr_un& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  const bool connected =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  const int reason = errno;
  close(fd);
  errno = reason;
  return connected || reason == EAGAIN;  // EAGAIN: its queue is full
}

}  // namespace

Status clear_socket_path(const std::string& path) {
  const std::string place = "cannot listen on " + path + ": ";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return invalid_argument(place + "the path of a socket has at most " +
                            std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return ok_status();
    return invalid_argument(place + std::strerror(errno));
  }
  if (!S_ISSOCK(status.st_mode)) {
    return invalid_argument(place + "there is a file that is no socket");
  }
  if (somebody_listens(address)) {
    return failed_precondition(place + "a server answers there already");
  }
  if (errno != ECONNREFUSED) return failed_precondition(place + std::strerror(errno));
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return failed_precondition(place + "a dead server's socket is there: " + std::strerror(errno));
  }
  return ok_status();
}

SocketFile::SocketFile(std::string path) : path_(std::move(path)) {
  struct stat status {};
  if (lstat(path_.c_str(), &status) != 0) return;
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

void SocketFile::remove() {
  struct stat status {};
  if (!path_.empty() && lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
      status.st_ino == inode_) {
    unlink(path_.c_str());
  }
  path_.clear();
}

}  // namespace octavo::serve
