// The file of a Unix socket: stale ones make room, live ones and other files do not.
#include "serve/transport/unix_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/testing_directory.h"

namespace octavo::serve {
namespace {

namespace fs = std::filesystem;

class UnixSocket : public ::testing::Test {
 protected:
  // A listening socket at path_; closing it leaves the file.
  int listen_at_path() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(fd, 1), 0);
    return fd;
  }
  const octavo::testing::TemporaryDirectory temporary_;
  const std::string folder_ = temporary_.path().string();
  const std::string path_ = folder_ + "/socket";
};

TEST_F(UnixSocket, AStaleFileIsRemovedAndALiveOneRefused) {
  EXPECT_TRUE(clear_socket_path(path_).ok()) << "nothing is there";
  const int fd = listen_at_path();
  EXPECT_NE(clear_socket_path(path_).message().find("answers there already"), std::string::npos);
  EXPECT_TRUE(fs::exists(path_));
  close(fd);
  EXPECT_TRUE(clear_socket_path(path_).ok());
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(UnixSocket, OtherFilesStay) {
  std::ofstream(path_) << "precious";
  EXPECT_NE(clear_socket_path(path_).message().find("no socket"), std::string::npos);
  EXPECT_TRUE(fs::exists(path_));
  EXPECT_FALSE(clear_socket_path(folder_).ok());
  EXPECT_FALSE(clear_socket_path(path_ + "/below").ok());
  EXPECT_FALSE(clear_socket_path(folder_ + "/" + std::string(200, 'x')).ok());
}

TEST_F(UnixSocket, AServerRemovesItsOwnFileAlone) {
  const int first = listen_at_path();
  SocketFile mine(path_);
  fs::rename(path_, path_ + ".moved");
  const int second = listen_at_path();
  mine.remove();
  EXPECT_TRUE(fs::exists(path_)) << "another server's";
  SocketFile theirs(path_);
  theirs.remove();
  EXPECT_FALSE(fs::exists(path_));
  close(first);
  close(second);
}

}  // namespace
}  // namespace octavo::serve
