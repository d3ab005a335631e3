// The host's side: it knows of every slot how many tokens it has drawn, not which; so it can say
// which kernels a row needs. What those read is on the device.
#include "backend/cuda/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cuda/sampler_kernels.h"
#include "backend/cuda/sampler_memory.h"
#include "backend/cuda/sampler_pending.h"
#include "base/check.h"
#include "base/rounding.h"

namespace octavo::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kMaxBias = 100;

class FailedTokens final : public PendingTokens {
 public:
  explicit FailedTokens(Status why) : why_(std::move(why)) {}
  Status read(std::span<SampledToken>) override { return why_; }

 private:
  const Status why_;
};

bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1 || params.frequency_penalty != 0 ||
         params.presence_penalty != 0;
}

// The lists of a slot, one after the other in 32-bit words, to be copied to the device whole.
class ListBuilder {
 public:
  // Returns the offset, in words.
  template <typename T>
  size_t append(const std::vector<T>& values) {
    static_assert(sizeof(T) == 4);
    const size_t at = words_.size();
    words_.resize(at + values.size());
    if (!values.empty()) std::memcpy(words_.data() + at, values.data(), 4 * values.size());
    return at;
  }
  const std::vector<uint32_t>& words() const { return words_; }

 private:
  std::vector<uint32_t> words_;
};

class CudaSampler final : public Sampler {
 public:
  CudaSampler(const SamplerSpec& spec, const Launch& on, int max_tokens)
      : on_(on),
        vocab_(spec.vocab_size),
        max_tokens_(max_tokens),
        slots_(static_cast<size_t>(spec.num_slots)),
        rows_pool_(sizeof(float) * static_cast<size_t>(round_up(spec.vocab_size, 4))),
        history_pool_(sizeof(int32_t) * static_cast<size_t>(spec.max_model_len + 1)),
        staging_(on.stream) {
    constexpr int kUsualCalls = 4;
    const size_t usual =
        std::max<size_t>(4096, PendingResults::bytes_needed(spec.num_slots, spec.num_slots, 0));
    results_ = std::make_shared<ResultPool>(usual, kUsualCalls);
    const std::vector<SlotState> empty(slots_.size());
    const size_t bytes = sizeof(SlotState) * empty.size();
    if (!allocate(&states_, bytes) ||
        !allocate(&resolved_, sizeof(int32_t) * static_cast<size_t>(max_tokens))) {
      failure_ = no_memory();
      return;
    }
    // On the stream: a copy elsewhere may return before it is done, and overtake the first
    // set_slot.
    if (cudaMemcpyAsync(states_, empty.data(), bytes, cudaMemcpyHostToDevice, on.stream) !=
            cudaSuccess ||
        cudaStreamSynchronize(on.stream) != cudaSuccess) {
      failure_ = internal_error("CUDA: cannot write the sampler's state");
    }
  }

  ~CudaSampler() override {
    cudaStreamSynchronize(on_.stream);
    cudaFree(states_);
    cudaFree(resolved_);
    for (const Slot& slot : slots_) cudaFree(slot.lists);
    for (void* lists : outgrown_) cudaFree(lists);
  }

  void set_slot(const SlotSetup& setup) override {
    Slot& slot = slots_.at(static_cast<size_t>(setup.slot.value));
    const SamplingParams& params = *setup.params;
    slot.greedy = params.greedy();
    slot.drawn = static_cast<int>(setup.output.size());
    slot.min_tokens = setup.stop_ids.empty() ? 0 : params.min_tokens;

    SlotState state;
    state.seed = setup.seed;
    state.position = static_cast<uint32_t>(setup.output.size());
    const bool has_prompt = setup.prompt && !setup.prompt->empty();
    if (has_prompt) state.last_token = setup.prompt->back();
    if (!setup.output.empty()) state.last_token = setup.output.back();
    state.inverse_temperature = slot.greedy ? 1.0f : 1.0f / params.temperature;
    state.top_p = params.top_p;
    state.log_min_p = params.min_p > 0 ? std::log(params.min_p) : -kInfinity;
    state.top_k = params.top_k > 0 && params.top_k < vocab_ ? params.top_k : 0;
    lacks_memory_ = false;
    set_edits(setup, slot, state);
    slot.lacks_memory = lacks_memory_;
    store_slot(on_, state, states_ + setup.slot.value);
    staging_.release();
  }

