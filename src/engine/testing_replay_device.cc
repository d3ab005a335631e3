#include "engine/testing_replay_device.h"

#include <algorithm>

#include "base/rounding.h"

namespace octavo {

namespace {

constexpr uint64_t kPoison = 1;

}  // namespace

uint64_t extend_history(uint64_t history, TokenId token) {
  uint64_t h = (history ^ static_cast<uint32_t>(token)) * 0xD6E8FEB86659FD93ull;
  h = (h ^ (h >> 32)) * 0xD6E8FEB86659FD93ull;
  return (h ^ (h >> 32)) | 2;  // neither 0 (never written) nor kPoison
}

uint64_t start_history(const std::string& salt) {
  uint64_t history = 2;
  for (const char c : salt) history = extend_history(history, c);
  return history;
}

TokenId draw_token(uint64_t history, uint64_t seed, int vocab_size,
                   const std::vector<uint32_t>* mask) {
  const uint64_t number = extend_history(history ^ seed, 0) >> 8;
  auto token = static_cast<TokenId>(number % static_cast<uint64_t>(vocab_size));
  for (int tries = 0; mask && tries < vocab_size; ++tries) {
    if ((*mask)[token / 32] >> (token % 32) & 1) break;
    token = (token + 1) % vocab_size;
  }
  return token;
}

ReplayDevice::ReplayDevice(std::vector<CacheGroupSpec> groups, int block_size, int num_slots,
                           int vocab_size, SaltOf salt_of)
    : groups_(std::move(groups)),
      block_size_(block_size),
      vocab_size_(vocab_size),
      salt_of_(std::move(salt_of)),
      slots_(num_slots) {
  for (const CacheGroupSpec& group : groups_) {
    cache_.emplace_back(static_cast<size_t>(group.num_blocks) * block_size, 0);
    written_.emplace_back(static_cast<size_t>(group.num_blocks) * block_size, -1);
  }
}

void ReplayDevice::complain(const PlanRow& row, const std::string& what) {
  if (!error_.empty()) return;
  error_ = "sequence " + std::to_string(row.sequence.value) + ", positions " +
           std::to_string(row.start) + " + " + std::to_string(row.num_tokens) + ": " + what;
}

void ReplayDevice::append(Slot& slot, TokenId token) {
  slot.tokens.push_back(token);
  slot.histories.push_back(extend_history(slot.histories.back(), token));
}

void ReplayDevice::set_up(const SlotSetup& setup) {
  for (const Step& step : steps_) {
    const bool busy =
        std::find(step.slots.begin(), step.slots.end(), setup.slot) != step.slots.end();
    if (busy && error_.empty()) error_ = "a slot changes hands while a step in flight mentions it";
  }
  Slot& slot = slots_[setup.slot.value];
  slot = Slot();
  slot.seed = setup.seed;
  slot.histories.push_back(start_history(salt_of_(setup)));
  for (const TokenId token : *setup.prompt) append(slot, token);
  for (const TokenId token : setup.output) append(slot, token);
  slot.histories.erase(slot.histories.begin());
}

void ReplayDevice::check_row(const BatchPlan& plan, const PlanRow& row) {
  Slot& slot = slots_[row.slot.value];
  if (!slot.sequence.valid()) slot.sequence = row.sequence;
  if (slot.sequence != row.sequence) complain(row, "its slot was not set up for it");
  if (row.num_tokens <= 0) complain(row, "empty row");
  const auto length = static_cast<int>(slot.tokens.size());
  if (row.start + row.num_tokens > length) return complain(row, "runs beyond its tokens");
  for (int i = 0; i < row.num_tokens; ++i) {
    const TokenId token = plan.tokens[row.token_begin + i];
    const int position = row.start + i;
    if (token >= 0 && token != slot.tokens[position]) complain(row, "another sequence's token");
    if (token < 0 && (token != -1 - row.slot.value || position + 1 != length))
      complain(row, "a bad placeholder");
  }
}

void ReplayDevice::write_row(const BatchPlan& plan, int row_index) {
  const PlanRow& row = plan.rows[row_index];
  const Slot& slot = slots_[row.slot.value];
  for (size_t g = 0; g < groups_.size(); ++g) {
    const PlanBlockTable& table = plan.tables[g];
    const int begin = table.begin[row_index], end = table.begin[row_index + 1];
    const int need = divide_up(row.start + row.num_tokens, block_size_);
    if (end - begin != need) return complain(row, "its block table has the wrong length");
    for (int p = row.start; p < row.start + row.num_tokens; ++p) {
      const int block = table.blocks[begin + p / block_size_];
      if (block < 0 || block >= groups_[g].num_blocks) return complain(row, "writes to no block");
      const size_t at = static_cast<size_t>(block) * block_size_ + p % block_size_;
      if (written_[g][at] == plan.step.value)
        complain(row, "writes where another row of the step writes");
      written_[g][at] = plan.step.value;
      cache_[g][at] = slot.poisoned ? kPoison : slot.histories[p];
    }
  }
}

void ReplayDevice::read_row(const BatchPlan& plan, int row_index, int end) {
  const PlanRow& row = plan.rows[row_index];
  Slot& slot = slots_[row.slot.value];
  for (size_t g = 0; g < groups_.size() && !slot.poisoned; ++g) {
    const PlanBlockTable& table = plan.tables[g];
    const int window = groups_[g].window;
    for (int p = window == 0 ? 0 : std::max(0, row.start - window + 1); p < end; ++p) {
      const int block = table.blocks[table.begin[row_index] + p / block_size_];
      if (block < 0) return complain(row, "a block that it can see was given back");
      const uint64_t found = cache_[g][static_cast<size_t>(block) * block_size_ + p % block_size_];
      if (found == kPoison) {
        slot.poisoned = true;
        break;
      }
      if (found != slot.histories[p]) {
        return complain(row, "position " + std::to_string(p) + " of group " + std::to_string(g) +
                                 (found == 0 ? " was never written" : " holds something else"));
      }
    }
  }
}

void ReplayDevice::draw(const BatchPlan& plan, int sample_index,
                        const std::vector<uint32_t>* mask) {
  const PlanRow& row = plan.rows[plan.samples[sample_index].row];
  Slot& slot = slots_[row.slot.value];
  Step& step = steps_.back();
  if (row.start + row.num_tokens != static_cast<int>(slot.tokens.size()))
    complain(row, "draws before its end");
  if (sample_index == step.bad_sample) {
    slot.poisoned = true;
    step.result.samples[sample_index].invalid_logits = true;
  }
  const TokenId token = slot.poisoned
                            ? kPoisonToken
                            : draw_token(slot.histories.back(), slot.seed, vocab_size_, mask);
  step.result.samples[sample_index].token = token;
  append(slot, token);
}

void ReplayDevice::submit(const BatchPlan& plan, bool fail, int bad_sample) {
  for (const SlotSetup& setup : plan.setups) set_up(setup);
  Step& step = steps_.emplace_back();
  step.result.step = plan.step;
  step.bad_sample = bad_sample;
  if (fail) step.result.status = internal_error("the device was lost");
  for (const PlanRow& row : plan.rows) {
    if (std::find(step.slots.begin(), step.slots.end(), row.slot) != step.slots.end()) {
      complain(row, "two rows of one step share a slot");
    }
    step.slots.push_back(row.slot);
    check_row(plan, row);
    if (fail) slots_[row.slot.value].poisoned = true;
  }
  if (!error_.empty()) return;
  const auto rows = static_cast<int>(plan.rows.size());
  for (int r = 0; r < rows; ++r) read_row(plan, r, plan.rows[r].start);
  for (int r = 0; r < rows; ++r) write_row(plan, r);
  for (int r = 0; r < rows; ++r) read_row(plan, r, plan.rows[r].start + plan.rows[r].num_tokens);
  for (const PlanPromptLogprob& p : plan.prompt_logprobs) {
    const PlanRow& row = plan.rows[p.row];
    const Slot& slot = slots_[row.slot.value];
    const int position = row.start + p.token - row.token_begin;
    if (p.token < row.token_begin || p.token >= row.token_begin + row.num_tokens ||
        slot.tokens[position + 1] != p.target) {
      complain(row, "a prompt log-probability of another token");
    }
    SampledToken value;
    value.token = p.target;
    value.rank = slot.poisoned ? -1 : position + 1;
    step.result.prompt_logprobs.push_back(value);
  }
  step.result.samples.resize(plan.samples.size());
  for (size_t i = 0; i < plan.samples.size(); ++i) {
    if (!plan.samples[i].needs_mask) draw(plan, static_cast<int>(i), nullptr);
  }
}

void ReplayDevice::sample(const BatchPlan& plan, const StepMasks& masks) {
  if (!error_.empty()) return;
  size_t next = 0;
  for (size_t i = 0; i < plan.samples.size(); ++i) {
    if (!plan.samples[i].needs_mask) continue;
    if (next == masks.masks.size())
      return complain(plan.rows[plan.samples[i].row], "its mask is missing");
    draw(plan, static_cast<int>(i), &masks.masks[next++]);
  }
}

StepResult ReplayDevice::wait() {
  StepResult result = std::move(steps_.front().result);
  steps_.pop_front();
  if (!result.status.ok()) {
    result.samples.clear();
    result.prompt_logprobs.clear();
  }
  return result;
}

}  // namespace octavo
