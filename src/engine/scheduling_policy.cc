#include "engine/scheduling_policy.h"

#include <algorithm>
#include <numeric>

namespace octavo {

SequenceOrder order_of(const Request& request, int64_t ordinal, SchedulingPolicy policy) {
  if (policy == SchedulingPolicy::kFcfs) return {0, 0, ordinal};
  return {request.priority, request.arrival, ordinal};
}

int max_chunk(const SchedulerConfig& config) {
  if (!config.chunked_prefill) return std::max(config.max_model_len, config.max_num_batched_tokens);
  if (config.long_prefill_token_threshold <= 0) return config.max_num_batched_tokens;
  return std::min(config.long_prefill_token_threshold, config.max_num_batched_tokens);
}

int grant_tokens(const SchedulerConfig& config, int remaining, int used) {
  const int left = std::max(0, config.max_num_batched_tokens - used);
  if (config.chunked_prefill) return std::min({remaining, left, max_chunk(config)});
  if (remaining <= left) return remaining;
  return used == 0 ? remaining : 0;
}

std::vector<int> split_budget(const SchedulerConfig& config, std::span<const int> remaining) {
  std::vector<int> grants(remaining.size(), 0);
  int used = 0;
  for (const bool decode : {true, false}) {
    for (size_t i = 0; i < remaining.size(); ++i) {
      if (remaining[i] == 0 || (remaining[i] == 1) != decode) continue;
      grants[i] = grant_tokens(config, remaining[i], used);
      used += grants[i];
    }
  }
  return grants;
}

int output_limit(const Request& request, const SchedulerConfig& config) {
  const int context = config.max_model_len - static_cast<int>(request.prompt->size());
  return std::max(1, std::min(request.max_tokens, context));
}

int remaining_tokens(const Sequence& sequence, const SchedulerConfig& config) {
  const int drawn = sequence.num_output() + sequence.unread;
  if (drawn >= output_limit(*sequence.request, config)) return 0;
  return sequence.num_tokens() - sequence.num_computed;
}

Ending ending_of(const Request& request, const SchedulerConfig& config, TokenId token,
                 int num_output) {
  const auto among = [token](const std::vector<TokenId>& ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  if (num_output >= request.params->min_tokens) {
    if (among(request.eos_ids)) return {FinishReason::kStop, std::nullopt, true};
    if (among(request.params->stop_token_ids)) return {FinishReason::kStop, token, true};
  }
  if (num_output >= output_limit(request, config))
    return {FinishReason::kLength, std::nullopt, false};
  return {};
}

}  // namespace octavo