  Tensor resolve_tokens(const Tensor& tokens) override {
    const int count = static_cast<int>(tokens.count());
    CHECK(count <= max_tokens_);
    resolve_last_tokens(on_, static_cast<const int32_t*>(tokens.data), count, states_, resolved_);
    return {resolved_, DType::kI32, tokens.shape, DeviceKind::kCuda};
  }

  std::unique_ptr<PendingTokens> sample(const Tensor& logits,
                                        std::span<const SampleRow> rows) override {
    auto pending =
        begin(rows, static_cast<int>(rows.size()), [&](size_t i) { return rows[i].num_logprobs; });
    if (!pending.tokens) return failed();
    for (const SampleRow& row : rows) {
      if (slots_.at(static_cast<size_t>(row.slot.value)).lacks_memory) out_of_memory();
    }
    const uint32_t* masks = stage_masks(rows);
    if (lacks_memory_) return failed();
    for (size_t i = 0; i < rows.size(); ++i) {
      const SampleRow& row = rows[i];
      Slot& slot = slots_.at(static_cast<size_t>(row.slot.value));
      const float* from = row_of(logits, row.logits_row);
      const float* edited = from;
      if (!row.mask.empty() || slot.edits || slot.bans()) {
        edited = edit(from, row, slot, row.mask.empty() ? nullptr : masks);
        masks += row.mask.size();
      }
      DrawRows& draws = slot.greedy ? greedy_ : sampled_;
      if (draws.count == kRowsPerLaunch) flush_draws(pending.results);
      draws.row[draws.count++] = {edited, row.slot.value, static_cast<int32_t>(i)};
      ++slot.drawn;
    }
    flush_draws(pending.results);
    staging_.release();
    if (pending.has_logprobs) {
      launch_logprobs(*pending.tokens, pending.memory, rows.size(), [&](size_t i) {
        return Wanted{row_of(logits, rows[i].logits_row), ~rows[i].slot.value};
      });
    }
    if (lacks_memory_) return failed();
    cudaEventRecord(pending.memory->written(), on_.stream);
    return std::move(pending.tokens);
  }

  std::unique_ptr<PendingTokens> prompt_logprobs(const Tensor& logits,
                                                 std::span<const PromptLogprobRow> rows) override {
    auto pending = begin(rows, 0, [&](size_t i) { return rows[i].num_logprobs; });
    if (!pending.tokens) return failed();
    for (const PromptLogprobRow& row : rows) pending.tokens->targets.push_back(row.target);
    if (pending.has_logprobs) {
      launch_logprobs(*pending.tokens, pending.memory, rows.size(), [&](size_t i) {
        const TokenId target = rows[i].target;
        return Wanted{row_of(logits, rows[i].logits_row), target < 0 ? vocab_ : target};
      });
    }
    cudaEventRecord(pending.memory->written(), on_.stream);
    return std::move(pending.tokens);
  }

 private:
  struct Slot {
    bool greedy = true;
    bool edits = false;  // in every step
    int drawn = 0;
    int min_tokens = 0;  // its stop ids are out before; 0 if it has none
    float* edited = nullptr;
    uint32_t* counts = nullptr;
    int32_t* history = nullptr;
    uint32_t* lists = nullptr;
    size_t lists_capacity = 0;  // words
    bool lacks_memory = false;  // for any of it: this request cannot be served

    bool bans() const { return drawn < min_tokens; }
  };

