#include "engine/model_runner.h"

#include <algorithm>
#include <cstdio>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/shared_prefixes.h"

namespace octavo {
namespace {

// A step that a device may record and replay: one token a row, each drawn from, nothing else.
bool is_decode_step(const BatchPlan& plan) {
  return plan.tokens.size() == plan.rows.size() && plan.samples.size() == plan.rows.size() &&
         plan.prompt_logprobs.empty();
}

constexpr int kMostCacheGroups = 16;

// What the ops of such a step depend on, but for staged memory. `sharing_groups` has a bit for each
// cache group.
uint64_t key_of(int rows, uint64_t sharing_groups) {
  return static_cast<uint64_t>(rows) << kMostCacheGroups | sharing_groups;
}

int count_decode_rows(const BatchPlan& plan) {
  const auto first = std::find_if(plan.rows.begin(), plan.rows.end(),
                                  [](const PlanRow& row) { return row.num_tokens > 1; });
  return static_cast<int>(first - plan.rows.begin());
}

}  // namespace

ModelRunner::ModelRunner(Backend& backend, Model& model, const std::vector<KvCacheSpec>& caches,
                         DType activation, const SamplerSpec& sampler)
    : backend_(backend),
      model_(model),
      sampler_(backend.make_sampler(sampler)),
      activation_(activation),
      max_rows_(sampler.num_slots) {
  CHECK(caches.size() <= kMostCacheGroups);
  for (const KvCacheSpec& spec : caches) caches_.push_back(backend.make_kv_cache(spec));
}

Tensor ModelRunner::stage(const std::vector<int32_t>& values) {
  const Backend::Staged staged = backend_.stage(DType::kI32, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), staged.host.as<int32_t>());
  return staged.device;
}

// What all cache groups share, filled up to `rows` rows and `tokens` tokens.
void ModelRunner::build_rows(const BatchPlan& plan, int rows, int tokens) {
  const auto size = static_cast<size_t>(tokens);
  std::vector<int32_t> ids(plan.tokens.begin(), plan.tokens.end());
  std::vector<int32_t> positions(size, 0), row_begin{0}, kv_len;
  AttentionBatch shared;
  for (const PlanRow& row : plan.rows) {
    const int end = row.start + row.num_tokens;
    for (int i = 0; i < row.num_tokens; ++i) positions[row.token_begin + i] = row.start + i;
    row_begin.push_back(row.token_begin + row.num_tokens);
    kv_len.push_back(end);
    shared.max_query_len = std::max(shared.max_query_len, row.num_tokens);
    shared.max_kv_len = std::max(shared.max_kv_len, end);
    shared.kv_tokens += end;
    shared.scores += int64_t{row.num_tokens} * (row.start + end + 1) / 2;
  }
  ids.resize(size, 0);
  while (static_cast<int>(kv_len.size()) < rows) {
    row_begin.push_back(row_begin.back() + 1);
    kv_len.push_back(0);
  }
  const auto filled = static_cast<int>(plan.rows.size());
  shared.num_rows = rows;
  shared.num_decode_rows = rows > filled ? rows : count_decode_rows(plan);
  shared.num_tokens = tokens;
  staged_tokens_ = stage(ids);
  batch_.positions = shared.positions = stage(positions);
  shared.row_begin = stage(row_begin);
  shared.kv_len = stage(kv_len);
  batch_.groups.assign(caches_.size(), shared);
}

