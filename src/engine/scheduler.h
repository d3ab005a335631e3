// Scheduler: decides what runs in the next step, and what a finished step means. It knows requests,
// tokens and blocks; it never sees a device, a text or a socket. Engine thread.
//
// schedule(): one token budget a step (StepBudget), no prefill or decode phases. Every sequence
// catches its num_computed up to its num_tokens(): running ones first, oldest first, then waiting
// ones by policy, while budget, slots and blocks last. When a running sequence finds no block, the
// newest (fcfs) or least urgent (priority) one is preempted: its blocks are freed, it waits again
// and is recomputed, prompt and output alike. commit(): reads the tokens of the oldest step in
// flight, ends sequences at end-of-sequence, stop tokens and max_tokens, and yields events for the
// OutputProcessor. A row whose sequence was retired meanwhile is dropped.
//
// Order: by add() under fcfs, by (priority, arrival) under priority. A preempted sequence keeps its
// place, so it stands before all that came later. The first one that does not fit ends the
// admissions of a step; only sequences that wait for their own steps in flight, or for a sibling's
// prompt, are passed over. The first in order is never preempted for another, which is why none
// starves. n > 1: one sequence of a request computes the prompt; the others wait until that step is
// submitted, then take references to its full blocks. Blocks of retired and preempted sequences are
// free at once, although steps in flight still use them: device work is in order, and whoever takes
// them runs later. Slots are free when no step in flight mentions them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/kv_manager.h"
#include "engine/batch_plan.h"
#include "engine/request.h"
#include "octavo/engine_state.h"

namespace octavo {

enum class SchedulingPolicy { kFcfs, kPriority };

struct SchedulerConfig {
  int max_num_batched_tokens = 2048;
  int max_num_seqs = 128;  // also the number of slots
  int max_model_len = 0;
  int long_prefill_token_threshold = 0;
  bool chunked_prefill = true;
  SchedulingPolicy policy = SchedulingPolicy::kFcfs;
  int vocab_size = 0;
  // Most seconds of a step in which sequences decode, as far as observe() tells; 0: no limit. Only
  // with chunked_prefill.
  double max_step_seconds = 0;
  int max_mixed_prefill = 0;  // prefill tokens in a step with decode rows; 0: no limit
};

// One thing that happened to a sequence in a step; plain data for the output threads.
struct SequenceEvent {
  RequestKey request;
  int index = 0;
  SequenceId sequence;
  bool has_token = false;
  SampledToken token;
  int prompt_tokens = 0;  // of the request, with the first token that any of its answers has
  FinishReason finish = FinishReason::kNone;
  std::optional<TokenId> stop_token;  // the stop_token_ids entry that ended it; none for eos
  // The token (eos or a stop token) ends the sequence; it counts as output, and its text is shown
  // only with include_stop_str_in_output.
  bool hide_token = false;
  std::string error;  // with FinishReason::kError
  StatusCode error_code = StatusCode::kInternal;
  // For prompt positions prompt_logprobs_first, +1, …; each position of a request once, in
  // whichever sequence.
  std::vector<SampledToken> prompt_logprobs;
  int prompt_logprobs_first = 0;
  int num_cached_tokens = 0;
  double first_scheduled = 0;
};
// Ends each answer of `request` that its progress does not say has ended.
std::vector<SequenceEvent> failures_of(const Request& request, const Status& error);

struct SchedulerStats {
  int running = 0;
  int waiting = 0;
  int64_t preemptions = 0;
  int64_t prompt_tokens = 0;
  int64_t generation_tokens = 0;
  int64_t prefix_queries = 0;  // tokens
  int64_t prefix_hits = 0;
  int last_step_tokens = 0;
};

class Scheduler {
 public:
  Scheduler(const SchedulerConfig& config, KvManager& cache);

  // A request with progress goes on from there: its answers' tokens count as drawn.
  // REQUIRES: prompt not empty, prompt + max_tokens <= max_model_len, max_tokens >= 1, key not used
  // before; progress leaves an answer that has not ended, and none longer than max_tokens.
  void add(std::shared_ptr<const Request> request);
  // Ends one sequence (a stop string was found in its text after `num_output` tokens, or its reader
  // is gone). No event follows; tokens still in flight are dropped. Unknown or ended sequences are
  // ignored.
  void finish(RequestKey request, int index);
  // Ends all sequences of a request. No events follow.
  void cancel(RequestKey request);

  // The next step, to be submitted before the next call. Perhaps empty: nothing to do, or
  // everything waits for a step in flight. An empty plan is no step: it is not submitted, and not
  // committed.
  BatchPlan schedule(double now);
  // How long a submitted step took; see StepBudget::observe().
  void observe(const BatchPlan& plan, double seconds);
  // Masks for the samples of the newest submitted plan that need one. REQUIRES: all steps before
  // are committed.
  StepMasks make_masks(const BatchPlan& plan);
  // Reads the oldest uncommitted step. A failed step ends every sequence in it with
  // FinishReason::kError, and every sibling that computes on blocks which that step should have
  // filled.
  std::vector<SequenceEvent> commit(const StepResult& result);

  // Events that arose outside a commit: schedule() ends sequences that can never fit the cache. To
  // be asked for after schedule(); commit() returns them too.
  std::vector<SequenceEvent> take_events();

  // Some sequence waits or runs, or take_events() would return something.
  bool has_unfinished() const;
  SchedulerStats stats() const;
  // The running sequences, then the waiting ones, each in order; `most` at most.
  std::vector<SequenceView> view(size_t most) const;
  // Every invariant that can be checked without a slow model; empty, or what is wrong. For tests
  // and idle checks.
  std::string check_invariants() const;

  ~Scheduler();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octavo
