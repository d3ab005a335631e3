#include "base/log.h"

#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <string>

#include "base/utf8.h"

namespace octavo {
namespace {
std::atomic<LogLevel> g_level{LogLevel::kInfo};
constexpr std::array<const char*, 4> kNames = {"DEBUG", "INFO", "WARNING", "ERROR"};
}  // namespace

void set_log_level(LogLevel level) {
  g_level.store(level, std::memory_order_relaxed);
}
bool log_enabled(LogLevel level) {
  return level >= g_level.load(std::memory_order_relaxed);
}

void log(LogLevel level, std::string_view where, std::string_view text) {
  if (!log_enabled(level) || level == LogLevel::kOff) return;
  const time_t now = time(nullptr);
  tm local;
  localtime_r(&now, &local);
  char stamp[32];
  strftime(stamp, sizeof stamp, "%m-%d %H:%M:%S", &local);
  std::string line = kNames[static_cast<size_t>(level)];
  line.append(" ").append(stamp).append(" [").append(where).append("] ");
  // What a client sends may stand in a line, and must not make a second one.
  append_printable(line, text);
  line.append("\n");
  // One write, so that lines of several threads do not mix; a failing standard error has no better
  // place to go.
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace octavo