// Slots and block tables. The blocks of all cache groups are one array, the last of the staged
// memory: theirs is the only size that changes between steps of the same key, and no address may.
void ModelRunner::build_tables(const BatchPlan& plan, int rows, int tokens) {
  int32_t num_blocks = 0;
  for (size_t g = 0; g < caches_.size(); ++g) {
    const PlanBlockTable& table = plan.tables[g];
    const int block_size = caches_[g]->spec().block_size;
    const Backend::Staged slots = backend_.stage(DType::kI64, {tokens});
    auto* slot = slots.host.as<int64_t>();
    for (size_t r = 0; r < plan.rows.size(); ++r) {
      const PlanRow& row = plan.rows[r];
      const int32_t* own = table.blocks.data() + table.begin[r];
      for (int i = 0; i < row.num_tokens; ++i) {
        const int position = row.start + i;
        *slot++ = int64_t{own[position / block_size]} * block_size + position % block_size;
      }
    }
    std::fill(slot, slots.host.as<int64_t>() + tokens, -1);
    batch_.groups[g].slot_mapping = slots.device;
    std::vector<int32_t> begin = table.begin;
    for (int32_t& block : begin) block += num_blocks;
    begin.resize(static_cast<size_t>(rows) + 1, begin.back());
    batch_.groups[g].block_begin = stage(begin);
    if (batch_.narrows()) {
      std::vector<int32_t> wanted;
      for (const PlanSample& sample : plan.samples)
        wanted.push_back(begin[static_cast<size_t>(sample.row)]);
      wanted.push_back(begin.back());
      batch_.wanted_groups[g].block_begin = stage(wanted);
    }
    num_blocks += static_cast<int32_t>(table.blocks.size());
  }
  const Backend::Staged blocks = backend_.stage(DType::kI32, {num_blocks});
  auto* to = blocks.host.as<int32_t>();
  for (const PlanBlockTable& table : plan.tables)
    to = std::copy(table.blocks.begin(), table.blocks.end(), to);
  for (AttentionBatch& group : batch_.groups) group.blocks = blocks.device;
  for (AttentionBatch& group : batch_.wanted_groups) group.blocks = blocks.device;
}

// The tokens that are drawn from, as rows of their own for the last layer.
void ModelRunner::build_wanted(const BatchPlan& plan) {
  std::vector<int32_t> row_begin{0}, kv_len, positions;
  AttentionBatch shared;
  for (const PlanSample& sample : plan.samples) {
    const PlanRow& row = plan.rows[sample.row];
    const int end = row.start + row.num_tokens;
    row_begin.push_back(static_cast<int32_t>(row_begin.size()));
    kv_len.push_back(end);
    positions.push_back(end - 1);
    shared.max_kv_len = std::max(shared.max_kv_len, end);
    shared.kv_tokens += end;
  }
  shared.num_rows = shared.num_decode_rows = shared.num_tokens = static_cast<int>(kv_len.size());
  shared.max_query_len = 1;
  shared.scores = shared.kv_tokens;
  shared.row_begin = stage(row_begin);
  shared.kv_len = stage(kv_len);
  shared.positions = stage(positions);
  batch_.wanted_groups.assign(caches_.size(), shared);
}

// Tells the backend which decode rows begin with the same blocks; false if that gains nothing.
bool ModelRunner::build_shared_prefixes(const BatchPlan& plan, size_t group, int rows) {
  const KvCacheSpec& spec = caches_[group]->spec();
  const int capacity = backend_.max_shared_prefixes();
  if (capacity == 0 || spec.window > 0) return false;
  const std::vector<SharedPrefix> found =
      find_shared_prefixes(plan, group, count_decode_rows(plan), spec.block_size, capacity);
  if (found.empty()) return false;
  std::vector<int32_t> lengths, begin{0}, members;
  for (const SharedPrefix& prefix : found) {
    lengths.push_back(prefix.tokens);
    members.insert(members.end(), prefix.rows.begin(), prefix.rows.end());
    begin.push_back(static_cast<int32_t>(members.size()));
  }
  lengths.resize(static_cast<size_t>(capacity), 0);
  begin.resize(static_cast<size_t>(capacity) + 1, begin.back());
  members.resize(static_cast<size_t>(rows), 0);
  batch_.groups[group].shared_prefixes = {.capacity = capacity,
                                          .num_groups = stage({static_cast<int32_t>(found.size())}),
                                          .prefix_len = stage(lengths),
                                          .member_begin = stage(begin),
                                          .members = stage(members)};
  return true;
}

