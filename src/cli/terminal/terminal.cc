#include "cli/terminal/terminal.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <string_view>

namespace octavo::cli {
namespace {

constexpr std::string_view kMarkPastes = "\x1b[?2004h";
constexpr std::string_view kLeavePastes = "\x1b[?2004l";

// What a signal's handler needs to put the terminal back: it can be given nothing.
std::atomic<int> g_changed_fd = -1;
termios g_original;
std::atomic<int> g_interrupt_fd = -1;

void send(int fd, std::string_view bytes) {
  const ssize_t written = write(fd, bytes.data(), bytes.size());
  static_cast<void>(written);
}

void restore_and_end(int signal) {
  const int fd = g_changed_fd;
  if (fd >= 0) {
    send(fd, kLeavePastes);
    tcsetattr(fd, TCSANOW, &g_original);
  }
  std::signal(signal, SIG_DFL);
  raise(signal);
}

void on_interrupt(int) {
  const int saved = errno;
  const uint64_t one = 1;
  const ssize_t written = write(g_interrupt_fd, &one, sizeof one);
  static_cast<void>(written);
  errno = saved;
}

}  // namespace

TerminalMode::TerminalMode(int fd, Kind kind) : fd_(fd), kind_(kind) {
  if (tcgetattr(fd, &before_) != 0) return;
  termios mode = before_;
  mode.c_iflag &= ~static_cast<tcflag_t>(ICRNL | INLCR | IXON);
  mode.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN);
  if (kind == kEditing) mode.c_lflag &= ~static_cast<tcflag_t>(ISIG);
  mode.c_cc[VMIN] = 1;
  mode.c_cc[VTIME] = 0;
  g_original = before_;
  g_changed_fd = fd;
  for (const int signal : {SIGTERM, SIGHUP}) std::signal(signal, restore_and_end);
  changed_ = tcsetattr(fd, TCSADRAIN, &mode) == 0;
  if (changed_ && kind == kEditing) send(fd, kMarkPastes);
}

TerminalMode::~TerminalMode() {
  if (!changed_) return;
  // First the mode: whoever sees the marks leave may press Ctrl-C, and must get a signal.
  tcsetattr(fd_, TCSADRAIN, &before_);
  if (kind_ == kEditing) send(fd_, kLeavePastes);
  g_changed_fd = -1;
}

TerminalSize terminal_size(int fd) {
  winsize size{};
  TerminalSize found;
  if (ioctl(fd, TIOCGWINSZ, &size) != 0) return found;
  if (size.ws_col > 0) found.columns = size.ws_col;
  if (size.ws_row > 0) found.rows = size.ws_row;
  return found;
}

Interrupt::Interrupt() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  g_interrupt_fd = fd_;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}

Interrupt::~Interrupt() {
  std::signal(SIGINT, SIG_DFL);
  g_interrupt_fd = -1;
  close(fd_);
}

bool Interrupt::pending() const {
  pollfd watched{fd_, POLLIN, 0};
  return poll(&watched, 1, 0) > 0;
}

void Interrupt::clear() {
  uint64_t count = 0;
  const ssize_t got = read(fd_, &count, sizeof count);
  static_cast<void>(got);
}

}  // namespace octavo::cli
