// schedule(): first the budget is split over the running sequences, then each, first in order
// first, gets the blocks for its share or takes them from the last in order; then waiting ones are
// admitted; then the plan is written. Nothing before build_plan() moves num_computed, so until then
// it tells what submitted steps compute.
#include <algorithm>

#include "base/check.h"
#include "engine/scheduler_impl.h"

namespace octavo {

BatchPlan Scheduler::Impl::schedule(double now) {
  ++num_schedules_;
  const int64_t preemptions = stats_.preemptions;
  std::vector<Grant> grants;
  grant_running(grants);
  // Who just lost blocks would only lose them to a newcomer.
  if (stats_.preemptions == preemptions) admit_waiting(now, grants);
  std::stable_partition(grants.begin(), grants.end(),
                        [](const Grant& grant) { return grant.num_tokens == 1; });
  return build_plan(grants);
}

void Scheduler::Impl::observe(const BatchPlan& plan, double seconds) {
  const auto decode_rows = std::count_if(plan.rows.begin(), plan.rows.end(),
                                         [](const PlanRow& row) { return row.num_tokens == 1; });
  const auto rows = static_cast<int>(decode_rows);
  budget_.observe(rows, static_cast<int>(plan.tokens.size()) - rows, seconds);
}

void Scheduler::Impl::grant_running(std::vector<Grant>& grants) {
  std::vector<int> remaining;
  for (const SequenceEntry* entry : running_)
    remaining.push_back(remaining_tokens(*entry, config_));
  const auto decode_rows = std::count(remaining.begin(), remaining.end(), 1);
  step_.max_num_batched_tokens = budget_.tokens(static_cast<int>(decode_rows));
  const std::vector<int> tokens = split_budget(step_, remaining);
  // make_room() only removes from the back, and nothing before i.
  for (size_t i = 0; i < running_.size(); ++i) {
    SequenceEntry& entry = *running_[i];
    if (tokens[i] == 0 || !make_room(entry, entry.num_computed + tokens[i])) continue;
    grants.push_back({&entry, tokens[i], false});
  }
}

// Blocks for positions [0, num_tokens) of a running sequence, at the cost of the last ones in order
// if need be. False if the sequence itself had to go.
bool Scheduler::Impl::make_room(SequenceEntry& entry, int num_tokens) {
  // Siblings admitted in this step start from the prompt's last full block and must still see their
  // window.
  int next = entry.num_computed;
  const int prompt = entry.num_prompt();
  if (next == prompt && entry.group->live.size() > 1)
    next = (prompt - 1) / cache_.block_size() * cache_.block_size();
  cache_.drop_outside_window(entry.blocks, next);
  if (cache_.grow(entry.blocks, num_tokens)) return true;
  cache_.drop_outside_window(entry.blocks, entry.num_computed);
  while (!cache_.grow(entry.blocks, num_tokens)) {
    SequenceEntry& victim = *running_.back();
    if (running_.size() == 1) {
      fail(entry,
           "the KV cache is too small for a sequence of " + std::to_string(num_tokens) + " tokens",
           pending_events_);
      settle(entry);
      return false;
    }
    preempt(victim);
    if (&victim == &entry) return false;
  }
  return true;
}

// Positions whose KV a sequence will hold at least: all that are known and the next token, unless
// that ends it.
int Scheduler::Impl::kv_tokens_ahead(const SequenceEntry& entry) const {
  const int last = entry.num_prompt() + output_limit(*entry.request, config_) - 1;
  return std::min(entry.num_known() + 1, last);
}

void Scheduler::Impl::admit_waiting(double now, std::vector<Grant>& grants) {
  int used = 0;
  for (const Grant& grant : grants) used += grant.num_tokens;
  std::vector<int> reserved(cache_.num_groups(), 0);  // for prompts that are partly computed
  for (const SequenceEntry* entry : running_) {
    if (entry->num_known() - entry->num_computed <= 1) continue;
    cache_.add_demand(entry->blocks, kv_tokens_ahead(*entry), max_chunk(config_), reserved);
  }
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (free_slots_.empty() || used >= step_.max_num_batched_tokens) return;
    SequenceEntry& entry = **it++;
    RequestGroup& group = *entry.group;
    if (group.passed_over == num_schedules_) continue;
    const bool prompt_pending = group.num_running > 0 && !prompt_source(group);
    if (entry.inflight > 0 || prompt_pending) {
      group.passed_over = num_schedules_;
      continue;
    }
    Grant grant;
    const Admission admission = admit(entry, used, reserved, grant);
    if (admission == Admission::kNoRoom) return;
    if (admission == Admission::kFailed) continue;
    if (admission == Admission::kWaits) {
      group.passed_over = num_schedules_;
      continue;
    }
    enter_batch(entry, now, entry.num_computed);
    used += grant.num_tokens;
    grants.push_back(grant);
  }
}

