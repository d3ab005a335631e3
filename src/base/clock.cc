#include "base/clock.h"

#include <time.h>

namespace octavo {
namespace {
double read_clock(clockid_t id) {
  timespec t;
  clock_gettime(id, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
}  // namespace

double steady_seconds() {
  return read_clock(CLOCK_MONOTONIC);
}
double thread_cpu_seconds() {
  return read_clock(CLOCK_THREAD_CPUTIME_ID);
}
int64_t unix_seconds() {
  return static_cast<int64_t>(read_clock(CLOCK_REALTIME));
}

}  // namespace octavo
