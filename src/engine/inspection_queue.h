// InspectionQueue: the readers that wait for an EngineState, and the last one made. It keeps
// looking cheap: a state is made only when somebody asks and the last one is older than
// kFreshSeconds, one for all who wait, and no more than kMaxReaders wait. Any thread.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "octavo/engine_state.h"

namespace octavo {

class InspectionQueue {
 public:
  static constexpr double kFreshSeconds = 0.2;
  static constexpr size_t kMaxReaders = 64;

  // Calls `reader` at once if the last state is fresh, or too many wait already (it then gets the
  // last one); else when the next state comes. True: the caller has that one made.
  [[nodiscard]] bool ask(StateReader reader);
  // The state asked for; null: there is none to be had now. Calls all readers that wait.
  void answer(std::shared_ptr<const EngineState> state);
  // Whoever waits, and whoever asks from now on, gets null.
  void close();

 private:
  std::mutex mutex_;
  std::vector<StateReader> readers_;  // guarded, as all below
  std::shared_ptr<const EngineState> latest_;
  double answered_ = 0;  // steady seconds
  bool closed_ = false;
};

}  // namespace octavo
