// The state rows, the edits that a request asks for (masks, bad words, bias, penalties), and the
// spreading of rows over the pool. What follows on the edited row is in sampler_row.cc.
#include "backend/cpu/sampler.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "backend/cpu/sampler_row.h"
#include "base/check.h"

namespace octavo::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kMaxBias = 100;

// A token that the penalties concern.
struct SeenToken {
  TokenId token = 0;
  int outputs = 0;  // times it was drawn; 0: it is in the prompt only
};

// One sequence's state row.
struct SlotState {
  std::shared_ptr<const SamplingParams> params;
  std::vector<std::vector<TokenId>> bad_words;
  std::vector<TokenId> stop_ids;
  uint64_t seed = 0;
  TokenId last_token = 0;
  std::vector<TokenId> output;
  // Only kept with penalties.
  std::vector<SeenToken> seen;
  std::unordered_map<TokenId, size_t> seen_index;

  bool has_penalties() const {
    return params->repetition_penalty != 1 || params->frequency_penalty != 0 ||
           params->presence_penalty != 0;
  }
  bool bans_stop_ids() const {
    return !stop_ids.empty() && static_cast<int>(output.size()) < params->min_tokens;
  }
  bool edits_logits() const {
    return params->allowed_token_ids || !bad_words.empty() || bans_stop_ids() ||
           !params->logit_bias.empty() || has_penalties();
  }

  void see(TokenId token, int times_drawn) {
    const auto [entry, added] = seen_index.try_emplace(token, seen.size());
    if (added) seen.push_back({token, 0});
    seen[entry->second].outputs += times_drawn;
  }
  void append(TokenId token) {
    last_token = token;
    output.push_back(token);
    if (has_penalties()) see(token, 1);
  }
};

bool in_vocabulary(TokenId token, int size) {
  return token >= 0 && token < size;
}

// out = the row with everything not allowed at -inf.
void copy_allowed(const SamplerKernels& kernels, const SampleRow& row, const SlotState& slot,
                  const float* x, int size, float* out) {
  if (row.mask.empty()) {
    std::memcpy(out, x, static_cast<size_t>(size) * sizeof(float));
  } else {
    const int covered = static_cast<int>(std::min<size_t>(size, row.mask.size() * 32));
    kernels.mask(x, row.mask.data(), covered, out);
    std::fill(out + covered, out + size, -kInfinity);
  }
  if (slot.params->allowed_token_ids) {
    std::vector<std::pair<TokenId, float>> kept;
    for (const TokenId token : *slot.params->allowed_token_ids) {
      if (in_vocabulary(token, size)) kept.emplace_back(token, out[token]);
    }
    std::fill(out, out + size, -kInfinity);
    for (const auto& [token, value] : kept) out[token] = value;
  }
}

// The last token of a bad word is out where the output ends with the tokens before it.
void ban_words(const SlotState& slot, int size, float* x) {
  for (const std::vector<TokenId>& word : slot.bad_words) {
    if (word.empty() || !in_vocabulary(word.back(), size)) continue;
    const size_t prefix = word.size() - 1;
    if (prefix > slot.output.size()) continue;
    if (std::equal(word.begin(), word.end() - 1,
                   slot.output.end() - static_cast<std::ptrdiff_t>(prefix))) {
      x[word.back()] = -kInfinity;
    }
  }
}

void apply_penalties(const SlotState& slot, int size, float* x) {
  const SamplingParams& params = *slot.params;
  for (const SeenToken& seen : slot.seen) {
    if (!in_vocabulary(seen.token, size)) continue;
    float value = x[seen.token];
    value = value > 0 ? value / params.repetition_penalty : value * params.repetition_penalty;
    if (seen.outputs > 0) {
      value -= params.frequency_penalty * static_cast<float>(seen.outputs);
      value -= params.presence_penalty;
    }
    x[seen.token] = value;
  }
}

void edit_logits(const SamplerKernels& kernels, const SampleRow& row, const SlotState& slot,
                 const float* x, int size, float* out) {
  copy_allowed(kernels, row, slot, x, size, out);
  ban_words(slot, size, out);
  if (slot.bans_stop_ids()) {
    for (const TokenId token : slot.stop_ids) {
      if (in_vocabulary(token, size)) out[token] = -kInfinity;
    }
  }
  for (const auto& [token, bias] : slot.params->logit_bias) {
    if (in_vocabulary(token, size)) out[token] += std::clamp(bias, -kMaxBias, kMaxBias);
  }
  if (slot.has_penalties()) apply_penalties(slot, size, out);
}

const SamplerKernels& kernels_of(Isa isa) {
  switch (vector_isa(isa)) {
    case Isa::kAvx2:
      return avx2::kSamplerKernels;
    case Isa::kAvx512:
      return avx512::kSamplerKernels;
    default:
      return portable::kSamplerKernels;
  }
}

// On the CPU a call returns when its tokens are drawn.
class DrawnTokens final : public PendingTokens {
 public:
  explicit DrawnTokens(std::vector<SampledToken> tokens) : tokens_(std::move(tokens)) {}
  Status read(std::span<SampledToken> results) override {
    CHECK(results.size() == tokens_.size());
    std::move(tokens_.begin(), tokens_.end(), results.begin());
    return ok_status();
  }

