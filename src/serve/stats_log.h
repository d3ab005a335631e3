// StatsLog: the line with throughput and load that vLLM writes every ten seconds. Owns a thread.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "octavo/engine_client.h"

namespace octavo::serve {

// The line for the `seconds` between two views of the engine.
std::string stats_line(const EngineStats& before, const EngineStats& now, double seconds);

class StatsLog {
 public:
  // `seconds` between lines; 0: none ever.
  StatsLog(const EngineClient& engine, double seconds);
  ~StatsLog();

 private:
  void run(double seconds);

  const EngineClient& engine_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;  // guarded
  std::thread thread_;
};

}  // namespace octavo::serve
