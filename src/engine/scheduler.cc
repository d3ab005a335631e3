#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"
#include "engine/scheduler_impl.h"

namespace octavo {

std::vector<SequenceEvent> failures_of(const Request& request, const Status& error) {
  std::vector<SequenceEvent> events;
  const auto& answers = request.progress.answers;
  for (int i = 0; i < std::max(1, request.params->n); ++i) {
    if (!answers.empty() && answers[static_cast<size_t>(i)].ended) continue;
    SequenceEvent& event = events.emplace_back();
    event.request = request.key;
    event.index = i;
    event.finish = FinishReason::kError;
    event.error = error.message();
    event.error_code = error.code();
  }
  return events;
}

Scheduler::Impl::Impl(const SchedulerConfig& config, KvManager& cache)
    : config_(config),
      budget_(config.chunked_prefill ? config.max_step_seconds : 0, config.max_num_batched_tokens,
              config.chunked_prefill ? config.max_mixed_prefill : 0),
      step_(config),
      cache_(cache) {
  CHECK(config.max_num_batched_tokens > 0 && config.max_num_seqs > 0 && config.max_model_len > 0);
  for (int i = config.max_num_seqs - 1; i >= 0; --i) free_slots_.push_back(SlotId(i));
}

void Scheduler::Impl::add(std::shared_ptr<const Request> request) {
  CHECK(!request->prompt->empty());
  const auto [it, fresh] = groups_.try_emplace(request->key);
  CHECK(fresh);
  RequestGroup& group = it->second;
  group.request = request;
  const RequestProgress& progress = request->progress;
  group.admitted = progress.admitted;
  group.num_cached = progress.num_cached;
  group.first_scheduled = progress.first_scheduled;
  group.next_prompt_logprob = progress.next_prompt_logprob;
  for (int i = 0; i < std::max(1, request->params->n); ++i) {
    const bool returns = i < static_cast<int>(progress.answers.size());
    group.answered |= returns && !progress.answers[i].tokens.empty();
    if (returns && progress.answers[i].ended) continue;
    auto entry = std::make_unique<SequenceEntry>();
    entry->id = SequenceId(next_sequence_++);
    entry->request = request;
    entry->index = i;
    entry->tokens = *request->prompt;
    if (returns) {
      const std::vector<TokenId>& drawn = progress.answers[i].tokens;
      entry->tokens.insert(entry->tokens.end(), drawn.begin(), drawn.end());
    }
    if (const auto& detection = request->params->repetition_detection)
      entry->repetition.emplace(*detection, entry->output());
    entry->order = order_of(*request, entry->id.value, config_.policy);
    entry->group = &group;
    group.live.push_back(entry.get());
    waiting_.insert(entry.get());
    entries_.emplace(entry->id, std::move(entry));
  }
  CHECK(!group.live.empty());
}

RequestGroup* Scheduler::Impl::find_group(RequestKey key) {
  const auto it = groups_.find(key);
  return it == groups_.end() ? nullptr : &it->second;
}

// The slot stays until the steps in flight are read; their tokens are valid and still count.
void Scheduler::Impl::preempt(SequenceEntry& entry) {
  cache_.release(entry.blocks);
  std::erase(running_, &entry);
  --entry.group->num_running;
  entry.state = SequenceState::kWaiting;
  entry.num_computed = entry.num_committed = 0;
  ++entry.num_preemptions;
  ++stats_.preemptions;
  waiting_.insert(&entry);
  settle(entry);
}

// Takes the sequence out of everything but the steps in flight. To be followed by settle().
void Scheduler::Impl::retire(SequenceEntry& entry) {
  cache_.release(entry.blocks);
  if (entry.state == SequenceState::kRunning) {
    std::erase(running_, &entry);
    --entry.group->num_running;
  } else {
    waiting_.erase(&entry);
  }
  entry.state = SequenceState::kRetired;
  std::erase(entry.group->live, &entry);
  if (entry.group->live.empty()) groups_.erase(entry.request->key);
  entry.group = nullptr;
}

// Gives back the slot of a sequence that no longer runs, and forgets a retired one, once no step
// mentions it.
void Scheduler::Impl::settle(SequenceEntry& entry) {
  if (entry.inflight > 0 || entry.state == SequenceState::kRunning) return;
  if (entry.slot.valid()) free_slots_.push_back(entry.slot);
  entry.slot = SlotId();
  if (entry.state == SequenceState::kRetired) entries_.erase(entry.id);
}

void Scheduler::Impl::fail(SequenceEntry& entry, const std::string& error,
                           std::vector<SequenceEvent>& events) {
  events.push_back(make_event(entry));
  events.back().finish = FinishReason::kError;
  events.back().error = error;
  retire(entry);
}

// REQUIRES: not retired.
SequenceEvent Scheduler::Impl::make_event(const SequenceEntry& entry) const {
  SequenceEvent event;
  event.request = entry.request->key;
  event.index = entry.index;
  event.sequence = entry.id;
  event.num_cached_tokens = entry.group->num_cached;
  event.first_scheduled = entry.group->first_scheduled;
  return event;
}

std::string Scheduler::Impl::check_sequences() const {
  size_t live = 0;
  for (const auto& [id, entry] : entries_) {
    const SequenceEntry& e = *entry;
    const std::string who = "sequence " + std::to_string(id.value);
    const bool runs = std::find(running_.begin(), running_.end(), &e) != running_.end();
    const bool waits = waiting_.count(const_cast<SequenceEntry*>(&e)) > 0;
    if (runs != (e.state == SequenceState::kRunning))
      return who + ": state and running list disagree";
    if (waits != (e.state == SequenceState::kWaiting))
      return who + ": state and waiting list disagree";
    if (e.state == SequenceState::kRetired && e.inflight == 0)
      return who + ": ended and not forgotten";
    if (e.state != SequenceState::kRetired) ++live;
    if (!runs && !e.blocks.groups.empty()) return who + " does not run and holds blocks";
    if (e.num_committed > e.num_computed || e.num_committed > e.num_known())
      return who + ": too much committed";
    if (!runs) continue;
    if (e.num_computed > e.num_tokens()) return who + ": more computed than there is";
    if (e.unread > 0 && e.num_computed + 1 != e.num_tokens())
      return who + ": unread tokens are not computed";
    for (const std::vector<BlockId>& blocks : e.blocks.groups) {
      const int room = static_cast<int>(blocks.size()) * cache_.block_size();
      if (room < e.num_computed) return who + ": computed beyond its blocks";
    }
  }
  if (live != running_.size() + waiting_.size()) return "a list holds a sequence that is gone";
  if (!std::is_sorted(running_.begin(), running_.end(), ByOrder()))
    return "running sequences are out of order";
  size_t grouped = 0;
  for (const auto& [key, group] : groups_) {
    grouped += group.live.size();
    const auto runs = [](const SequenceEntry* e) { return e->state == SequenceState::kRunning; };
    if (group.num_running != std::count_if(group.live.begin(), group.live.end(), runs)) {
      return "a request miscounts its running sequences";
    }
  }
  return grouped == live ? "" : "requests miscount their sequences";
}

std::string Scheduler::Impl::check_slots_and_steps() const {
  std::vector<int> uses(config_.max_num_seqs, 0);
  for (const SlotId slot : free_slots_) ++uses[slot.value];
  std::unordered_map<const SequenceEntry*, std::pair<int, int>> in_steps;  // rows, samples
  for (const StepRecord& step : steps_) {
    for (const StepRow& row : step.rows) {
      ++in_steps[row.sequence].first;
      in_steps[row.sequence].second += row.sample >= 0;
    }
  }
  for (const auto& [id, entry] : entries_) {
    if (entry->slot.valid()) ++uses[entry->slot.value];
    const bool needed = entry->state == SequenceState::kRunning || entry->inflight > 0;
    if (needed != entry->slot.valid()) return "a sequence lacks a slot, or keeps one";
    const auto [rows, samples] = in_steps[entry.get()];
    if (rows != entry->inflight || samples != entry->unread)
      return "a sequence miscounts its steps in flight";
  }
  const auto unique = [](int count) { return count == 1; };
  return std::all_of(uses.begin(), uses.end(), unique) ? "" : "a slot is lost or has two owners";
}

Scheduler::Scheduler(const SchedulerConfig& config, KvManager& cache)
    : impl_(std::make_unique<Impl>(config, cache)) {}

Scheduler::~Scheduler() = default;

void Scheduler::add(std::shared_ptr<const Request> request) {
  impl_->add(std::move(request));
}

void Scheduler::finish(RequestKey request, int index) {
  RequestGroup* group = impl_->find_group(request);
  if (!group) return;
  const auto it =
      std::find_if(group->live.begin(), group->live.end(),
                   [index](const SequenceEntry* entry) { return entry->index == index; });
  if (it == group->live.end()) return;
  SequenceEntry& entry = **it;
  impl_->retire(entry);
  impl_->settle(entry);
}

void Scheduler::cancel(RequestKey request) {
  RequestGroup* group = impl_->find_group(request);
  if (!group) return;
  for (SequenceEntry* entry : std::vector<SequenceEntry*>(group->live)) {
    impl_->retire(*entry);
    impl_->settle(*entry);
  }
}

BatchPlan Scheduler::schedule(double now) {
  return impl_->schedule(now);
}
void Scheduler::observe(const BatchPlan& plan, double seconds) {
  impl_->observe(plan, seconds);
}
StepMasks Scheduler::make_masks(const BatchPlan& plan) {
  return impl_->make_masks(plan);
}
std::vector<SequenceEvent> Scheduler::commit(const StepResult& result) {
  return impl_->commit(result);
}
std::vector<SequenceEvent> Scheduler::take_events() {
  return std::exchange(impl_->pending_events_, {});
}

bool Scheduler::has_unfinished() const {
  return !impl_->running_.empty() || !impl_->waiting_.empty() || !impl_->pending_events_.empty();
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats stats = impl_->stats_;
  stats.running = static_cast<int>(impl_->running_.size());
  stats.waiting = static_cast<int>(impl_->waiting_.size());
  return stats;
}

std::vector<SequenceView> Scheduler::view(size_t most) const {
  std::vector<SequenceView> views;
  const auto add = [&](const auto& sequences) {
    for (const SequenceEntry* entry : sequences) {
      if (views.size() == most) return;
      views.push_back({.running = entry->state == SequenceState::kRunning,
                       .prompt = entry->num_prompt(),
                       .cached = entry->num_cached,
                       .computed = entry->num_computed,
                       .output = entry->num_output(),
                       .max_output = entry->request->max_tokens,
                       .sampling = SamplingView::of(*entry->request->params)});
    }
  };
  add(impl_->running_);
  add(impl_->waiting_);
  return views;
}

std::string Scheduler::check_invariants() const {
  if (std::string wrong = impl_->check_sequences(); !wrong.empty()) return wrong;
  if (std::string wrong = impl_->check_slots_and_steps(); !wrong.empty()) return wrong;
  std::vector<const SequenceBlocks*> holders;
  for (const SequenceEntry* entry : impl_->running_) holders.push_back(&entry->blocks);
  return impl_->cache_.check_invariants(&holders);
}

}  // namespace octavo
