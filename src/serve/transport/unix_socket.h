// The file of a listening Unix socket: who may bind it, and that it goes with its server. io
// thread.
#pragma once

#include <cstdint>
#include <string>

#include "octavo/status.h"

namespace octavo::serve {

// Makes room at `path`: the socket of a server that has died is removed. Errors: a server answers
// there, the file is no socket, the path is too long or its folder is not there.
Status clear_socket_path(const std::string& path);

// A socket's file, removed by remove() unless another server has put its own there.
class SocketFile {
 public:
  SocketFile() = default;
  // `path` has been bound.
  explicit SocketFile(std::string path);
  void remove();

 private:
  std::string path_;  // empty: none
  uint64_t device_ = 0, inode_ = 0;
};

}  // namespace octavo::serve
