// What the commands share: how they refuse, fail and show that they are busy.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "cli/commands/commands.h"

namespace octavo::cli {

int report(const Status& status, int code) {
  std::fprintf(stderr, "octavo: %s\n", status.message().c_str());
  return code;
}

std::optional<int> parse_or_exit(FlagSet& flags, const Words& args, const char* command) {
  const Status status = flags.parse(args);
  if (!status.ok()) {
    report(status);
    std::fprintf(stderr, "Try `octavo %s --help`.\n", command);
    return kUsage;
  }
  if (!flags.help_asked()) return std::nullopt;
  std::fputs(flags.help(*flags.help_asked()).c_str(), stdout);
  return 0;
}

void log_notices(const FlagSet& flags) {
  for (const std::string& notice : flags.notices()) log_info("flags", notice);
}

Progress::Progress(const char* what, size_t total, bool wanted)
    : what_(what),
      total_(total),
      on_(wanted && isatty(STDERR_FILENO) != 0),
      begin_(steady_seconds()) {}

void Progress::show(size_t done) {
  const double now = steady_seconds();
  if (!on_ || total_ == 0 || (now - last_ < 0.1 && done < total_)) return;
  last_ = now;
  shown_ = true;
  constexpr size_t kWidth = 30;
  const size_t filled = std::min(done, total_) * kWidth / total_;
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
  const double rate = now > begin_ ? static_cast<double>(done) / (now - begin_) : 0;
  std::fprintf(stderr, "\r%s [%s] %zu/%zu, %.1f/s \033[K", what_, bar.c_str(), done, total_, rate);
}

void Progress::clear() {
  if (shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

}  // namespace octavo::cli
