// commit(): what a finished step means for its sequences, row by row, and the masks that follow
// from it.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/scheduler_impl.h"

namespace octavo {

namespace {

// Whether the newest token ends a repetition. Those before min_tokens are known, but end nothing.
bool goes_in_circles(Sequence& sequence) {
  if (!sequence.repetition || !sequence.repetition->append(sequence.output())) return false;
  return sequence.num_output() >= sequence.request->params->min_tokens;
}

}  // namespace

std::vector<SequenceEvent> Scheduler::Impl::commit(const StepResult& result) {
  CHECK(!steps_.empty() && steps_.front().id == result.step);
  const StepRecord step = std::move(steps_.front());
  steps_.pop_front();
  std::vector<SequenceEvent> events = std::exchange(pending_events_, {});
  if (!result.status.ok()) {
    fail_step(step, result.status, events);
    return events;
  }
  CHECK(static_cast<int>(result.samples.size()) == step.num_samples);
  CHECK(static_cast<int>(result.prompt_logprobs.size()) == step.num_prompt_logprobs);
  events.reserve(events.size() + step.rows.size());
  for (const StepRow& row : step.rows) commit_row(row, result, events);
  return events;
}

void Scheduler::Impl::commit_row(const StepRow& row, const StepResult& result,
                                 std::vector<SequenceEvent>& events) {
  SequenceEntry& entry = *row.sequence;
  --entry.inflight;
  if (row.sample >= 0) --entry.unread;
  const bool live = entry.state != SequenceState::kRetired;

  // Log-probabilities of the prompt belong to the request: if this sequence has ended, a sibling
  // brings them.
  const RequestGroup* group = live ? entry.group : find_group(entry.request->key);
  SequenceEvent event;
  if (group) event = make_event(live ? entry : *group->live.front());
  if (row.num_prompt_logprobs > 0 && group) {
    const auto first = result.prompt_logprobs.begin() + row.prompt_logprobs_begin;
    event.prompt_logprobs.assign(first, first + row.num_prompt_logprobs);
    event.prompt_logprobs_first = row.prompt_logprobs_first;
  }
  const SampledToken* token = row.sample >= 0 && live ? &result.samples[row.sample] : nullptr;
  if (token && token->invalid_logits) {
    event.finish = FinishReason::kError;
    const Request& request = *entry.request;
    if (request.params->allowed_token_ids || !request.bad_words.empty()) {
      event.error = "allowed_token_ids and bad_words leave no token to choose";
      event.error_code = StatusCode::kInvalidArgument;
    } else {
      event.error = "the model's logits are not finite, or nothing was left to choose from";
    }
    retire(entry);
  } else if (live) {
    entry.borrowed = false;
    if (entry.state == SequenceState::kRunning) {
      entry.num_committed = row.end;
      cache_.register_prefix(std::span(entry.tokens).first(row.end), entry.request->cache_salt,
                             entry.blocks);
    }
    if (token) commit_token(entry, *token, event);
  }
  if (event.has_token || event.finish != FinishReason::kNone || !event.prompt_logprobs.empty()) {
    events.push_back(std::move(event));
  }
  settle(entry);
}

void Scheduler::Impl::commit_token(SequenceEntry& entry, const SampledToken& token,
                                   SequenceEvent& event) {
  entry.tokens.push_back(token.token);
  ++stats_.generation_tokens;
  Ending ending = ending_of(*entry.request, config_, token.token, entry.num_output());
  if (ending.finish == FinishReason::kNone && goes_in_circles(entry))
    ending.finish = FinishReason::kRepetition;
  event.has_token = true;
  if (!std::exchange(entry.group->answered, true)) event.prompt_tokens = entry.num_prompt();
  event.token = token;
  event.finish = ending.finish;
  event.stop_token = ending.stop_token;
  event.hide_token = ending.hide_token;
  if (entry.masker && ending.finish != FinishReason::kStop) follow_constraint(entry, event);
  if (event.finish != FinishReason::kNone) retire(entry);
}

// Tells the masker of the token. It may say that the answer is complete, even with the last token
// that there was room for, or give up.
void Scheduler::Impl::follow_constraint(SequenceEntry& entry, SequenceEvent& event) {
  TokenMasker& masker = *entry.masker;
  if (masker.status().ok()) masker.accept(event.token.token);
  if (const Status status = masker.status(); !status.ok()) {
    event.finish = FinishReason::kError;
    event.error = status.message();
    event.error_code = status.code();
  } else if (masker.ended()) {
    event.finish = FinishReason::kStop;
  }
}

void Scheduler::Impl::fail_step(const StepRecord& step, const Status& status,
                                std::vector<SequenceEvent>& events) {
  for (const StepRow& row : step.rows) {
    SequenceEntry& entry = *row.sequence;
    --entry.inflight;
    if (row.sample >= 0) --entry.unread;
    if (entry.state != SequenceState::kRetired) fail(entry, status.message(), events);
    if (RequestGroup* group = find_group(entry.request->key);
        group && row.num_prompt_logprobs > 0) {
      group->next_prompt_logprob = std::min(group->next_prompt_logprob, row.prompt_logprobs_first);
    }
    // Blocks that a sibling borrowed may be those that this step did not fill.
    if (const RequestGroup* group = find_group(entry.request->key)) {
      for (SequenceEntry* sibling : std::vector<SequenceEntry*>(group->live)) {
        if (!sibling->borrowed) continue;
        fail(*sibling, status.message(), events);
        settle(*sibling);
      }
    }
    settle(entry);
  }
}

StepMasks Scheduler::Impl::make_masks(const BatchPlan& plan) {
  StepMasks masks;
  const size_t words = (static_cast<size_t>(config_.vocab_size) + 31) / 32;
  for (const PlanSample& sample : plan.samples) {
    if (!sample.needs_mask) continue;
    std::vector<uint32_t>& mask = masks.masks.emplace_back(words, 0);
    const auto it = entries_.find(plan.rows[sample.row].sequence);
    CHECK(it != entries_.end());
    const SequenceEntry& entry = *it->second;
    const bool live = entry.state != SequenceState::kRetired && entry.masker->status().ok();
    if (live) entry.masker->fill(mask);
    // What an ended sequence draws is dropped; it only has to be able to draw.
    if (!live || !entry.masker->status().ok()) std::fill(mask.begin(), mask.end(), ~uint32_t{0});
  }
  return masks;
}

}  // namespace octavo
