// A row's logits do not depend, bit for bit, on its company, on how its prompt was cut, on the
// prefix cache, on preemption, on asynchronous steps or on the number of threads
// (docs/architecture.md, "Determinism").
//
// Runs octavo-tiny through the public API under many settings and compares the log-probabilities of
// the whole vocabulary (on a GPU, of the 20 most likely tokens) at every position with those of the
// plainest setting. Every pair of settings occurs in some run; with OCTAVO_LONG_TESTS=1 the whole
// product is run. On a GPU with --batch-invariant; without it the answers have to agree with the
// CPU's in float32 within the rounding of bfloat16.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <sstream>
#include <thread>

#include "base/testing_files.h"
#include "octavo/llm.h"
#include "octavo/value.h"
#include "testing_gpu.h"

namespace octavo {
namespace {

constexpr int kNewTokens = 20;
constexpr int kTargets = 4;

enum Company { kAlone, kTogether, kAmongOthers };

// Where and how the model runs.
struct Target {
  const char* device;
  const char* dtype;
  bool batch_invariant = false;
  bool on_gpu() const { return std::strcmp(device, "cuda") == 0; }
};

struct Setting {
  int company, chunk, prefix_cache, preempted, async, threads;
  // Alone in the cache, nothing can be preempted.
  bool possible() const { return !(preempted && company == kAlone); }
  std::string name() const {
    std::ostringstream text;
    text << (company == kAlone      ? "alone"
             : company == kTogether ? "together"
                                    : "among 100 others")
         << ", chunk " << chunk << (prefix_cache ? ", prefix cache" : "")
         << (preempted ? ", preempted" : "") << (async ? ", asynchronous" : "") << ", " << threads
         << " threads (on a GPU: 1 without graphs, 2 with them)";
    return text.str();
  }
};

std::vector<Setting> all_settings() {
  std::vector<Setting> all;
  for (int company : {kAlone, kTogether, kAmongOthers}) {
    for (int chunk : {1, 7, 16, 64, 512}) {
      for (int bits = 0; bits < 16; ++bits) {
        Setting s{company, chunk, bits & 1, bits >> 1 & 1, bits >> 2 & 1, 1 + (bits >> 3 & 1)};
        if (s.possible()) all.push_back(s);
      }
    }
  }
  return all;
}

// Greedily picks settings until every pair of factor values that is possible at all has occurred.
std::vector<Setting> pairwise(const std::vector<Setting>& all) {
  const auto pairs_of = [](const Setting& s) {
    const int v[] = {s.company, s.chunk, s.prefix_cache, s.preempted, s.async, s.threads};
    std::vector<std::array<int, 4>> pairs;
    for (int i = 0; i < 6; ++i) {
      for (int j = i + 1; j < 6; ++j) pairs.push_back({i, v[i], j, v[j]});
    }
    return pairs;
  };
  std::map<std::array<int, 4>, bool> covered;
  for (const Setting& s : all) {
    for (const auto& pair : pairs_of(s)) covered[pair] = false;
  }
  std::vector<Setting> chosen;
  while (true) {
    int best_gain = 0;
    const Setting* best = nullptr;
    for (const Setting& s : all) {
      int gain = 0;
      for (const auto& pair : pairs_of(s)) gain += !covered[pair];
      if (gain > best_gain) {
        best_gain = gain;
        best = &s;
      }
    }
    if (best == nullptr) return chosen;
    for (const auto& pair : pairs_of(*best)) covered[pair] = true;
    chosen.push_back(*best);
  }
}

std::vector<TokenId> random_prompt(std::mt19937& random, size_t length) {
  std::vector<TokenId> ids(length);
  for (TokenId& id : ids) id = static_cast<TokenId>(random() % 8000);
  return ids;
}

using Prompts = std::vector<std::vector<TokenId>>;

// Lengths that end inside, at and after a block's border, and so alike that the answers overlap in
// time however the prompts are cut.
constexpr std::array<size_t, kTargets> kLengths = {130, 147, 144, 139};

Prompts random_prompts() {
  std::mt19937 random(5);
  Prompts prompts;
  for (size_t length : kLengths) prompts.push_back(random_prompt(random, length));
  return prompts;
}

// Pieces of what the model was made to read: the reference's prompts and answers, in a row.
// Rounding moves the model's opinion of random tokens further than of these.
Prompts written_prompts() {
  const auto reference = parse_json(
      testing::read_file(testing::source_dir() / "tests/data/octavo-tiny-reference.json"));
  std::vector<TokenId> stream;
  if (reference.ok()) {
    for (const Value& prompt : reference->find("prompts")->as_list()) {
      for (const Value* ids : {prompt.find("ids"), prompt.find("float32")->find("ids")}) {
        for (const Value& id : ids->as_list()) stream.push_back(static_cast<TokenId>(id.as_int()));
      }
    }
  }
  Prompts prompts;
  size_t at = 0;
  for (size_t length : kLengths) {
    if (at + length > stream.size()) break;
    prompts.emplace_back(stream.begin() + at, stream.begin() + at + length);
    at += length;
  }
  return prompts;
}

Prompts other_prompts() {
  std::mt19937 random(7);
  Prompts prompts;
  for (int i = 0; i < 100; ++i) prompts.push_back(random_prompt(random, 1 + random() % 40));
  return prompts;
}

// One prompt's answer: its tokens, and for each the log-probabilities of all 8,192 tokens (0 where
// they were not asked for).
struct Answer {
  std::vector<TokenId> tokens;
  std::vector<std::vector<float>> rows;
};

Answer to_answer(const RequestOutput& output) {
  Answer answer;
  answer.tokens = output.outputs[0].token_ids;
  for (const TokenLogprobs& position : output.outputs[0].logprobs) {
    std::vector<float> row(8192, 0.f);
    for (const Logprob& entry : position.top) row[entry.token] = entry.logprob;
    answer.rows.push_back(std::move(row));
  }
  return answer;
}

SamplingParams watched(const Target& target) {
  SamplingParams p;
  p.temperature = 0;
  p.max_tokens = kNewTokens;
  p.ignore_eos = true;
  p.logprobs = target.on_gpu() ? 20 : -1;
  return p;
}

EngineOptions options_for(const Setting& s, const Target& target) {
  const std::string dtype = target.dtype;
  EngineOptions o;
  o.model.model = testing::source_dir() / "models/octavo-tiny";
  o.model.dtype = dtype;
  o.device.device = target.device;
  o.device.batch_invariant = target.batch_invariant;
  o.device.enforce_eager = s.threads == 1;
  o.cache.block_size = 16;
  o.max_logprobs = -1;
  o.scheduler.max_num_seqs = 128;
  o.scheduler.max_num_batched_tokens = 512;
  o.scheduler.long_prefill_token_threshold = s.chunk;
  o.scheduler.async_scheduling = s.async != 0;
  o.cache.enable_prefix_caching = s.prefix_cache != 0;
  o.device.threads = s.threads;
  // Preempted: room for the four prompts (37 blocks) and one block more, so that their answers
  // displace each other. A block of 16 tokens holds 8 layers x 2 heads x 64 x (k, v).
  const int64_t block_bytes = 16 * 8 * 2 * 64 * 2 * (dtype == "float32" ? 4 : 2);
  o.cache.kv_cache_memory_bytes = (s.preempted ? 38 : 2000) * block_bytes;
  if (s.preempted) o.model.max_model_len = 256;
  return o;
}

std::vector<Answer> run(const Setting& s, const Target& target, const Prompts& targets) {
  auto llm = LLM::create(options_for(s, target));
  EXPECT_TRUE(llm.ok()) << llm.status().to_string();
  if (!llm.ok()) return {};
  std::vector<Answer> answers;
  const int rounds = s.prefix_cache ? 2 : 1;  // the second round reads what the first one cached
  for (int round = 0; round < rounds; ++round) {
    answers.clear();
    if (s.company == kAlone) {
      for (const auto& prompt : targets) {
        auto out = (*llm)->generate_ids({prompt}, watched(target));
        EXPECT_TRUE(out.ok());
        answers.push_back(to_answer(out->at(0)));
      }
      continue;
    }
    Prompts others;
    if (s.company == kAmongOthers) others = other_prompts();
    // The others run beside the targets from another thread, without log-probabilities.
    std::thread beside([&] {
      SamplingParams p;
      p.max_tokens = 2 * kNewTokens;
      p.ignore_eos = true;
      p.seed = 3;
      EXPECT_TRUE((*llm)->generate_ids(others, p).ok());
    });
    auto out = (*llm)->generate_ids(targets, watched(target));
    beside.join();
    EXPECT_TRUE(out.ok());
    for (const RequestOutput& output : *out) answers.push_back(to_answer(output));
  }
  const EngineStats stats = (*llm)->engine().stats();
  if (s.preempted) {
    EXPECT_GT(stats.num_preemptions, 0) << "the setting was meant to preempt";
  } else if (s.prefix_cache) {
    EXPECT_GT(stats.prefix_cache_hits, 0) << "the setting was meant to read cached prefixes";
  }
  return answers;
}

const Setting kPlain{kAlone, 512, 0, 0, 0, 1};

std::vector<Setting> chosen_settings() {
  const bool whole = std::getenv("OCTAVO_LONG_TESTS") != nullptr;
  return whole ? all_settings() : pairwise(all_settings());
}

class BitwiseRows : public ::testing::TestWithParam<Target> {};

TEST_P(BitwiseRows, LogitsAreEqualBitForBitUnderEverySetting) {
  const Target target = GetParam();
  if (target.on_gpu() && !testing::has_hopper()) GTEST_SKIP() << "needs a Hopper GPU";
  const Prompts prompts = random_prompts();
  const std::vector<Answer> expected = run(kPlain, target, prompts);
  ASSERT_EQ(expected.size(), static_cast<size_t>(kTargets));
  const std::vector<Setting> settings = chosen_settings();
  for (const Setting& setting : settings) {
    SCOPED_TRACE(setting.name());
    const std::vector<Answer> got = run(setting, target, prompts);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i].rows.size(), static_cast<size_t>(kNewTokens));
      for (size_t t = 0; t < got[i].rows.size(); ++t) {
        ASSERT_EQ(
            std::memcmp(got[i].rows[t].data(), expected[i].rows[t].data(), 8192 * sizeof(float)), 0)
            << "prompt " << i << ", token " << t;
      }
    }
  }
  std::printf("%zu settings compared on %s in %s\n", settings.size(), target.device, target.dtype);
}

