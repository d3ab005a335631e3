// Random requests, cancels, stop strings, failed steps and bad logits, on random engines with few
// blocks, small budgets and one to three steps in flight. What each sequence must say is computed
// beforehand without any batching; the rig's device checks every block that every row reads.
// OCTAVO_LONG_TESTS=1 runs 20 times as many.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <random>
#include <set>

#include "engine/testing_scheduler_rig.h"

namespace octavo {
namespace {

constexpr int kVocab = 40;

// The next token has the parity of the sum of those before.
class ParityMasker : public TokenMasker {
 public:
  void accept(TokenId token) override { sum_ += token; }
  void fill(std::span<uint32_t> mask) override {
    for (TokenId token = sum_ % 2; token < kVocab; token += 2)
      mask[token / 32] |= 1u << (token % 32);
  }

 private:
  TokenId sum_ = 0;
};

struct Expected {
  std::vector<TokenId> tokens;
  FinishReason finish = FinishReason::kNone;
  std::optional<TokenId> stop_token;
  size_t seen = 0;
  bool ended = false;    // an event said so
  bool dropped = false;  // cancelled: no event may follow
};

// What sequence `index` says when nothing else is in the world.
Expected run_alone(const Request& request, int index) {
  Expected out;
  uint64_t history = start_history(request.cache_salt);
  for (const TokenId token : *request.prompt) history = extend_history(history, token);
  const auto has = [](const std::vector<TokenId>& ids, TokenId id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  ParityMasker masker;
  while (out.finish == FinishReason::kNone) {
    std::vector<uint32_t> mask((kVocab + 31) / 32, 0);
    masker.fill(mask);
    const TokenId token =
        draw_token(history, request.seed + index, kVocab, request.make_masker ? &mask : nullptr);
    out.tokens.push_back(token);
    masker.accept(token);
    history = extend_history(history, token);
    const auto count = static_cast<int>(out.tokens.size());
    if (count >= request.params->min_tokens && has(request.eos_ids, token)) {
      out.finish = FinishReason::kStop;
    } else if (count >= request.params->min_tokens && has(request.params->stop_token_ids, token)) {
      out.finish = FinishReason::kStop;
      out.stop_token = token;
    } else if (count >= request.max_tokens) {
      out.finish = FinishReason::kLength;
    }
  }
  return out;
}

struct Tracked {
  Request request;
  std::vector<Expected> sequences;
  std::set<int> prompt_logprobs;  // positions delivered
  bool tainted = false;           // a failed step or bad logits touched it
  int added = 0;                  // step

  bool done() const {
    for (const Expected& s : sequences) {
      if (!s.ended && !s.dropped) return false;
    }
    return true;
  }
};

class RandomEngine {
 public:
  explicit RandomEngine(uint64_t seed) : rng_(seed), rig_(random_options()) {
    faults_ = pick(0, 2) == 0;
    masks_ = pick(0, 2) == 0;
    rig_.on_event = [this](const SequenceEvent& event) { take(event); };
  }

  void run(int steps) {
    for (now_ = 0; now_ < steps && !failed(); ++now_) {
      if (live_.size() < 12 && pick(0, 3) == 0) add();
      if (pick(0, 29) == 0) end_one();
      step();
    }
    for (; !live_.empty() && !failed(); ++now_) {
      ASSERT_LT(now_, steps + 20000) << "requests do not end";
      step();
    }
    if (failed()) return;
    rig_.finish_all();
    EXPECT_EQ(rig_.scheduler.stats().running + rig_.scheduler.stats().waiting, 0);
    EXPECT_FALSE(rig_.scheduler.has_unfinished());
    rig_.cache.reset_prefix_cache();
    EXPECT_EQ(rig_.cache.stats().cached_blocks, 0);
  }

  int64_t preemptions() const { return rig_.scheduler.stats().preemptions; }
  int64_t hits() const { return rig_.scheduler.stats().prefix_hits; }
  int finished() const { return finished_; }

 private:
  static bool failed() { return ::testing::Test::HasFatalFailure(); }
  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng_); }

