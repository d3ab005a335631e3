// SchedulerRig: a Scheduler, its KvManager and a ReplayDevice in the engine's loop, one call a
// step, for tests. After every step it checks the device's findings, every invariant and the
// budget, and fails the test if not.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/scheduler.h"
#include "engine/testing_replay_device.h"

namespace octavo {

struct RigOptions {
  SchedulerConfig scheduler;
  std::vector<CacheGroupSpec> groups = {{.num_blocks = 64}};
  int block_size = 4;
  bool prefix_caching = true;
  int depth = 2;  // steps in flight
};

// A small engine: 64 blocks of 4 tokens, a budget of 32, 8 slots, contexts up to 256 tokens.
inline RigOptions small_options() {
  RigOptions options;
  options.scheduler.max_num_batched_tokens = 32;
  options.scheduler.max_num_seqs = 8;
  options.scheduler.max_model_len = 256;
  options.scheduler.vocab_size = 50;
  return options;
}

class SchedulerRig {
 public:
  explicit SchedulerRig(const RigOptions& options)
      : options(options),
        cache(options.groups, options.block_size, options.prefix_caching),
        scheduler(options.scheduler, cache),
        device(options.groups, options.block_size, options.scheduler.max_num_seqs,
               options.scheduler.vocab_size,
               [this](const SlotSetup& setup) { return salts_.at(setup.prompt.get()); }) {}

  // Gives the request a key, and adds it. `request.prompt` must not be another request's.
  RequestKey add(Request request) {
    request.key = RequestKey(next_key_++);
    salts_[request.prompt.get()] = request.cache_salt;
    scheduler.add(std::make_shared<Request>(std::move(request)));
    return RequestKey(next_key_ - 1);
  }

  // Plans and submits one step, and reads the oldest when `depth` are in flight or nothing was
  // planned. Returns the plan, perhaps empty.
  BatchPlan step(bool fail = false, int bad_sample = -1) {
    const BatchPlan plan = scheduler.schedule(++now_);
    keep(scheduler.take_events());
    check_budget(plan);
    if (!plan.empty()) {
      device.submit(plan, fail,
                    bad_sample < static_cast<int>(plan.samples.size()) ? bad_sample : -1);
      bool masked = false;
      for (const PlanSample& sample : plan.samples) masked |= sample.needs_mask;
      while (masked && in_flight > 0) read_oldest();
      device.sample(plan, scheduler.make_masks(plan));
      ++in_flight;
    }
    check();
    if (in_flight >= options.depth || (plan.empty() && in_flight > 0)) read_oldest();
    return plan;
  }

  void read_oldest() {
    --in_flight;
    keep(scheduler.commit(device.wait()));
    check();
  }

  // Steps until nothing is left, `limit` times at most.
  void finish_all(int limit = 1000) {
    while ((scheduler.has_unfinished() || in_flight > 0) && !::testing::Test::HasFatalFailure()) {
      ASSERT_GT(limit--, 0) << "requests do not end";
      step();
    }
    EXPECT_EQ(cache.stats().free_blocks, cache.stats().total_blocks) << "blocks leaked";
  }

  void check() {
    ASSERT_EQ(device.error(), "");
    ASSERT_EQ(scheduler.check_invariants(), "");
  }

  void check_budget(const BatchPlan& plan) {
    const SchedulerConfig& config = options.scheduler;
    const auto tokens = static_cast<int>(plan.tokens.size());
    const bool alone = !config.chunked_prefill && plan.rows.size() == 1;
    ASSERT_TRUE(tokens <= config.max_num_batched_tokens || alone)
        << "a step of " << tokens << " tokens";
    ASSERT_LE(static_cast<int>(plan.rows.size()), config.max_num_seqs);
    ASSERT_EQ(scheduler.stats().last_step_tokens, tokens);
    const int threshold = config.chunked_prefill ? config.long_prefill_token_threshold : 0;
    for (const PlanRow& row : plan.rows) ASSERT_TRUE(threshold == 0 || row.num_tokens <= threshold);
  }

  const RigOptions options;
  KvManager cache;
  Scheduler scheduler;
  ReplayDevice device;
  int in_flight = 0;
  std::vector<SequenceEvent> events;
  std::function<void(const SequenceEvent&)> on_event;

 private:
  void keep(const std::vector<SequenceEvent>& more) {
    for (const SequenceEvent& event : more) {
      events.push_back(event);
      if (on_event) on_event(event);
    }
  }

  int64_t next_key_ = 0;
  double now_ = 0;
  std::map<const std::vector<TokenId>*, std::string> salts_;
};

}  // namespace octavo
