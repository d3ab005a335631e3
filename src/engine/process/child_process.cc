#include "engine/process/child_process.h"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/clock.h"

namespace octavo {
namespace {

constexpr double kDeathSeconds = 10;

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    return "was killed by signal " + std::to_string(signal) + " (" + strsignal(signal) + ")";
  }
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

class SpawnedProcess final : public ChildProcess {
 public:
  SpawnedProcess(pid_t pid, int socket) : pid_(pid), socket_(socket) {}
  ~SpawnedProcess() override {
    end(0);
    close(socket_);
  }
  int socket() const override { return socket_; }
  void disconnect() override { shutdown(socket_, SHUT_RDWR); }
  std::string name() const override { return "process " + std::to_string(pid_); }

  std::string end(double grace_seconds) override {
    if (!ending_.empty()) return ending_;
    disconnect();
    if (reap(grace_seconds)) return ending_;
    kill(pid_, SIGKILL);
    // A process deep in a driver that hangs cannot even be killed.
    if (!reap(kDeathSeconds)) ending_ = "does not end, although it was killed";
    return ending_;
  }

 private:
  // Waits for the child's end and fills in ending_; false: it lives on.
  bool reap(double seconds) {
    const double deadline = steady_seconds() + seconds;
    while (true) {
      int status = 0;
      const pid_t got = waitpid(pid_, &status, WNOHANG);
      if (got == pid_) ending_ = how_it_ended(status);
      if (got < 0 && errno != EINTR) ending_ = "is gone";
      if (!ending_.empty()) return true;
      if (steady_seconds() >= deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  const pid_t pid_;
  const int socket_;
  std::string ending_;
};

// The child's descriptors, signals and words; posix_spawn's objects with their lives.
class SpawnPlan {
 public:
  explicit SpawnPlan(int child_end) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_adddup2(&actions_, child_end, kChildSocket);
    // Not every library opens its sockets close-on-exec: a client's connection that the child kept
    // would outlive the server's end of it.
    posix_spawn_file_actions_addclosefrom_np(&actions_, kChildSocket + 1);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  int spawn(const std::string& program, pid_t& pid) {
    char name[] = "octavo", command[] = "engine-child";
    char* words[] = {name, command, nullptr};
    return posix_spawn(&pid, program.c_str(), &actions_, &attributes_, words, environ);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

StatusOr<std::unique_ptr<ChildProcess>> launch_child(const std::string& program) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return unavailable(std::string("no socket for the engine process: ") + strerror(errno));
  pid_t pid = 0;
  const int error = SpawnPlan(ends[1]).spawn(program, pid);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return unavailable(std::string("cannot start the engine process: ") + strerror(error));
  }
  return std::unique_ptr<ChildProcess>(std::make_unique<SpawnedProcess>(pid, ends[0]));
}

}  // namespace octavo
