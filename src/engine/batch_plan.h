// BatchPlan: one step as plain data, from the Scheduler to the workers; StepResult: what comes
// back. The same struct serves every backend, padding for graphs, and sending to other ranks.
#pragma once

#include <cstdint>
#include <vector>

#include "base/strong_id.h"
#include "octavo/status.h"
#include "ops/sampler.h"

namespace octavo {

// The tokens [token_begin, token_begin + num_tokens) of the plan belong to this row's sequence, at
// positions start, start + 1, …
struct PlanRow {
  SequenceId sequence;
  SlotId slot;
  int token_begin = 0;
  int num_tokens = 0;
  int start = 0;
};

// The logits of a row's last token are drawn from.
struct PlanSample {
  int row = 0;
  int num_logprobs = -1;
  bool needs_mask = false;  // waits for Executor::sample
};

// Log-probability of prompt token `target` given the tokens up to plan token `token`.
struct PlanPromptLogprob {
  int row = 0;
  int token = 0;
  TokenId target = 0;
  int num_logprobs = 0;
};

// Block tables of one cache group: row r owns blocks [begin[r], begin[r + 1]); -1 where the window
// has passed.
struct PlanBlockTable {
  std::vector<int32_t> begin;
  std::vector<int32_t> blocks;
};

struct BatchPlan {
  StepId step;
  std::vector<SlotSetup> setups;  // done before anything else in this step
  std::vector<TokenId> tokens;  // -1 - slot stands for the token that slot drew in the step before
  std::vector<PlanRow> rows;    // those of one token first
  std::vector<PlanSample> samples;
  std::vector<PlanPromptLogprob> prompt_logprobs;
  std::vector<PlanBlockTable> tables;  // one per cache group

  bool empty() const { return rows.empty(); }
};

// Masks for the samples of a plan with needs_mask, in their order; each vocab_size bits.
struct StepMasks {
  std::vector<std::vector<uint32_t>> masks;
};

struct StepResult {
  StepId step;
  // Failed: the whole step, no samples. kUnavailable: no later step can succeed either.
  Status status;
  std::vector<SampledToken> samples;  // one per plan sample
  std::vector<SampledToken> prompt_logprobs;

  bool device_lost() const { return status.code() == StatusCode::kUnavailable; }
};

}  // namespace octavo
