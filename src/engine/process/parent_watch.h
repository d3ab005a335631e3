// ParentWatch: notices that the other end of a socket is gone while nobody reads it, as while an
// engine process loads its model: that takes minutes, and nothing that a parent which was killed
// leaves behind should go on with it.
#pragma once

#include <functional>
#include <thread>

namespace octavo {

class ParentWatch {
 public:
  // Calls `on_gone` from a thread of its own, `octavo-parent`, once the peer of `socket` has closed
  // its end. The descriptor stays the caller's.
  ParentWatch(int socket, std::function<void()> on_gone);
  // Ends the watch; `on_gone` is not called any more.
  ~ParentWatch();
  ParentWatch(const ParentWatch&) = delete;
  ParentWatch& operator=(const ParentWatch&) = delete;

 private:
  void run(int socket);

  const std::function<void()> on_gone_;
  const int end_;  // an eventfd, readable when the watch ends; -1: there is none, and no watch
  std::thread thread_;
};

}  // namespace octavo