// With padding up to `rows` rows, in decode steps only.
void ModelRunner::build_batch(const BatchPlan& plan, int rows) {
  batch_ = Batch();
  const int padding = rows - static_cast<int>(plan.rows.size());
  const int tokens = static_cast<int>(plan.tokens.size()) + padding;
  build_rows(plan, rows, tokens);

  // Logits of the sampled rows' last tokens first, then those of prompt positions that were asked
  // for.
  std::vector<int32_t> logit_rows;
  for (const PlanSample& sample : plan.samples) {
    const PlanRow& row = plan.rows[sample.row];
    logit_rows.push_back(row.token_begin + row.num_tokens - 1);
  }
  for (const PlanPromptLogprob& p : plan.prompt_logprobs) logit_rows.push_back(p.token);
  all_rows_drawn_ = is_decode_step(plan);
  for (size_t i = 0; i < logit_rows.size(); ++i) {
    all_rows_drawn_ = all_rows_drawn_ && logit_rows[i] == static_cast<int32_t>(i);
  }
  if (!all_rows_drawn_) batch_.logit_rows = stage(logit_rows);
  // Prompt logprobs want nearly all tokens, and attention by single tokens would read much twice.
  if (!all_rows_drawn_ && plan.prompt_logprobs.empty() &&
      backend_.narrows_last_layer(tokens, static_cast<int>(logit_rows.size())))
    build_wanted(plan);
  sharing_groups_ = 0;
  for (size_t g = 0; g < caches_.size(); ++g)
    sharing_groups_ |= uint64_t{build_shared_prefixes(plan, g, rows)} << g;
  build_tables(plan, rows, tokens);
  backend_.send_staged();
}

// Logits of the rows that are wanted; not defined if none are.
Tensor ModelRunner::run_model() {
  batch_.tokens = sampler_->resolve_tokens(staged_tokens_);
  ForwardContext ctx;
  ctx.backend = &backend_;
  ctx.batch = &batch_;
  ctx.activation = activation_;
  for (auto& cache : caches_) ctx.caches.push_back(cache.get());
  const Tensor hidden = model_.forward(ctx);
  if (all_rows_drawn_) return model_.logits(ctx, hidden);
  const int64_t wanted = batch_.logit_rows.dim(0);
  if (wanted == 0) return {};
  if (batch_.narrows()) return model_.logits(ctx, hidden);
  const StepTensor gathered = ctx.allocate({wanted, hidden.dim(1)});
  backend_.gather_rows({.x = hidden, .rows = batch_.logit_rows, .out = gathered});
  return model_.logits(ctx, gathered);
}

// The same of a step that the backend may record, or has recorded.
void ModelRunner::run_or_replay() {
  const auto rows = static_cast<int>(staged_tokens_.dim(0));
  const uint64_t key = key_of(rows, sharing_groups_);
  if (backend_.replay(key)) {
    logits_ = recorded_logits_.at(key);
    return;
  }
  const bool wanted = backend_.wants_recording(key);
  const double begin = steady_seconds();
  backend_.begin_recording(key);
  logits_ = recorded_logits_[key] = run_model();
  backend_.end_recording();
  if (wanted && !backend_.wants_recording(key) && log_enabled(LogLevel::kDebug)) {
    char text[64];
    std::snprintf(text, sizeof text, "recorded the step of %d rows in %.2f ms", rows,
                  1000 * (steady_seconds() - begin));
    log_debug("engine", text);
  }
}

bool ModelRunner::prepare() {
  int rows = 0;
  do {
    if (rows >= max_rows_) return false;
    rows = backend_.padded_rows(rows + 1);
  } while (!backend_.wants_recording(key_of(rows, 0)));

  BatchPlan empty;
  empty.tables.assign(caches_.size(), {.begin = {0}, .blocks = {}});
  backend_.begin_step();
  build_batch(empty, rows);
  run_or_replay();
  backend_.wait();
  const Status error = backend_.take_error();
  if (!error.ok()) log_warning("engine", "preparing decode steps: " + error.message());
  return error.ok();
}