  // A call under way.
  struct Pending {
    std::unique_ptr<CudaPendingTokens> tokens;  // null: out of memory
    PendingResults* memory = nullptr;           // the tokens'
    DrawResults results;
    bool has_logprobs = false;
  };
  struct Wanted {
    const float* logits;
    int32_t token;  // as in LogprobRow
  };

  const float* row_of(const Tensor& logits, int row) const {
    DCHECK(logits.dtype == DType::kF32 && logits.dim(1) >= vocab_);
    DCHECK(row >= 0 && row < logits.dim(0));
    return static_cast<const float*>(logits.data) + row * logits.dim(1);
  }

  template <typename T>
  bool allocate(T** data, size_t bytes) {
    const cudaError_t error =
        cudaMalloc(reinterpret_cast<void**>(data), std::max<size_t>(bytes, 1));
    if (error == cudaSuccess) return true;
    *data = nullptr;
    note_error("sampler", error);
    out_of_memory();
    return false;
  }
  void out_of_memory() { lacks_memory_ = true; }
  static Status no_memory() {
    return resource_exhausted("CUDA: no device memory left to sample with");
  }
  std::unique_ptr<PendingTokens> failed() const {
    return std::make_unique<FailedTokens>(failure_.ok() ? no_memory() : failure_);
  }

  // Takes a block if it is needed and not there, gives it back if it is there and not needed.
  template <typename T>
  void provide(DevicePool& pool, bool needed, T*& block) {
    if (needed && !block) {
      block = static_cast<T*>(pool.take());
      if (!block) out_of_memory();
    } else if (!needed && block) {
      pool.give_back(block);
      block = nullptr;
    }
  }

  void set_edits(const SlotSetup& setup, Slot& slot, SlotState& state) {
    const SamplingParams& params = *setup.params;
    const bool penalties = has_penalties(params);
    slot.edits = params.allowed_token_ids || !setup.bad_words.empty() ||
                 !params.logit_bias.empty() || penalties;
    const bool long_words = std::any_of(setup.bad_words.begin(), setup.bad_words.end(),
                                        [](const auto& word) { return word.size() > 1; });
    if (!slot.edits && !slot.bans()) provide(rows_pool_, false, slot.edited);
    provide(rows_pool_, penalties, slot.counts);
    provide(history_pool_, long_words, slot.history);
    state.counts = slot.counts;
    state.history = slot.history;
    state.edits.repetition = params.repetition_penalty;
    state.edits.frequency = params.frequency_penalty;
    state.edits.presence = params.presence_penalty;
    if (slot.edits || slot.bans()) send_lists(setup, slot, state.edits);
    if (slot.counts || slot.history) send_tokens(setup, slot);
  }