// Gives the sequence its prefix and the blocks of its first chunk, if all of its known tokens have
// room beside what is reserved; else leaves it as it was.
Scheduler::Impl::Admission Scheduler::Impl::admit(SequenceEntry& entry, int used,
                                                  std::vector<int>& reserved, Grant& grant) {
  const int chunk = max_chunk(config_);
  const int ahead = kv_tokens_ahead(entry);
  if (!cache_.fits_alone(ahead, chunk)) {
    fail(entry, "the KV cache is too small for a sequence of " + std::to_string(ahead) + " tokens",
         pending_events_);
    settle(entry);
    return Admission::kFailed;
  }
  int matched = -1;
  const int start = take_prefix(entry, matched);
  if (prefix_is_coming(entry, start)) {
    cache_.release(entry.blocks);
    entry.borrowed = false;
    return Admission::kWaits;
  }
  const int tokens = grant_tokens(step_, entry.num_known() - start, used);
  std::vector<int> demand = reserved;
  cache_.add_demand(entry.blocks, ahead, chunk, demand);
  if (tokens == 0 || !cache_.covers(demand)) {
    cache_.release(entry.blocks);
    entry.borrowed = false;
    return Admission::kNoRoom;
  }
  CHECK(cache_.grow(entry.blocks, start + tokens));
  if (start + tokens < entry.num_known()) cache_.add_demand(entry.blocks, ahead, chunk, reserved);
  // A prompt counts once, as in stats_.prompt_tokens: for the first of its sequences.
  if (matched >= 0 && !entry.group->admitted) {
    stats_.prefix_queries += entry.num_known();
    stats_.prefix_hits += matched;
  }
  entry.num_computed = start;
  entry.num_committed = entry.borrowed ? 0 : start;
  grant = {&entry, tokens, true};
  return Admission::kAdmitted;
}

// Log-probabilities of the prompt need its logits, so its tokens are computed even where they are
// cached.
bool Scheduler::Impl::wants_prompt_logits(const SequenceEntry& entry) const {
  return entry.request->params->prompt_logprobs &&
         entry.group->next_prompt_logprob < entry.num_prompt();
}

// Whether a running sequence is computing a good part of the same prompt beyond `start`: waiting
// for it costs a step or two, computing it again costs every other request its time.
bool Scheduler::Impl::prefix_is_coming(const SequenceEntry& entry, int start) const {
  constexpr int kWorthWaiting = 512;  // tokens
  if (!cache_.prefix_caching() || wants_prompt_logits(entry)) return false;
  const int most = entry.num_known() - 1;
  if (most - start < kWorthWaiting) return false;
  for (const SequenceEntry* other : running_) {
    const int known = std::min(other->num_prompt(), most);
    if (other->num_committed >= known || known - start < kWorthWaiting ||
        other->request->cache_salt != entry.request->cache_salt) {
      continue;
    }
    const auto begin = entry.tokens.begin();
    const auto parts = std::mismatch(begin, begin + known, other->tokens.begin()).first;
    const int common = static_cast<int>(parts - begin) / cache_.block_size() * cache_.block_size();
    if (common - start >= kWorthWaiting && other->num_committed < common) return true;
  }
  return false;
}

