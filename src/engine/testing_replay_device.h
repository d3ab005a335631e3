// ReplayDevice: the slow, suspicious device of the scheduler's tests. It replays plans in order on
// a model of the KV cache in which each position of each block holds a fingerprint of the whole
// token history (salt included) that was there when it was written. Every row reads all positions
// it can see through its block table and compares them with its own history, so a block that was
// shared, evicted, overwritten or freed wrongly shows at once. The token drawn is a function of
// that history alone: outputs must equal a run without any batching.
//
// A failed step, or a draw from bad logits, poisons its sequences; poison spreads to whoever reads
// it, and a poisoned sequence draws kPoisonToken, which no client may ever see.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "cache/kv_manager.h"
#include "engine/batch_plan.h"

namespace octavo {

constexpr TokenId kPoisonToken = -7;

// Fingerprint of an empty history, and of one with one token more.
uint64_t start_history(const std::string& salt);
uint64_t extend_history(uint64_t history, TokenId token);
// The token after `history`; among those the mask allows, if there is one.
TokenId draw_token(uint64_t history, uint64_t seed, int vocab_size,
                   const std::vector<uint32_t>* mask = nullptr);

class ReplayDevice {
 public:
  using SaltOf = std::function<std::string(const SlotSetup&)>;
  ReplayDevice(std::vector<CacheGroupSpec> groups, int block_size, int num_slots, int vocab_size,
               SaltOf salt_of);

  // The first half of a step. `fail`: it comes back with an error, having written garbage.
  // `bad_sample`: the index of a sample whose logits are not finite, or -1.
  void submit(const BatchPlan& plan, bool fail = false, int bad_sample = -1);
  // The second half of the newest step.
  void sample(const BatchPlan& plan, const StepMasks& masks);
  // The result of the oldest step not yet read.
  StepResult wait();

  // The first thing that was wrong with a plan; empty: nothing.
  const std::string& error() const { return error_; }

 private:
  struct Slot {
    SequenceId sequence;
    uint64_t seed = 0;
    std::vector<TokenId> tokens;
    std::vector<uint64_t> histories;  // [position]: fingerprint up to and including it
    bool poisoned = false;
  };
  struct Step {
    StepResult result;
    std::vector<SlotId> slots;
    int bad_sample = -1;
  };

  void set_up(const SlotSetup& setup);
  void append(Slot& slot, TokenId token);
  void check_row(const BatchPlan& plan, const PlanRow& row);
  void write_row(const BatchPlan& plan, int row_index);
  void read_row(const BatchPlan& plan, int row_index, int end);
  void draw(const BatchPlan& plan, int sample_index, const std::vector<uint32_t>* mask);
  void complain(const PlanRow& row, const std::string& what);

  const std::vector<CacheGroupSpec> groups_;
  const int block_size_;
  const int vocab_size_;
  const SaltOf salt_of_;
  std::vector<std::vector<uint64_t>> cache_;   // [group][block * block_size + offset]
  std::vector<std::vector<int64_t>> written_;  // the step that wrote it last
  std::vector<Slot> slots_;
  std::deque<Step> steps_;
  std::string error_;
};

}  // namespace octavo
