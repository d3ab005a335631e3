// Log lines to standard error: `INFO 11-21 14:03:22 [engine] text`. Any thread; a line is written
// whole, and stays one line: control characters in it are escaped (append_printable).
#pragma once

#include <string_view>

namespace octavo {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// Lines below `level` are dropped. Set once at start (OCTAVO_LOG_LEVEL, --log-level).
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);
void log(LogLevel level, std::string_view where, std::string_view text);

inline void log_debug(std::string_view where, std::string_view text) {
  log(LogLevel::kDebug, where, text);
}
inline void log_info(std::string_view where, std::string_view text) {
  log(LogLevel::kInfo, where, text);
}
inline void log_warning(std::string_view where, std::string_view text) {
  log(LogLevel::kWarning, where, text);
}
inline void log_error(std::string_view where, std::string_view text) {
  log(LogLevel::kError, where, text);
}

}  // namespace octavo