INSTANTIATE_TEST_SUITE_P(Targets, BitwiseRows,
                         ::testing::Values(Target{"cpu", "bfloat16"}, Target{"cpu", "float32"},
                                           Target{"cuda", "bfloat16", true},
                                           Target{"cuda", "float16", true}),
                         [](const auto& info) {
                           return std::string(info.param.device) + "_" + info.param.dtype;
                         });

// Without --batch-invariant: the tokens of float32 until a choice that is within rounding, and
// close log-probabilities before it.
TEST(CloseRows, AnswersOnAGpuAgreeWithFloat32UnderEverySetting) {
  const Target target{"cuda", "bfloat16"};
  if (target.on_gpu() && !testing::has_hopper()) GTEST_SKIP() << "needs a Hopper GPU";
  constexpr float kClearMargin = 0.15f;
  const Prompts prompts = written_prompts();
  const std::vector<Answer> expected = run(kPlain, {"cpu", "float32"}, prompts);
  ASSERT_EQ(expected.size(), static_cast<size_t>(kTargets));
  double worst = 0, sum = 0;
  int64_t compared = 0;
  for (const Setting& setting : chosen_settings()) {
    SCOPED_TRACE(setting.name());
    const std::vector<Answer> got = run(setting, target, prompts);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      for (size_t t = 0; t < got[i].tokens.size(); ++t) {
        const TokenId mine = got[i].tokens[t], theirs = expected[i].tokens[t];
        const std::vector<float>& row = expected[i].rows[t];
        if (mine != theirs) {
          EXPECT_LE(row[theirs] - row[mine], kClearMargin) << "prompt " << i << ", token " << t;
          break;
        }
        const double error = std::fabs(double{got[i].rows[t][mine]} - row[mine]);
        EXPECT_LE(error, 0.1) << "prompt " << i << ", token " << t;
        worst = std::max(worst, error);
        sum += error;
        ++compared;
      }
    }
  }
  EXPECT_LE(sum / static_cast<double>(compared), 0.015);
  std::printf("%lld log-probabilities differ by %.4f at most, %.5f on average\n",
              static_cast<long long>(compared), worst, sum / static_cast<double>(compared));
}

}  // namespace
}  // namespace octavo
