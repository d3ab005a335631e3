// The sampler against a slow twin that follows ops/sampler.h line by line, over random logits and
// parameters; and the promises that the engine builds on.
#include "backend/cuda/sampler.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <numeric>
#include <thread>

#include "backend/cuda/testing_device.h"
#include "ops/testing_sampler.h"

namespace octavo::cuda {
namespace {

using octavo::testing::expected_token;
using octavo::testing::kInfinity;
using octavo::testing::Random;
using octavo::testing::random_case;
using octavo::testing::setup_of;
using testing::DeviceArray;
using Case = octavo::testing::SamplerCase;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The sums of top-p are float32 on the device: a token at whose end they reach top_p to within
// their rounding may be in or out.
constexpr double kSlack = 2e-6;
bool is_at_the_edge(const Case& c, const std::vector<float>& logits, TokenId token) {
  return token == expected_token(c, logits, kSlack) || token == expected_token(c, logits, -kSlack);
}

// --- Random requests.

// A request with parameters alone, as most are.
Case plain_case(Random& random, int kind) {
  Case c;
  SamplingParams& p = c.params;
  p.temperature = random.uniform(0.3f, 1.5f);
  if (kind % 4 == 1) p.top_p = random.uniform(0.1f, 0.99f);
  if (kind % 4 == 2) p.top_k = 1 + random.below(100);
  if (kind % 4 == 3) {
    p.top_k = 20;
    p.top_p = 0.95f;
  }
  c.seed = static_cast<uint64_t>(random.below(1 << 30));
  return c;
}

enum class Logits { kNormal, kTies, kFlat, kPeaked };

std::vector<float> random_logits(Random& random, size_t count, Logits shape) {
  std::vector<float> x(count);
  for (float& v : x) {
    v = random.normal();
    if (shape == Logits::kNormal) v *= 3;
    if (shape == Logits::kTies) v = std::round(1.5f * v);
    if (shape == Logits::kFlat) v *= 0.04f;
    if (shape == Logits::kPeaked && random.once_in(5000)) v = 15 + 2 * v;
  }
  return x;
}

// --- Driving the sampler.

struct Stream {
  Stream() {
    EXPECT_EQ(cudaStreamCreateWithFlags(&launch.stream, cudaStreamNonBlocking), cudaSuccess);
  }
  ~Stream() {
    EXPECT_EQ(cudaStreamSynchronize(launch.stream), cudaSuccess);
    cudaStreamDestroy(launch.stream);
  }
  Launch launch;
};

// What the sampler allocates next is likely to lie here: NaN, and -1.
void poison_free_memory() {
  const DeviceArray poisoned(DType::kU8, {int64_t{64} << 20});
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

// A sampler with its stream.
class Driver {
 public:
  Driver(int slots, int size) : size_(size) {
    poison_free_memory();
    sampler = make_cuda_sampler({slots, size, 1000}, stream_.launch, 64);
  }

  std::vector<SampledToken> sample(const std::vector<float>& logits,
                                   const std::vector<SampleRow>& rows) {
    const auto count = static_cast<int64_t>(logits.size()) / size_;
    const DeviceArray on_device(DType::kF32, {count, size_}, logits);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    auto pending = sampler->sample(on_device.tensor(), rows);
    std::vector<SampledToken> results(rows.size());
    const Status status = pending->read(results);
    EXPECT_TRUE(status.ok()) << status.to_string();
    EXPECT_EQ(cudaStreamSynchronize(stream_.launch.stream), cudaSuccess);
    return results;
  }
  const Launch& on() const { return stream_.launch; }

 private:
  Stream stream_;
  int size_;

 public:
  std::unique_ptr<Sampler> sampler;
};

std::vector<SampledToken> sample_all(const std::vector<Case>& cases,
                                     const std::vector<float>& logits, int num_logprobs = -1) {
  const int rows = static_cast<int>(cases.size()), size = static_cast<int>(logits.size()) / rows;
  Driver driver(rows, size);
  std::vector<SampleRow> sample_rows;
  for (int i = 0; i < rows; ++i) {
    driver.sampler->set_slot(setup_of(i, cases[i]));
    sample_rows.push_back({SlotId(i), i, cases[i].mask, num_logprobs});
  }
  return driver.sample(logits, sample_rows);
}

std::vector<float> row_of(const std::vector<float>& logits, int row, int size) {
  return {logits.begin() + int64_t{row} * size, logits.begin() + int64_t{row + 1} * size};
}

// Returns how many rows were at the edge.
int expect_agreement(const std::vector<Case>& cases, const std::vector<float>& logits,
                     const char* what) {
  const int rows = static_cast<int>(cases.size()), size = static_cast<int>(logits.size()) / rows;
  const auto results = sample_all(cases, logits);
  std::vector<int> edge(cases.size());
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; i < rows; i += 8) {
        const std::vector<float> row = row_of(logits, i, size);
        const TokenId expected = expected_token(cases[i], row);
        EXPECT_EQ(results[i].invalid_logits, expected < 0) << what << " row " << i;
        if (expected < 0 || results[i].token == expected) continue;
        edge[i] = is_at_the_edge(cases[i], row, results[i].token);
        EXPECT_TRUE(edge[i]) << what << ", vocabulary " << size << ", row " << i << ": "
                             << results[i].token << ", not " << expected;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return std::accumulate(edge.begin(), edge.end(), 0);
}

// --- The tests.

bool takes_too_long(int vocabulary) {
  return vocabulary > 10000 && testing::trials_are_few();
}

TEST(CudaSampler, AgreesWithTheSlowTwinOverAllParameters) {
  SKIP_WITHOUT_GPU();
  Random random(11);
  int edge = 0, rows = 0;
  for (const int size : {1, 5, 31, 64, 1000, 5003, 8192, 50257, 128256}) {
    if (takes_too_long(size)) continue;
    const int count = testing::trials(size > 10000 ? 40 : size > 900 ? 100 : 300);
    for (const Logits shape : {Logits::kNormal, Logits::kTies}) {
      const auto logits = random_logits(random, static_cast<size_t>(count) * size, shape);
      std::vector<Case> cases;
      for (int i = 0; i < count; ++i) cases.push_back(random_case(random, size));
      edge += expect_agreement(cases, logits, "all parameters");
      rows += count;
    }
  }
  EXPECT_LE(edge, rows / 1000);
  std::printf("%d of %d draws at the edge of top-p\n", edge, rows);
}

TEST(CudaSampler, AgreesWithTheSlowTwinOnFlatAndPeakedLogits) {
  SKIP_WITHOUT_GPU();
  Random random(12);
  int edge = 0, rows = 0;
  for (const int size : {8192, 50257, 128256, 151936}) {
    if (takes_too_long(size)) continue;
    for (const Logits shape : {Logits::kFlat, Logits::kPeaked, Logits::kNormal, Logits::kTies}) {
      const int count = testing::trials(64);
      const auto logits = random_logits(random, static_cast<size_t>(count) * size, shape);
      std::vector<Case> cases;
      for (int i = 0; i < count; ++i) cases.push_back(plain_case(random, i));
      edge += expect_agreement(cases, logits, "plain parameters");
      rows += count;
    }
  }
  EXPECT_LE(edge, rows / 1000 + 1);
  std::printf("%d of %d draws at the edge of top-p\n", edge, rows);
}

TEST(CudaSampler, GivesARowTheSameTokenAloneAndAmong300) {
  SKIP_WITHOUT_GPU();
  Random random(14);
  constexpr int kSize = 3001;
  const int num_rows = testing::trials(300);
  const auto logits = random_logits(random, num_rows * kSize, Logits::kNormal);
  std::vector<Case> cases;
  for (int i = 0; i < num_rows; ++i) cases.push_back(random_case(random, kSize));
  const auto together = sample_all(cases, logits, 5), again = sample_all(cases, logits, 5);
  for (int i = 0; i < num_rows; ++i) {
    ASSERT_EQ(together[i].token, again[i].token) << i;
    ASSERT_EQ(together[i].logprob, again[i].logprob) << i;
  }
  for (int i = 0; i < num_rows; i += 17) {
    const auto alone = sample_all({cases[i]}, row_of(logits, i, kSize), 5);
    EXPECT_EQ(alone[0].token, together[i].token);
    EXPECT_EQ(alone[0].logprob, together[i].logprob);
    EXPECT_EQ(alone[0].top, together[i].top);
  }
}

TEST(CudaSampler, KeepsItsStateOverManyStepsAndThroughPreemption) {
  SKIP_WITHOUT_GPU();
  Random random(15);
  constexpr int kSize = 500, kSteps = 40;
  Case c;
  c.params.repetition_penalty = 1.3f;
  c.params.frequency_penalty = 0.5f;
  c.params.min_tokens = 10;
  c.params.temperature = 0.7f;
  c.stop_ids = {1, 2, 3};
  c.prompt = {3, 4, 5};
  c.bad_words = {{7}, {8, 9}, {8, 8, 10}};
  Case greedy = c;
  greedy.params.temperature = 0;
  Driver driver(3, kSize);
  driver.sampler->set_slot(setup_of(0, c));
  driver.sampler->set_slot(setup_of(2, greedy));
  for (int n = 0; n < kSteps; ++n) {
    if (n % 5 == 0) driver.sampler->set_slot(setup_of(1, c));
    auto row = random_logits(random, kSize, Logits::kNormal);
    row[8] += 6;  // so that bad words come up
    row[9] += 5;
    row[10] += 5;
    const auto results = driver.sample(
        row, {{SlotId(0), 0, {}, -1}, {SlotId(1), 0, {}, -1}, {SlotId(2), 0, {}, -1}});
    ASSERT_EQ(results[0].token, expected_token(c, row)) << "draw " << n;
    ASSERT_EQ(results[1].token, results[0].token) << "draw " << n;
    ASSERT_EQ(results[2].token, expected_token(greedy, row)) << "draw " << n;
    c.output.push_back(results[0].token);
    greedy.output.push_back(results[2].token);
  }
}

TEST(CudaSampler, ResolvesTheLastTokenOfASlotAlsoInAGraph) {
  SKIP_WITHOUT_GPU();
  Driver driver(3, 10);
  Case c;
  c.params.temperature = 0;
  c.prompt = {6, 8};
  driver.sampler->set_slot(setup_of(0, c));
  c.output = {1, 2};
  driver.sampler->set_slot(setup_of(2, c));
  const DeviceArray tokens =
      DeviceArray::of_integers(DType::kI32, std::vector<int32_t>{5, ~0, ~2, 9});
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  const auto values_of = [&](const Tensor& t) {
    EXPECT_EQ(cudaStreamSynchronize(driver.on().stream), cudaSuccess);
    std::vector<int32_t> values(static_cast<size_t>(t.count()));
    cudaMemcpy(values.data(), t.data, 4 * values.size(), cudaMemcpyDeviceToHost);
    return values;
  };
  const Tensor first = driver.sampler->resolve_tokens(tokens.tensor());
  EXPECT_EQ(values_of(first), (std::vector<int32_t>{5, 8, 2, 9}));

  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(driver.on().stream, cudaStreamCaptureModeThreadLocal),
            cudaSuccess);
  const Tensor captured = driver.sampler->resolve_tokens(tokens.tensor());
  ASSERT_EQ(cudaStreamEndCapture(driver.on().stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  EXPECT_EQ(captured.data, first.data);

  std::vector<float> logits(10, 0.0f);
  logits[4] = 1;
  const auto results = driver.sample(logits, {{SlotId(2), 0, {}, -1}});
  EXPECT_EQ(results[0].token, 4);
  ASSERT_EQ(cudaGraphLaunch(exec, driver.on().stream), cudaSuccess);
  EXPECT_EQ(values_of(captured), (std::vector<int32_t>{5, 8, 4, 9}));
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
}

TEST(CudaSampler, FirstSlotsAreNotLostWhenSetRightAfterConstruction) {
  SKIP_WITHOUT_GPU();
  constexpr int kSize = 64, kSlots = 2000;
  std::vector<float> logits(kSize, 0.0f);
  logits[5] = 1;
  const DeviceArray on_device(DType::kF32, {1, kSize}, logits);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  Case c;
  c.params.temperature = 0.01f;
  c.params.logit_bias = {{9, 50.0f}};  // lives in the slot's state alone
  for (int n = 0; n < 50; ++n) {
    Driver driver(kSlots, kSize);
    std::vector<SampleRow> rows;
    for (int i = 0; i < 4; ++i) {
      driver.sampler->set_slot(setup_of(i, c));
      rows.push_back({SlotId(i), 0, {}, -1});
    }
    std::vector<SampledToken> results(rows.size());
    ASSERT_TRUE(driver.sampler->sample(on_device.tensor(), rows)->read(results).ok());
    for (const SampledToken& r : results) ASSERT_EQ(r.token, 9);
  }
}

void expect_logprobs(const std::vector<float>& logits, const SampledToken& r, int num_top) {
  double total = 0;
  for (const float v : logits) total += std::exp(static_cast<double>(v));
  const double log_total = std::log(total);
  EXPECT_NEAR(r.logprob, logits[r.token] - log_total, 2e-5);
  EXPECT_EQ(r.rank, 1 + std::count_if(logits.begin(), logits.end(),
                                      [&](float v) { return v > logits[r.token]; }));
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  ASSERT_EQ(r.top.size(), std::min<size_t>(num_top, logits.size()));
  for (size_t i = 0; i < r.top.size(); ++i) {
    ASSERT_EQ(r.top[i].first, order[i]) << i;
    ASSERT_NEAR(r.top[i].second, logits[order[i]] - log_total, 2e-5);
  }
}

TEST(CudaSampler, LogprobsAreOfTheRawLogits) {
  SKIP_WITHOUT_GPU();
  Random random(16);
  int trial = 0;
  for (const int size : {7, 4500, 50257, 128256}) {
    if (takes_too_long(size)) continue;
    for (const Logits shape : {Logits::kNormal, Logits::kTies, Logits::kFlat}) {
      const auto logits = random_logits(random, static_cast<size_t>(3) * size, shape);
      for (const int num_top : {0, 1, 5, 20, 256, 257, size}) {
        if (num_top == size && size > 10000) continue;
        if (!testing::wants_trial(trial++)) continue;
        Case biased, drawn;
        biased.params.temperature = 0;
        biased.params.logit_bias = {{3, 100.0f}};
        const auto results = sample_all({biased, drawn, drawn}, logits, num_top);
        EXPECT_EQ(results[0].token, 3);
        for (int i = 0; i < 3; ++i) expect_logprobs(row_of(logits, i, size), results[i], num_top);
      }
    }
  }
}

TEST(CudaSampler, PromptLogprobsAreOfTheGivenTokens) {
  SKIP_WITHOUT_GPU();
  Stream stream;
  const auto sampler = make_cuda_sampler({1, 4, 100}, stream.launch, 4);
  // A row is longer than the vocabulary.
  const DeviceArray logits(DType::kF32, {3, 5},
                           {0, 1, 2, 3, 99, 9, kNan, 0, 0, 99, 0, 0, 0, 0, 99});
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  const std::vector<PromptLogprobRow> rows{{0, 2, 1}, {2, 0, 0}, {1, 0, 1}};
  std::vector<SampledToken> results(3);
  ASSERT_TRUE(sampler->prompt_logprobs(logits.tensor(), rows)->read(results).ok());
  EXPECT_EQ(results[0].token, 2);
  EXPECT_EQ(results[0].rank, 2);
  EXPECT_NEAR(results[0].logprob, -1.4401897, 1e-5);
  ASSERT_EQ(results[0].top.size(), 1u);
  EXPECT_EQ(results[0].top[0].first, 3);
  EXPECT_NEAR(results[1].logprob, -std::log(4.0), 1e-6);
  EXPECT_EQ(results[1].rank, 1);
  EXPECT_TRUE(results[1].top.empty());
  EXPECT_TRUE(results[2].invalid_logits);
}

TEST(CudaSampler, ReportsLogitsThatAllowNoChoice) {
  SKIP_WITHOUT_GPU();
  constexpr int kSize = 100;
  std::vector<float> fine(kSize, 0.5f), nan = fine, infinite = fine, nothing(kSize, -kInfinity);
  nan[97] = kNan;
  infinite[3] = kInfinity;
  for (const int kind : {0, 1, 2, 3, 4}) {
    Case c;
    if (kind == 0) c.params.temperature = 0;
    if (kind == 2) c.params.top_p = 0.5f;
    if (kind == 3) c.params.top_k = 3;
    if (kind == 4) c.params.min_p = 0.3f;
    for (const auto& logits : {nan, infinite, nothing}) {
      const SampledToken r = sample_all({c}, logits, 3)[0];
      EXPECT_TRUE(r.invalid_logits) << "kind " << kind;
      EXPECT_EQ(r.token, 0);
    }
    c.mask.assign(4, 0);
    EXPECT_TRUE(sample_all({c}, fine)[0].invalid_logits);
    c.mask[2] = 1u << 5;
    EXPECT_EQ(sample_all({c}, fine)[0].token, 69);
    c.mask.resize(2);  // tokens past its end are not allowed
    EXPECT_TRUE(sample_all({c}, fine)[0].invalid_logits);
  }
}

// All device memory that can be had, until it goes.
class AllMemory {
 public:
  AllMemory() {
    for (size_t bytes = size_t{1} << 34; bytes >= size_t{1} << 20; bytes /= 2) {
      void* taken = nullptr;
      while (cudaMalloc(&taken, bytes) == cudaSuccess) blocks_.push_back(taken);
    }
    cudaGetLastError();
  }
  ~AllMemory() {
    for (void* block : blocks_) cudaFree(block);
  }

 private:
  std::vector<void*> blocks_;
};

TEST(CudaSampler, ThatLacksMemoryForOneRequestServesTheNextOnes) {
  SKIP_WITHOUT_GPU();
  constexpr int kSize = 1 << 20;  // its penalties want 4 MiB
  Random random(17);
  const std::vector<float> logits = random_logits(random, kSize, Logits::kNormal);
  const DeviceArray on_device(DType::kF32, {1, kSize}, logits);
  Driver driver(2, kSize);
  Case c;
  c.params.temperature = 0;
  c.params.presence_penalty = 0.5f;
  const std::vector<SampleRow> rows = {{SlotId(0), 0, {}, -1}};
  {
    const AllMemory all;
    driver.sampler->set_slot(setup_of(0, c));
    std::vector<SampledToken> results(1);
    const Status status = driver.sampler->sample(on_device.tensor(), rows)->read(results);
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.to_string();
  }
  take_error();
  driver.sampler->set_slot(setup_of(0, c));
  EXPECT_EQ(driver.sample(logits, rows)[0].token, expected_token(c, logits));
}

TEST(CudaSampler, ManyCallsMayBePendingAndSomeNeverRead) {
  SKIP_WITHOUT_GPU();
  Random random(17);
  constexpr int kSize = 2000, kSlots = 20;
  const int steps = testing::trials(60);
  Driver driver(kSlots, kSize);
  Case c;
  std::vector<SampleRow> rows;
  for (int i = 0; i < kSlots; ++i) {
    driver.sampler->set_slot(setup_of(i, c));
    rows.push_back({SlotId(i), i, {}, i % 4 == 0 ? 2 : -1});
  }
  const auto logits = random_logits(random, kSlots * kSize, Logits::kNormal);
  const DeviceArray on_device(DType::kF32, {kSlots, kSize}, logits);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  std::vector<std::unique_ptr<PendingTokens>> pending;
  for (int n = 0; n < steps; ++n) {
    auto call = driver.sampler->sample(on_device.tensor(), rows);
    pending.push_back(n % 3 == 1 ? nullptr : std::move(call));
  }
  std::thread reader([&] {
    for (int n = 0; n < steps; ++n) {
      if (!pending[n]) continue;
      std::vector<SampledToken> results(kSlots);
      ASSERT_TRUE(pending[n]->read(results).ok());
      Case at = c;
      at.output.resize(static_cast<size_t>(n));
      for (int i = 0; i < kSlots; ++i) {
        ASSERT_EQ(results[i].token, expected_token(at, row_of(logits, i, kSize))) << n;
        ASSERT_EQ(results[i].top.size(), i % 4 == 0 ? 2u : 0u);
      }
    }
  });
  reader.join();
}

}  // namespace
}  // namespace octavo::cuda