  void send_lists(const SlotSetup& setup, Slot& slot, EditLists& edits) {
    const SamplingParams& params = *setup.params;
    ListBuilder lists;
    std::vector<uint32_t> allowed;
    if (params.allowed_token_ids) {
      allowed.resize(static_cast<size_t>(divide_up(vocab_, 32)));
      for (const TokenId token : *params.allowed_token_ids) {
        if (token >= 0 && token < vocab_) allowed[token / 32] |= 1u << (token % 32);
      }
    }
    auto ordered = params.logit_bias;
    std::stable_sort(ordered.begin(), ordered.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<int32_t> biased;
    std::vector<float> bias;
    for (const auto& [token, value] : ordered) {
      biased.push_back(token);
      bias.push_back(std::clamp(value, -kMaxBias, kMaxBias));
    }
    std::vector<int32_t> words, word_end;
    for (const auto& word : setup.bad_words) {
      if (word.empty()) continue;
      words.insert(words.end(), word.begin(), word.end());
      word_end.push_back(static_cast<int32_t>(words.size()));
    }
    const size_t allowed_at = lists.append(allowed), banned_at = lists.append(setup.stop_ids),
                 biased_at = lists.append(biased), bias_at = lists.append(bias),
                 words_at = lists.append(words), ends_at = lists.append(word_end);
    const uint32_t* on_device = upload(lists.words(), slot);
    if (!on_device) return;
    if (params.allowed_token_ids) edits.allowed = on_device + allowed_at;
    edits.banned = reinterpret_cast<const int32_t*>(on_device + banned_at);
    edits.biased = reinterpret_cast<const int32_t*>(on_device + biased_at);
    edits.bias = reinterpret_cast<const float*>(on_device + bias_at);
    edits.words = reinterpret_cast<const int32_t*>(on_device + words_at);
    edits.word_end = reinterpret_cast<const int32_t*>(on_device + ends_at);
    edits.num_banned = static_cast<int32_t>(setup.stop_ids.size());
    edits.num_biased = static_cast<int32_t>(biased.size());
    edits.num_words = static_cast<int32_t>(word_end.size());
  }

  // Copies `words` into the slot's own device memory. Null if there is no memory, or no words.
  const uint32_t* upload(const std::vector<uint32_t>& words, Slot& slot) {
    if (words.empty()) return nullptr;
    if (words.size() > slot.lists_capacity) {
      // Kernels that read the old lists may still be in flight.
      if (slot.lists) outgrown_.push_back(slot.lists);
      slot.lists_capacity = 0;
      const size_t capacity = std::max<size_t>(1024, 2 * words.size());
      if (!allocate(&slot.lists, 4 * capacity)) return nullptr;
      slot.lists_capacity = capacity;
    }
    const size_t bytes = 4 * words.size();
    std::byte* staged = take_staging(bytes);
    if (!staged) return nullptr;
    std::memcpy(staged, words.data(), bytes);
    const cudaError_t error =
        cudaMemcpyAsync(slot.lists, staged, bytes, cudaMemcpyHostToDevice, on_.stream);
    if (error != cudaSuccess) note_error("sampler lists", error);
    return slot.lists;
  }

  void send_tokens(const SlotSetup& setup, const Slot& slot) {
    if (slot.counts) {
      const cudaError_t error =
          cudaMemsetAsync(slot.counts, 0, rows_pool_.block_bytes(), on_.stream);
      if (error != cudaSuccess) note_error("sampler counts", error);
    }
    const size_t prompt = slot.counts && setup.prompt ? setup.prompt->size() : 0,
                 output = setup.output.size();
    if (prompt + output == 0) return;
    auto* staged = reinterpret_cast<int32_t*>(take_staging(4 * (prompt + output)));
    if (!staged) return;
    if (prompt > 0) std::copy(setup.prompt->begin(), setup.prompt->end(), staged);
    std::copy(setup.output.begin(), setup.output.end(), staged + prompt);
    record_tokens(on_, staged, static_cast<int>(prompt), staged + prompt, static_cast<int>(output),
                  vocab_, slot.counts, slot.history);
  }

  std::byte* take_staging(size_t bytes) {
    std::byte* staged = staging_.take(bytes);
    if (!staged) out_of_memory();
    return staged;
  }

  // All masks one after the other, in the order of the rows.
  const uint32_t* stage_masks(std::span<const SampleRow> rows) {
    size_t words = 0;
    for (const SampleRow& row : rows) words += row.mask.size();
    if (words == 0) return nullptr;
    auto* staged = reinterpret_cast<uint32_t*>(take_staging(4 * words));
    uint32_t* next = staged;
    for (const SampleRow& row : rows) {
      if (next) next = std::copy(row.mask.begin(), row.mask.end(), next);
    }
    return staged;
  }

  const float* edit(const float* logits, const SampleRow& row, Slot& slot, const uint32_t* mask) {
    provide(rows_pool_, true, slot.edited);
    if (!slot.edited) return logits;
    if (edits_.count == kEditRowsPerLaunch) flush_edits();
    edits_.row[edits_.count++] = {.logits = logits,
                                  .edited = slot.edited,
                                  .mask = mask,
                                  .mask_words = static_cast<int32_t>(row.mask.size()),
                                  .slot = row.slot.value,
                                  .ban = slot.bans()};
    return slot.edited;
  }

  void flush_edits() {
    if (edits_.count > 0) edit_logits(on_, edits_, vocab_, states_);
    edits_.count = 0;
  }

  void flush_draws(const DrawResults& results) {
    flush_edits();
    if (greedy_.count > 0) draw_greedy(on_, greedy_, vocab_, states_, results);
    if (sampled_.count > 0) draw_sampled(on_, sampled_, vocab_, states_, results);
    greedy_.count = sampled_.count = 0;
  }

  template <typename Row, typename NumLogprobs>
  Pending begin(std::span<const Row> rows, int num_words, NumLogprobs&& num_logprobs) {
    Pending pending;
    lacks_memory_ = false;
    if (!failure_.ok()) return pending;
    std::vector<PendingLogprobs> logprobs;
    int asked = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      const int num_top = std::min(num_logprobs(i), vocab_);
      if (num_top < 0) continue;
      if (logprobs.empty()) logprobs.resize(rows.size());
      logprobs[i] = {num_top, asked++, bytes};
      bytes += list_bytes(num_top, vocab_);
    }
    auto memory = results_->take(PendingResults::bytes_needed(num_words, asked, bytes));
    if (!memory) {
      out_of_memory();
      return pending;
    }
    if (++call_ == 0) ++call_;
    memory->begin(call_, num_words, asked);
    pending.memory = memory.get();
    pending.results = {memory->words(), call_};
    pending.has_logprobs = asked > 0;
    pending.tokens =
        std::make_unique<CudaPendingTokens>(results_, std::move(memory), vocab_, rows.size());
    pending.tokens->logprobs = std::move(logprobs);
    return pending;
  }