  RigOptions random_options() {
    RigOptions o;
    o.block_size = pick(1, 5);
    o.depth = pick(1, 3);
    o.prefix_caching = pick(0, 3) > 0;
    o.groups.clear();
    for (int g = pick(1, 2); g > 0; --g) {
      o.groups.push_back({pick(4, 40), pick(0, 2) == 0 ? pick(1, 20) : 0});
    }
    o.scheduler.max_num_batched_tokens = pick(0, 3) == 0 ? pick(1, 5) : pick(5, 60);
    o.scheduler.max_num_seqs = pick(1, 10);
    o.scheduler.max_model_len = 80;
    o.scheduler.long_prefill_token_threshold = pick(0, 2) == 0 ? pick(1, 12) : 0;
    o.scheduler.chunked_prefill = pick(0, 4) > 0;
    o.scheduler.policy = pick(0, 1) ? SchedulingPolicy::kFcfs : SchedulingPolicy::kPriority;
    o.scheduler.vocab_size = kVocab;
    return o;
  }

  void add() {
    auto params = std::make_shared<SamplingParams>();
    params->n = pick(0, 2) == 0 ? pick(2, 4) : 1;
    if (pick(0, 4) == 0) params->prompt_logprobs = pick(0, 2);
    if (pick(0, 2) == 0) params->stop_token_ids = {5, 6};
    params->min_tokens = pick(0, 3) == 0 ? pick(1, 4) : 0;
    Tracked t;
    Request& r = t.request;
    // Few families of prompts, cut at random: many common prefixes, some equal prompts.
    auto prompt = std::make_shared<std::vector<TokenId>>(pick(1, pick(0, 3) == 0 ? 60 : 20));
    const int family = pick(0, 2);
    for (size_t i = 0; i < prompt->size(); ++i)
      (*prompt)[i] = (family * 7 + static_cast<int>(i) * 3) % kVocab;
    if (pick(0, 1)) prompt->back() = pick(0, kVocab - 1);
    r.max_tokens = pick(1, pick(0, 3) == 0 ? 80 - static_cast<int>(prompt->size()) : 10);
    params->min_tokens = std::min(params->min_tokens, r.max_tokens);
    r.prompt = prompt;
    r.params = params;
    if (pick(0, 3) > 0) r.eos_ids = {3};
    r.priority = pick(0, 2);
    r.arrival = now_;
    r.cache_salt = pick(0, 3) == 0 ? "salt" : "";
    r.seed = pick(0, 3);
    if (masks_ && pick(0, 1)) r.make_masker = [] { return std::make_unique<ParityMasker>(); };
    for (int i = 0; i < params->n; ++i) t.sequences.push_back(run_alone(r, i));
    t.added = now_;
    r.key = rig_.add(r);
    live_.emplace(r.key, std::move(t));
  }

  // A cancel, or a stop string in one sequence.
  void end_one() {
    if (live_.empty()) return;
    auto it = std::next(live_.begin(), pick(0, static_cast<int>(live_.size()) - 1));
    Tracked& t = it->second;
    if (pick(0, 1)) {
      rig_.scheduler.cancel(it->first);
      for (Expected& s : t.sequences) s.dropped = true;
    } else {
      const int index = pick(0, static_cast<int>(t.sequences.size()) - 1);
      rig_.scheduler.finish(it->first, index);
      t.sequences[index].dropped = true;
    }
    if (t.done()) live_.erase(it);
  }

  void step() {
    const bool fail = faults_ && pick(0, 60) == 0;
    const int bad = faults_ && pick(0, 60) == 0 ? pick(0, 2) : -1;
    if (fail || bad >= 0) {
      for (auto& [key, t] : live_) t.tainted = true;
    }
    const bool busy = rig_.in_flight > 0;
    const BatchPlan plan = rig_.step(fail, bad);
    ASSERT_TRUE(!plan.empty() || busy || live_.empty() || moved_) << "stuck";
    moved_ = false;
    check_windows(plan);
    check_no_starvation();
  }

  // In a window group a row stands on one window and one chunk at most.
  void check_windows(const BatchPlan& plan) {
    const SchedulerConfig& config = rig_.options.scheduler;
    const int block = rig_.options.block_size;
    for (size_t g = 0; g < plan.tables.size(); ++g) {
      const int window = rig_.options.groups[g].window;
      if (window == 0) continue;
      for (size_t r = 0; r < plan.rows.size(); ++r) {
        const PlanBlockTable& table = plan.tables[g];
        int held = 0;
        for (int i = table.begin[r]; i < table.begin[r + 1]; ++i) held += table.blocks[i] >= 0;
        const int row = plan.rows[r].num_tokens;
        const int chunk = std::max(row + block, std::min(config.max_num_batched_tokens, row));
        ASSERT_LE(held, (window - 1 + chunk + block - 2) / block + 1);
      }
    }
  }

