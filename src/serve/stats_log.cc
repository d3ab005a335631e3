#include "serve/stats_log.h"

#include <chrono>
#include <cstdio>

#include "base/clock.h"
#include "base/log.h"

namespace octavo::serve {

std::string stats_line(const EngineStats& before, const EngineStats& now, double seconds) {
  const auto rate = [&](int64_t from, int64_t to) {
    return static_cast<double>(to - from) / seconds;
  };
  const double hit_rate = now.prefix_cache_queries > 0
                              ? 100.0 * static_cast<double>(now.prefix_cache_hits) /
                                    static_cast<double>(now.prefix_cache_queries)
                              : 0.0;
  char line[320];
  snprintf(
      line, sizeof line,
      "Engine 000: Avg prompt throughput: %.1f tokens/s, Avg generation throughput: %.1f tokens/s, "
      "Running: %d reqs, Waiting: %d reqs, GPU KV cache usage: %.1f%%, Prefix cache hit rate: "
      "%.1f%%",
      rate(before.prompt_tokens, now.prompt_tokens),
      rate(before.generation_tokens, now.generation_tokens), now.running, now.waiting,
      100.0 * now.kv_cache_usage, hit_rate);
  return line;
}

StatsLog::StatsLog(const EngineClient& engine, double seconds) : engine_(engine) {
  if (seconds > 0) thread_ = std::thread([this, seconds] { run(seconds); });
}

StatsLog::~StatsLog() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void StatsLog::run(double seconds) {
  EngineStats before = engine_.stats();
  double since = steady_seconds();
  bool idle_before = true;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                            [this] { return ending_; })) {
    const EngineStats now = engine_.stats();
    const double time = steady_seconds();
    const bool idle = now.prompt_tokens == before.prompt_tokens &&
                      now.generation_tokens == before.generation_tokens &&
                      now.running + now.waiting == 0;
    // One line shows that work has ended; the silence after it means nothing but idleness.
    if (!idle || !idle_before) log_info("serve", stats_line(before, now, time - since));
    idle_before = idle;
    before = now;
    since = time;
  }
}

}  // namespace octavo::serve