  template <typename WantedOf>
  void launch_logprobs(const CudaPendingTokens& tokens, const PendingResults* memory,
                       size_t num_rows, WantedOf&& wanted_of) {
    for (size_t i = 0; i < num_rows; ++i) {
      const PendingLogprobs& asked = tokens.logprobs[i];
      if (asked.num_top < 0) continue;
      const Wanted wanted = wanted_of(i);
      if (logprobs_.count == kLogprobRowsPerLaunch) flush_logprobs();
      logprobs_.row[logprobs_.count++] = {.logits = wanted.logits,
                                          .token = wanted.token,
                                          .num_top = asked.num_top,
                                          .result = memory->logprobs() + asked.index,
                                          .top = memory->lists() + asked.list};
    }
    flush_logprobs();
  }

  void flush_logprobs() {
    if (logprobs_.count > 0) find_logprobs(on_, logprobs_, vocab_, states_, call_);
    logprobs_.count = 0;
  }

  const Launch on_;
  const int vocab_, max_tokens_;
  std::vector<Slot> slots_;
  DevicePool rows_pool_, history_pool_;
  StagingPool staging_;
  std::shared_ptr<ResultPool> results_;
  SlotState* states_ = nullptr;
  int32_t* resolved_ = nullptr;
  std::vector<void*> outgrown_;
  uint32_t call_ = 0;
  Status failure_;             // of the constructor: every call fails
  bool lacks_memory_ = false;  // in this call: it fails, and no other

  // Filled anew by every call; here because they are large.
  DrawRows greedy_, sampled_;
  EditRows edits_;
  LogprobRows logprobs_;
};

}  // namespace

std::unique_ptr<Sampler> make_cuda_sampler(const SamplerSpec& spec, const Launch& on,
                                           int max_tokens) {
  return std::make_unique<CudaSampler>(spec, on, max_tokens);
}

}  // namespace octavo::cuda
