// The terminal's modes, and Ctrl-C as an event instead of an end. Main thread; one of each class at
// a time.
#pragma once

#include <termios.h>

namespace octavo::cli {

// How a terminal treats what is typed, for as long as this lives. Where the file is no terminal it
// does nothing. A signal that ends the program puts the terminal back first.
class TerminalMode {
 public:
  enum Kind {
    kEditing,  // every byte as it is typed, Ctrl-C too; pastes are marked
    kWatching  // nothing is shown, Ctrl-C is a signal; what is typed waits for the editor
  };
  TerminalMode(int fd, Kind kind);
  ~TerminalMode();
  TerminalMode(const TerminalMode&) = delete;
  TerminalMode& operator=(const TerminalMode&) = delete;

 private:
  int fd_;
  Kind kind_;
  bool changed_ = false;
  termios before_{};
};

struct TerminalSize {
  int columns = 80;
  int rows = 24;
};
TerminalSize terminal_size(int fd);

// While one exists, SIGINT does not end the program: it makes fd() readable, until clear().
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  int fd() const { return fd_; }
  bool pending() const;
  void clear();

 private:
  int fd_;
};

}  // namespace octavo::cli