// The longest of what the prefix cache knows (`matched`; -1 if not asked) and what a sibling has
// computed.
int Scheduler::Impl::take_prefix(SequenceEntry& entry, int& matched) {
  const RequestGroup& group = *entry.group;
  const SequenceEntry* source = prompt_source(group);
  const int block_size = cache_.block_size();
  const int most = std::min(entry.num_prompt(), entry.num_known() - 1) / block_size * block_size;
  int start = 0;
  if (!wants_prompt_logits(entry) && cache_.prefix_caching())
    start = matched = cache_.match_prefix(entry.tokens, entry.request->cache_salt, entry.blocks);
  if (!source || start >= most) return start;
  SequenceBlocks shared;
  const int length = cache_.share(source->blocks, most, shared);
  if (length <= start) {
    cache_.release(shared);
    return start;
  }
  cache_.release(entry.blocks);
  entry.blocks = std::move(shared);
  entry.borrowed = true;
  return length;
}

// A running sequence of the group whose whole prompt is computed by submitted steps.
SequenceEntry* Scheduler::Impl::prompt_source(const RequestGroup& group) const {
  if (group.num_running == 0) return nullptr;
  for (SequenceEntry* entry : group.live) {
    const bool computed = entry->num_computed >= entry->num_prompt();
    if (entry->state == SequenceState::kRunning && computed) return entry;
  }
  return nullptr;
}

void Scheduler::Impl::enter_batch(SequenceEntry& entry, double now, int cached) {
  RequestGroup& group = *entry.group;
  waiting_.erase(&entry);
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &entry, ByOrder()), &entry);
  ++group.num_running;
  entry.state = SequenceState::kRunning;
  entry.slot = free_slots_.back();
  free_slots_.pop_back();
  if (entry.num_preemptions == 0) {
    entry.first_scheduled = now;
    entry.num_cached = std::min(cached, entry.num_prompt());
    if (entry.request->make_masker) {
      entry.masker = entry.request->make_masker();
      for (const TokenId token : entry.output()) entry.masker->accept(token);
    }
  }
  if (!group.admitted) {
    group.admitted = true;
    group.first_scheduled = now;
    group.num_cached = entry.num_cached;
    stats_.prompt_tokens += entry.num_prompt();
  }
}

namespace {

SlotSetup make_setup(const SequenceEntry& entry) {
  const Request& request = *entry.request;
  SlotSetup setup;
  setup.slot = entry.slot;
  setup.params = request.params;
  setup.bad_words = request.bad_words;
  setup.stop_ids = request.eos_ids;
  setup.stop_ids.insert(setup.stop_ids.end(), request.params->stop_token_ids.begin(),
                        request.params->stop_token_ids.end());
  setup.seed = request.seed + static_cast<uint64_t>(entry.index);
  setup.prompt = request.prompt;
  setup.output.assign(entry.output().begin(), entry.output().end());
  return setup;
}

// -1 asks for the whole vocabulary.
int num_logprobs(int asked, const SchedulerConfig& config) {
  return asked == -1 ? config.vocab_size : asked;
}

// Memory for what the grants will fill.
void reserve_plan(const std::vector<Grant>& grants, BatchPlan& plan) {
  size_t tokens = 0;
  for (const Grant& grant : grants) tokens += static_cast<size_t>(grant.num_tokens);
  plan.tokens.reserve(tokens);
  plan.rows.reserve(grants.size());
  plan.samples.reserve(grants.size());
  for (size_t g = 0; g < plan.tables.size(); ++g) {
    size_t blocks = 0;
    for (const Grant& grant : grants) blocks += grant.sequence->blocks.groups[g].size();
    plan.tables[g].blocks.reserve(blocks);
    plan.tables[g].begin.reserve(grants.size() + 1);
  }
}

void add_tables(const SequenceEntry& entry, BatchPlan& plan) {
  static_assert(sizeof(BlockId) == sizeof(int32_t));  // copied as they lie: there are many
  for (size_t g = 0; g < plan.tables.size(); ++g) {
    std::vector<int32_t>& blocks = plan.tables[g].blocks;
    const std::vector<BlockId>& own = entry.blocks.groups[g];
    const auto* first = reinterpret_cast<const int32_t*>(own.data());
    blocks.insert(blocks.end(), first, first + own.size());
    plan.tables[g].begin.push_back(static_cast<int32_t>(blocks.size()));
  }
}

}  // namespace

