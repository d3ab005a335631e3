#include "engine/process/parent_watch.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace octavo {

ParentWatch::ParentWatch(int socket, std::function<void()> on_gone)
    : on_gone_(std::move(on_gone)), end_(eventfd(0, EFD_CLOEXEC)) {
  if (end_ < 0) return;
  thread_ = std::thread([this, socket] { run(socket); });
  pthread_setname_np(thread_.native_handle(), "octavo-parent");
}

ParentWatch::~ParentWatch() {
  if (end_ < 0) return;
  eventfd_write(end_, 1);
  thread_.join();
  close(end_);
}

void ParentWatch::run(int socket) {
  // Neither asks for what can be read: that may wait.
  pollfd watched[] = {{socket, POLLRDHUP, 0}, {end_, POLLIN, 0}};
  while (poll(watched, 2, -1) < 0 && errno == EINTR) {
  }
  if (watched[0].revents != 0 && watched[1].revents == 0) on_gone_();
}

}  // namespace octavo