 private:
  std::vector<SampledToken> tokens_;
};

class CpuSampler final : public Sampler {
 public:
  CpuSampler(Isa isa, ThreadPool& pool, const SamplerSpec& spec)
      : kernels_(kernels_of(isa)),
        pool_(pool),
        vocab_size_(spec.vocab_size),
        slots_(spec.num_slots),
        scratch_(pool.size()) {}

  void set_slot(const SlotSetup& setup) override {
    SlotState& slot = slots_.at(setup.slot.value);
    slot = SlotState{};
    slot.params = setup.params;
    slot.bad_words = setup.bad_words;
    slot.stop_ids = setup.stop_ids;
    slot.seed = setup.seed;
    const bool has_prompt = setup.prompt && !setup.prompt->empty();
    if (has_prompt) slot.last_token = setup.prompt->back();
    if (has_prompt && slot.has_penalties()) {
      for (const TokenId token : *setup.prompt) slot.see(token, 0);
    }
    for (const TokenId token : setup.output) slot.append(token);
  }

  Tensor resolve_tokens(const Tensor& tokens) override {
    const int32_t* from = tokens.as<int32_t>();
    resolved_.resize(static_cast<size_t>(tokens.count()));
    for (size_t i = 0; i < resolved_.size(); ++i) {
      resolved_[i] = from[i] < 0 ? slots_.at(~from[i]).last_token : from[i];
    }
    return {resolved_.data(), DType::kI32, tokens.shape};
  }

  std::unique_ptr<PendingTokens> sample(const Tensor& logits,
                                        std::span<const SampleRow> rows) override {
    std::vector<SampledToken> results(rows.size());
    for_each_row(rows.size(), [&](size_t i, RowScratch& scratch) {
      results[i] = sample_row(row_of(logits, rows[i].logits_row), rows[i], scratch);
    });
    return std::make_unique<DrawnTokens>(std::move(results));
  }

  std::unique_ptr<PendingTokens> prompt_logprobs(const Tensor& logits,
                                                 std::span<const PromptLogprobRow> rows) override {
    std::vector<SampledToken> results(rows.size());
    for_each_row(rows.size(), [&](size_t i, RowScratch& scratch) {
      SampledToken result;
      result.token = rows[i].target;
      add_logprobs(row_of(logits, rows[i].logits_row), rows[i].num_logprobs, scratch, result);
      results[i] = std::move(result);
    });
    return std::make_unique<DrawnTokens>(std::move(results));
  }

 private:
  const float* row_of(const Tensor& logits, int row) const {
    DCHECK(logits.dtype == DType::kF32 && logits.dim(1) >= vocab_size_);
    DCHECK(row >= 0 && row < logits.dim(0));
    return logits.as<float>() + row * logits.dim(1);
  }

  template <typename F>
  void for_each_row(size_t rows, F&& fn) {
    if (rows <= 1) {
      if (rows == 1) fn(0, scratch_[0]);
      return;
    }
    std::atomic<size_t> next{0};
    pool_.run([&](int thread) {
      for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < rows;)
        fn(i, scratch_[thread]);
    });
  }

  void add_logprobs(const float* x, int num_logprobs, RowScratch& scratch,
                    SampledToken& result) const {
    TokenLogprobs found =
        token_logprobs(kernels_, x, vocab_size_, result.token, num_logprobs, scratch);
    result.invalid_logits = result.invalid_logits || !found.valid;
    result.logprob = found.logprob;
    result.rank = found.rank;
    result.top = std::move(found.top);
  }

  SampledToken sample_row(const float* x, const SampleRow& row, RowScratch& scratch) {
    SlotState& slot = slots_.at(row.slot.value);
    const float* edited = x;
    if (!row.mask.empty() || slot.edits_logits()) {
      scratch.edited.resize(vocab_size_);
      edit_logits(kernels_, row, slot, x, vocab_size_, scratch.edited.data());
      edited = scratch.edited.data();
    }
    const Choice choice =
        choose_token(kernels_, *slot.params, slot.seed, static_cast<int>(slot.output.size()),
                     edited, vocab_size_, scratch);
    SampledToken result;
    // The request has failed; an id that later steps can embed keeps the batch running until it is
    // removed.
    result.token = choice.valid ? choice.token : 0;
    result.invalid_logits = !choice.valid;
    if (row.num_logprobs >= 0) add_logprobs(x, row.num_logprobs, scratch, result);
    slot.append(result.token);
    return result;
  }

  const SamplerKernels& kernels_;
  ThreadPool& pool_;
  const int vocab_size_;
  std::vector<SlotState> slots_;
  std::vector<RowScratch> scratch_;  // one a thread
  std::vector<int32_t> resolved_;
};

}  // namespace

std::unique_ptr<Sampler> make_cpu_sampler(Isa isa, ThreadPool& pool, const SamplerSpec& spec) {
  return std::make_unique<CpuSampler>(isa, pool, spec);
}

}  // namespace octavo::cpu
