// RunningGenerations: finds what is under way by the id that the client knows, so that it can be
// ended. Kept in dev mode only. Any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serve/generation.h"

namespace octavo::serve {

class RunningGenerations {
 public:
  // Ids need not be unique.
  void add(const std::string& id, std::weak_ptr<Generation> generation);
  // Ends those of these ids; of an empty list, all. Ids that have ended are ignored.
  void cancel(const std::vector<std::string>& ids);

 private:
  std::mutex mutex_;
  std::multimap<std::string, std::weak_ptr<Generation>> generations_;  // guarded, as below
  size_t sweep_at_ = 64;  // this many entries; ended ones go then
};

}  // namespace octavo::serve