  void check_no_starvation() {
    if (rig_.options.scheduler.policy != SchedulingPolicy::kFcfs || live_.empty()) return;
    const Tracked& oldest = live_.begin()->second;
    ASSERT_LT(now_ - std::max(oldest.added, oldest_since_), 3000) << "the oldest request starves";
  }

  void take(const SequenceEvent& event) {
    const auto it = live_.find(event.request);
    ASSERT_TRUE(it != live_.end()) << "an event of a request that has ended";
    Tracked& t = it->second;
    Expected& s = t.sequences[event.index];
    ASSERT_FALSE(s.ended || s.dropped) << "an event of a sequence that has ended";
    moved_ = true;
    take_prompt_logprobs(t, event);
    if (event.finish == FinishReason::kError) {
      const bool small = event.error.find("cache is too small") != std::string::npos;
      ASSERT_TRUE(small ? !fits(t.request) : t.tainted) << event.error;
      s.ended = true;
    } else if (event.has_token) {
      ASSERT_LT(s.seen, s.tokens.size());
      ASSERT_EQ(event.token.token, s.tokens[s.seen])
          << "token " << s.seen << " of sequence " << event.index;
      ++s.seen;
      const bool last = s.seen == s.tokens.size();
      ASSERT_EQ(event.finish, last ? s.finish : FinishReason::kNone);
      ASSERT_EQ(event.hide_token, last && s.finish == FinishReason::kStop);
      ASSERT_EQ(event.stop_token, last ? s.stop_token : std::nullopt);
      s.ended = last;
    }
    if (!t.done()) return;
    if (t.request.params->prompt_logprobs && !t.tainted && event.finish != FinishReason::kError) {
      ASSERT_EQ(t.prompt_logprobs.size() + 1, t.request.prompt->size())
          << "prompt log-probabilities are missing";
    }
    ++finished_;
    if (it == live_.begin()) oldest_since_ = now_;
    live_.erase(it);
  }

  void take_prompt_logprobs(Tracked& t, const SequenceEvent& event) {
    int position = event.prompt_logprobs_first;
    for (const SampledToken& value : event.prompt_logprobs) {
      ASSERT_TRUE(t.request.params->prompt_logprobs.has_value());
      ASSERT_EQ(value.token, (*t.request.prompt)[position]);
      ASSERT_TRUE(value.rank == position || t.tainted);
      ASSERT_TRUE(t.prompt_logprobs.insert(position).second || t.tainted) << "delivered twice";
      ++position;
    }
  }

  bool fits(const Request& request) const {
    const SchedulerConfig& config = rig_.options.scheduler;
    const auto prompt = static_cast<int>(request.prompt->size());
    int chunk = config.chunked_prefill ? config.max_num_batched_tokens : config.max_model_len;
    const int threshold = config.long_prefill_token_threshold;
    if (config.chunked_prefill && threshold > 0) chunk = std::min(chunk, threshold);
    return rig_.cache.fits_alone(prompt + request.max_tokens - 1, chunk);
  }

  std::mt19937_64 rng_;
  SchedulerRig rig_;
  bool faults_ = false;
  bool masks_ = false;
  std::map<RequestKey, Tracked> live_;
  int now_ = 0;
  int oldest_since_ = 0;
  int finished_ = 0;
  bool moved_ = false;
};

TEST(SchedulerProperty, EveryRequestSaysWhatItWouldSayAlone) {
  const int runs = std::getenv("OCTAVO_LONG_TESTS") ? 4000 : 200;
  int64_t preemptions = 0, hits = 0;
  int finished = 0;
  for (int seed = 1; seed <= runs && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomEngine engine(seed);
    engine.run(150);
    preemptions += engine.preemptions();
    hits += engine.hits();
    finished += engine.finished();
  }
  // The runs are worth something only if they went through what they are about.
  EXPECT_GT(preemptions, runs);
  EXPECT_GT(hits, runs);
  EXPECT_GT(finished, runs * 5);
  RecordProperty("preemptions", static_cast<int>(preemptions));
  RecordProperty("finished", finished);
}

}  // namespace
}  // namespace octavo
