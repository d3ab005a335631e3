#include "engine/step_budget.h"

#include <algorithm>

namespace octavo {
namespace {

constexpr double kWeight = 0.25;  // of the newest step in an average
constexpr int kTile = 128;  // tokens; a device computes a part of a tile in a whole one's time
constexpr int kSmallTile = 16;
// Where decoding alone is slower than the limit, prompts still get this share of its time: streams
// are slow there anyway, and their successors must not wait for ever.
constexpr double kLeastShare = 0.25;

// A value far above the mean is a pause of the machine, or the first time of something: it counts
// as twice the mean, so that one does little and many are believed soon.
void average(double& mean, double value, double weight) {
  if (mean > 0) value = std::min(value, 2 * mean);
  mean = mean < 0 ? value : mean + weight * (value - mean);
}

}  // namespace

void StepBudget::observe(int decode_rows, int prefill_tokens, double seconds) {
  if (prefill_tokens == 0) {
    if (decode_rows > 0) average(decode_seconds_, seconds, kWeight);
    return;
  }
  // No step with a chunk is shorter than one without: where chunks never pause, this is all that
  // corrects a time that was too long.
  if (decode_rows > 0) decode_seconds_ = std::min(decode_seconds_, seconds);
  const double decode = decode_rows > 0 ? std::max(0.0, decode_seconds_) : 0;
  // What a few tokens take is mostly something else.
  const double weight = kWeight * std::min(1.0, prefill_tokens / double{kTile / 2});
  average(per_token_, std::max(0.0, seconds - decode) / prefill_tokens, weight);
  if (seconds <= limit_) {
    in_time_ = std::max<double>(in_time_, prefill_tokens);
  } else {
    const double scaled = std::min(in_time_, prefill_tokens * limit_ / seconds);
    in_time_ = std::max({scaled, in_time_ / 2, double{kTile / 2}});
  }
}

double StepBudget::affordable_prefill() const {
  const double most = 2 * in_time_;
  if (per_token_ <= 0) return most;
  const double decode = std::max(0.0, decode_seconds_);
  const double seconds = std::max(limit_ - decode, kLeastShare * decode);
  return std::min(most, seconds / per_token_);
}

int StepBudget::tokens(int decode_rows) const {
  if (decode_rows == 0 || (limit_ <= 0 && max_prefill_ <= 0)) return max_tokens_;
  double prefill = limit_ > 0 ? affordable_prefill() : max_tokens_;
  if (max_prefill_ > 0) prefill = std::min<double>(prefill, max_prefill_);
  const int wanted = decode_rows + static_cast<int>(std::min<double>(prefill, max_tokens_));
  const int tile = wanted >= kTile ? kTile : kSmallTile;
  return std::min(max_tokens_, std::max(wanted / tile * tile, decode_rows + kSmallTile));
}

}  // namespace octavo