// Prompt positions up to the row's end whose log-probability no earlier row gave: after a
// preemption, or when another sequence of the request starts the prompt again, the first ones may
// be there already.
void Scheduler::Impl::add_prompt_logprobs(const SequenceEntry& entry, const PlanRow& row,
                                          BatchPlan& plan, StepRow& record) {
  int& next = entry.group->next_prompt_logprob;
  const int end = std::min(row.start + row.num_tokens + 1, entry.num_prompt());
  if (!entry.request->params->prompt_logprobs || next >= end || next <= row.start) return;
  record.prompt_logprobs_first = next;
  record.prompt_logprobs_begin = static_cast<int>(plan.prompt_logprobs.size());
  record.num_prompt_logprobs = end - next;
  const int row_index = static_cast<int>(plan.rows.size());
  const int k = num_logprobs(*entry.request->params->prompt_logprobs, config_);
  for (; next < end; ++next) {
    const int token = row.token_begin + (next - 1 - row.start);
    plan.prompt_logprobs.push_back({row_index, token, entry.tokens[next], k});
  }
}

BatchPlan Scheduler::Impl::build_plan(const std::vector<Grant>& grants) {
  BatchPlan plan;
  stats_.last_step_tokens = 0;
  if (grants.empty()) return plan;
  plan.step = StepId(next_step_++);
  plan.tables.resize(cache_.num_groups());
  reserve_plan(grants, plan);
  for (PlanBlockTable& table : plan.tables) table.begin.push_back(0);
  StepRecord& step = steps_.emplace_back();
  step.id = plan.step;
  step.rows.reserve(grants.size());
  for (const Grant& grant : grants) {
    SequenceEntry& entry = *grant.sequence;
    if (grant.admitted) plan.setups.push_back(make_setup(entry));
    const PlanRow row{entry.id, entry.slot, static_cast<int>(plan.tokens.size()), grant.num_tokens,
                      entry.num_computed};
    StepRow record{&entry, row.start + row.num_tokens};
    for (int position = row.start; position < record.end; ++position) {
      plan.tokens.push_back(position < entry.num_known() ? entry.tokens[position]
                                                         : -1 - entry.slot.value);
    }
    add_prompt_logprobs(entry, row, plan, record);
    if (record.end == entry.num_tokens()) {
      record.sample = static_cast<int>(plan.samples.size());
      const int logprobs = num_logprobs(entry.request->params->logprobs.value_or(-2), config_);
      plan.samples.push_back(
          {static_cast<int>(plan.rows.size()), std::max(-1, logprobs), entry.masker != nullptr});
      ++entry.unread;
    }
    add_tables(entry, plan);
    plan.rows.push_back(row);
    step.rows.push_back(record);
    entry.num_computed = record.end;
    ++entry.inflight;
  }
  step.num_samples = static_cast<int>(plan.samples.size());
  step.num_prompt_logprobs = static_cast<int>(plan.prompt_logprobs.size());
  stats_.last_step_tokens = static_cast<int>(plan.tokens.size());
  return plan;
}

}  // namespace octavo