void ModelRunner::forward(const BatchPlan& plan) {
  backend_.begin_step();
  for (const SlotSetup& setup : plan.setups) sampler_->set_slot(setup);
  const auto rows = static_cast<int>(plan.rows.size());
  build_batch(plan, is_decode_step(plan) ? backend_.padded_rows(rows) : rows);
  if (all_rows_drawn_) {
    run_or_replay();
  } else {
    logits_ = run_model();
  }

  pending_ = PendingStep();
  pending_.step = plan.step;
  pending_.num_samples = plan.samples.size();
  pending_.num_prompt_logprobs = plan.prompt_logprobs.size();
  if (!plan.prompt_logprobs.empty()) {
    std::vector<PromptLogprobRow> asked;
    for (size_t i = 0; i < plan.prompt_logprobs.size(); ++i) {
      const PlanPromptLogprob& p = plan.prompt_logprobs[i];
      asked.push_back({static_cast<int>(plan.samples.size() + i), p.target, p.num_logprobs});
    }
    pending_.prompt_logprobs = sampler_->prompt_logprobs(logits_, asked);
  }
  draw(plan, /*masked=*/false, {});
  note_launch_errors();
}

// They name the op; the step is known to who reads its result.
void ModelRunner::note_launch_errors() {
  const Status error = backend_.take_error();
  if (pending_.status.ok() && !error.ok()) pending_.status = error;
}

void ModelRunner::draw(const BatchPlan& plan, bool masked, const StepMasks& masks) {
  std::vector<SampleRow> rows;
  Draw draw;
  for (size_t i = 0; i < plan.samples.size(); ++i) {
    const PlanSample& sample = plan.samples[i];
    if (sample.needs_mask != masked) continue;
    SampleRow row{plan.rows[sample.row].slot, static_cast<int>(i), {}, sample.num_logprobs};
    if (masked && rows.size() < masks.masks.size()) row.mask = masks.masks[rows.size()];
    rows.push_back(row);
    draw.index.push_back(i);
  }
  if (rows.empty()) return;
  draw.tokens = sampler_->sample(logits_, rows);
  pending_.draws.push_back(std::move(draw));
}

void ModelRunner::finish(const BatchPlan& plan, const StepMasks& masks) {
  draw(plan, /*masked=*/true, masks);
  note_launch_errors();
  std::lock_guard lock(mutex_);
  finished_.push_back(std::move(pending_));
}

StepResult ModelRunner::collect() {
  PendingStep step;
  {
    std::lock_guard lock(mutex_);
    CHECK(!finished_.empty());
    step = std::move(finished_.front());
    finished_.pop_front();
  }
  StepResult result;
  result.step = step.step;
  result.samples.resize(step.num_samples);
  result.prompt_logprobs.resize(step.num_prompt_logprobs);
  // The first failure tells most, unless a later one says that the device is lost.
  const auto note = [&](const Status& status) {
    if (status.ok() || result.device_lost()) return;
    if (result.status.ok() || status.code() == StatusCode::kUnavailable) result.status = status;
  };
  note(step.status);
  for (Draw& draw : step.draws) {
    if (draw.index.size() == step.num_samples) {
      note(draw.tokens->read(result.samples));
      continue;
    }
    std::vector<SampledToken> drawn(draw.index.size());
    note(draw.tokens->read(drawn));
    for (size_t i = 0; i < drawn.size(); ++i) result.samples[draw.index[i]] = std::move(drawn[i]);
  }
  if (step.prompt_logprobs) note(step.prompt_logprobs->read(result.prompt_logprobs));
  return result;
}

}  // namespace octavo
