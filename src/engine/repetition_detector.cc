#include "engine/repetition_detector.h"

#include <algorithm>
#include <cstdint>

namespace octavo {

RepetitionDetector::RepetitionDetector(const RepetitionDetection& rule,
                                       std::span<const TokenId> drawn)
    : rule_(rule) {
  const size_t periods =
      std::min(static_cast<size_t>(rule_.max_pattern_size), drawn.empty() ? 0 : drawn.size() - 1);
  for (size_t period = 1; period <= periods; ++period) {
    const auto [differs, before] =
        std::mismatch(drawn.rbegin(), drawn.rend() - static_cast<std::ptrdiff_t>(period),
                      drawn.rbegin() + static_cast<std::ptrdiff_t>(period));
    matches_.push_back(static_cast<int>(differs - drawn.rbegin()));
  }
}

bool RepetitionDetector::append(std::span<const TokenId> output) {
  const TokenId last = output.back();
  const TokenId* before = output.data() + output.size() - 1;  // the token `period` places before it
  if (matches_.size() + 1 < output.size() &&
      matches_.size() < static_cast<size_t>(rule_.max_pattern_size)) {
    matches_.push_back(0);
  }
  for (int& matches : matches_) matches = *--before == last ? matches + 1 : 0;
  for (int period = std::max(1, rule_.min_pattern_size);
       period <= static_cast<int>(matches_.size()); ++period) {
    if (repeats(period)) return true;
  }
  return false;
}

bool RepetitionDetector::repeats(int period) const {
  return matches_[period - 1] >= int64_t{period} * (rule_.min_count - 1);
}

}  // namespace octavo
