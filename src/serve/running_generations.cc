#include "serve/running_generations.h"

#include <algorithm>

namespace octavo::serve {

void RunningGenerations::add(const std::string& id, std::weak_ptr<Generation> generation) {
  const std::lock_guard lock(mutex_);
  if (generations_.size() >= sweep_at_) {
    std::erase_if(generations_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = std::max(sweep_at_, 2 * generations_.size());
  }
  generations_.emplace(id, std::move(generation));
}

void RunningGenerations::cancel(const std::vector<std::string>& ids) {
  std::vector<std::shared_ptr<Generation>> found;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, weak] : generations_) {
      if (!ids.empty() && std::find(ids.begin(), ids.end(), id) == ids.end()) continue;
      if (auto generation = weak.lock()) found.push_back(std::move(generation));
    }
  }
  for (const auto& generation : found) generation->cancel();
}

}  // namespace octavo::serve
