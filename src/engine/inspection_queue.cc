#include "engine/inspection_queue.h"

#include <utility>

#include "base/clock.h"

namespace octavo {

bool InspectionQueue::ask(StateReader reader) {
  std::shared_ptr<const EngineState> known;
  {
    std::lock_guard lock(mutex_);
    const bool fresh = latest_ && steady_seconds() - answered_ < kFreshSeconds;
    if (!closed_ && !fresh && readers_.size() < kMaxReaders) {
      readers_.push_back(std::move(reader));
      return readers_.size() == 1;
    }
    known = latest_;
  }
  reader(std::move(known));
  return false;
}

void InspectionQueue::answer(std::shared_ptr<const EngineState> state) {
  std::vector<StateReader> readers;
  {
    std::lock_guard lock(mutex_);
    latest_ = state;
    answered_ = steady_seconds();
    readers.swap(readers_);
  }
  for (const StateReader& reader : readers) reader(state);
}

void InspectionQueue::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  answer(nullptr);
}

}  // namespace octavo
