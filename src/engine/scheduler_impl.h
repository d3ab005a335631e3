// The scheduler's state, shared by its three sources: scheduler.cc (requests come and go,
// invariants), scheduler_plan.cc (schedule) and scheduler_commit.cc (commit, masks). Engine thread.
//
// Invariants (with those of a Sequence, request.h):
//  1. Every live sequence is in exactly one of running_ and waiting_, both in SequenceOrder; a
//  retired one is in
//     neither, holds no blocks, and goes when its last step in flight is committed.
//  2. steps_ are the submitted, uncommitted steps, oldest first. A sequence is at most once in
//  each.
//  3. Each slot is in free_slots_ or belongs to one sequence.
#pragma once

#include <deque>
#include <set>
#include <unordered_map>

#include "engine/scheduling_policy.h"
#include "engine/step_budget.h"

namespace octavo {

struct RequestGroup;

struct SequenceEntry : Sequence {
  SequenceOrder order;
  RequestGroup* group = nullptr;  // valid while not retired
};

// The sequences of one request that have not ended.
struct RequestGroup {
  std::shared_ptr<const Request> request;
  std::vector<SequenceEntry*> live;  // by index
  int num_running = 0;
  bool admitted = false;  // one of its sequences has been scheduled
  bool answered = false;  // one of its sequences has a token
  int num_cached = 0;     // prompt tokens that the first one found in the prefix cache
  double first_scheduled = 0;
  int next_prompt_logprob =
      1;                     // first prompt position whose log-probability no step has computed yet
  int64_t passed_over = -1;  // the schedule() call in which a sequence had to wait for its own kind
};

struct StepRow {
  SequenceEntry* sequence = nullptr;
  int end = 0;                    // tokens computed, this step included
  int sample = -1;                // index into StepResult::samples
  int prompt_logprobs_first = 0;  // prompt position
  int prompt_logprobs_begin = 0;  // index into StepResult::prompt_logprobs
  int num_prompt_logprobs = 0;
};

struct StepRecord {
  StepId id;
  std::vector<StepRow> rows;
  int num_samples = 0;
  int num_prompt_logprobs = 0;
};

// A row of the step being planned; its blocks are there.
struct Grant {
  SequenceEntry* sequence = nullptr;
  int num_tokens = 0;
  bool admitted = false;  // in this step: its slot must be set up
};

struct Scheduler::Impl {
  Impl(const SchedulerConfig& config, KvManager& cache);

  // scheduler.cc
  void add(std::shared_ptr<const Request> request);
  void preempt(SequenceEntry& entry);
  void retire(SequenceEntry& entry);
  void settle(SequenceEntry& entry);
  void fail(SequenceEntry& entry, const std::string& error, std::vector<SequenceEvent>& events);
  RequestGroup* find_group(RequestKey key);
  SequenceEvent make_event(const SequenceEntry& entry) const;
  std::string check_sequences() const;
  std::string check_slots_and_steps() const;

  // scheduler_plan.cc
  BatchPlan schedule(double now);
  void observe(const BatchPlan& plan, double seconds);
  void grant_running(std::vector<Grant>& grants);
  bool make_room(SequenceEntry& entry, int num_tokens);
  void admit_waiting(double now, std::vector<Grant>& grants);
  enum class Admission { kAdmitted, kFailed, kNoRoom, kWaits };
  Admission admit(SequenceEntry& entry, int used, std::vector<int>& reserved, Grant& grant);
  int take_prefix(SequenceEntry& entry, int& matched);
  bool wants_prompt_logits(const SequenceEntry& entry) const;
  bool prefix_is_coming(const SequenceEntry& entry, int start) const;
  void enter_batch(SequenceEntry& entry, double now, int cached);
  SequenceEntry* prompt_source(const RequestGroup& group) const;
  int kv_tokens_ahead(const SequenceEntry& entry) const;
  BatchPlan build_plan(const std::vector<Grant>& grants);
  void add_prompt_logprobs(const SequenceEntry& entry, const PlanRow& row, BatchPlan& plan,
                           StepRow& record);

  // scheduler_commit.cc
  std::vector<SequenceEvent> commit(const StepResult& result);
  void commit_row(const StepRow& row, const StepResult& result, std::vector<SequenceEvent>& events);
  void commit_token(SequenceEntry& entry, const SampledToken& token, SequenceEvent& event);
  void follow_constraint(SequenceEntry& entry, SequenceEvent& event);
  void fail_step(const StepRecord& step, const Status& status, std::vector<SequenceEvent>& events);
  StepMasks make_masks(const BatchPlan& plan);

  struct ByOrder {
    bool operator()(const SequenceEntry* a, const SequenceEntry* b) const {
      return a->order < b->order;
    }
  };

  const SchedulerConfig config_;
  StepBudget budget_;
  SchedulerConfig step_;  // config_ with the token budget of the step being planned
  KvManager& cache_;
  std::unordered_map<SequenceId, std::unique_ptr<SequenceEntry>> entries_;
  std::unordered_map<RequestKey, RequestGroup> groups_;
  std::vector<SequenceEntry*> running_;
  std::set<SequenceEntry*, ByOrder> waiting_;
  std::vector<SlotId> free_slots_;
  std::deque<StepRecord> steps_;
  std::vector<SequenceEvent> pending_events_;
  SchedulerStats stats_;
  int64_t next_sequence_ = 0;
  int64_t next_step_ = 0;
  int64_t num_schedules_ = 0;
};

}  // namespace octavo
