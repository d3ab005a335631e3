// The commands of the program. Each takes the words after its name, and returns the exit code: 0
// done, 1 failed (one line on standard error says why), 2 the words were wrong. Main thread.
#pragma once

#include <optional>

#include "cli/flags.h"
#include "octavo/status.h"

namespace octavo::cli {

int serve_command(const Words& args);
int bench_command(const Words& args);
int bench_latency_command(const Words& args);
int bench_throughput_command(const Words& args);
int bench_serve_command(const Words& args);
int chat_command(const Words& args);
int complete_command(const Words& args);
int pull_command(const Words& args);
int list_command(const Words& args);
int env_command(const Words& args);
int tokenize_command(const Words& args);
int render_command(const Words& args);
int run_batch_command(const Words& args);
// Not for users: the child of --engine-process, started by the program itself.
int engine_child_command(const Words& args);

inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

// Parses `args`; an exit code if the command ends here: help was asked for (0), or the words are
// wrong (2).
std::optional<int> parse_or_exit(FlagSet& flags, const Words& args, const char* command);
// Prints `octavo: message` and returns `code`.
int report(const Status& status, int code = kFailed);
// Puts the flags' notices into the log.
void log_notices(const FlagSet& flags);

// A single line on standard error that is written over, only if that is a terminal.
class Progress {
 public:
  Progress(const char* what, size_t total, bool wanted = true);
  ~Progress() { clear(); }
  void show(size_t done);
  void clear();

 private:
  const char* what_;
  size_t total_;
  bool on_;
  bool shown_ = false;
  double begin_;
  double last_ = 0;
};

}  // namespace octavo::cli
