#include "serve/views/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string_view>

#include "base/metrics.h"

namespace octavo::serve {

namespace {

struct ProcessState {
  double start_ticks = 0;  // since the machine's start
  double virtual_bytes = 0;
  double resident_bytes = 0;
};

// Of /proc/self/stat, whose second field is a name in parentheses that may hold anything.
std::optional<ProcessState> read_stat() {
  std::ifstream file("/proc/self/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream rest(text.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) rest >> skipped;
  ProcessState state;
  double pages = 0;
  if (!(rest >> state.start_ticks >> state.virtual_bytes >> pages)) return {};
  state.resident_bytes = pages * static_cast<double>(sysconf(_SC_PAGESIZE));
  return state;
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double seconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double unix_time_of(double ticks_since_boot) {
  const double age =
      seconds_of(CLOCK_BOOTTIME) - ticks_since_boot / static_cast<double>(sysconf(_SC_CLK_TCK));
  return seconds_of(CLOCK_REALTIME) - age;
}

std::optional<double> open_descriptors() {
  // Kernels from 6.2 on tell the number without a look at each of them.
  struct stat folder {};
  if (stat("/proc/self/fd", &folder) == 0 && folder.st_size > 0) {
    return static_cast<double>(folder.st_size);
  }
  DIR* open = opendir("/proc/self/fd");
  if (open == nullptr) return {};
  double count = -1;  // the one that reads
  while (const dirent* entry = readdir(open)) {
    if (std::string_view(entry->d_name)[0] != '.') ++count;
  }
  closedir(open);
  return count;
}

}  // namespace

std::string process_metrics_text() {
  MetricsRegistry registry;
  const auto gauge = [&](const char* name, const char* help, double value) {
    registry.gauge(name, help).set(value);
  };
  registry.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
      .add(cpu_seconds());
  if (const auto state = read_stat()) {
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", state->virtual_bytes);
    gauge("process_resident_memory_bytes", "Resident memory size in bytes.", state->resident_bytes);
    // Once: a start that moves by the clocks' grain would look like a restart.
    static const double started = unix_time_of(state->start_ticks);
    gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
          started);
  }
  if (const auto open = open_descriptors()) {
    gauge("process_open_fds", "Number of open file descriptors.", *open);
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    gauge("process_max_fds", "Maximum number of open file descriptors.",
          static_cast<double>(limit.rlim_cur));
  }
  return registry.text();
}

}  // namespace octavo::serve
