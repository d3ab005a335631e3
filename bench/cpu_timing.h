// The clock and the samples of the benchmarks that compute on the CPU.
#pragma once

#include <time.h>

#include <algorithm>
#include <vector>

namespace bench {

// CLOCK_THREAD_CPUTIME_ID for work of one thread, which a busy machine distorts less.
inline clockid_t clock_id = CLOCK_MONOTONIC;

inline double seconds() {
  timespec t;
  clock_gettime(clock_id, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Seconds {
  double median, best;
};

// Of one `run`: 9 samples of about 20 ms, or 3 where one takes longer than 0.3 s.
template <typename F>
Seconds measure(F&& run) {
  run();
  const double once_begin = seconds();
  run();
  const double once = seconds() - once_begin;
  const int inner = std::clamp(static_cast<int>(0.02 / std::max(once, 1e-7)), 1, 2000);
  const int samples = once > 0.3 ? 3 : 9;
  std::vector<double> t;
  for (int i = 0; i < samples; ++i) {
    const double begin = seconds();
    for (int j = 0; j < inner; ++j) run();
    t.push_back((seconds() - begin) / inner);
  }
  std::sort(t.begin(), t.end());
  return {t[t.size() / 2], t[0]};
}

}  // namespace bench
