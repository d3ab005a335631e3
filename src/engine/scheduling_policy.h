// The scheduler's decisions as pure functions: who comes first, how one step's token budget is
// split, how long a sequence may grow, and when a drawn token ends it. Called by Scheduler only.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/request.h"
#include "engine/scheduler.h"

namespace octavo {

// Smaller goes first. Unique by `ordinal`, the order of add().
struct SequenceOrder {
  int64_t priority = 0;
  double arrival = 0;
  int64_t ordinal = 0;
  friend auto operator<=>(const SequenceOrder&, const SequenceOrder&) = default;
};
SequenceOrder order_of(const Request& request, int64_t ordinal, SchedulingPolicy policy);

// Most tokens of one sequence in one step.
int max_chunk(const SchedulerConfig& config);

// Tokens that a sequence with `remaining` uncomputed ones gets in a step that already has `used`;
// 0: none now. Without chunked prefill all or none; what exceeds a whole step's budget then runs in
// a step of its own.
int grant_tokens(const SchedulerConfig& config, int remaining, int used);

// The same for all running sequences in order. Those with one token left (decode rows) are served
// before those that still compute a prompt, so that no prompt delays a token that is one row away.
std::vector<int> split_budget(const SchedulerConfig& config, std::span<const int> remaining);

// Output tokens after which a sequence ends.
int output_limit(const Request& request, const SchedulerConfig& config);
// Uncomputed tokens of a running sequence; 0 when every token it may have is drawn.
int remaining_tokens(const Sequence& sequence, const SchedulerConfig& config);

struct Ending {
  FinishReason finish = FinishReason::kNone;
  std::optional<TokenId> stop_token;
  bool hide_token = false;
};
// What `token`, the num_output-th of its sequence, means for it: vLLM's check_stop
// (end-of-sequence, stop tokens, length). Before min_tokens only length counts.
Ending ending_of(const Request& request, const SchedulerConfig& config, TokenId token,
                 int num_output);

}  // namespace octavo
