#include "backend/cuda/decode_attention.h"

#include <algorithm>
#include <numeric>

#include "backend/cuda/testing_decode.h"

namespace octavo::cuda {
namespace {

using testing::pick;
using testing::random_lengths;
using testing::Scenario;
using testing::Step;

void expect_right(const Scenario& scenario, uint32_t seed) {
  Step step(scenario, seed);
  const double error = testing::relative_error(step.run(), step.reference());
  EXPECT_LT(error, step.tolerance())
      << "q heads " << scenario.num_q_heads << ", kv heads " << scenario.num_kv_heads << ", dim "
      << scenario.head_dim << ", block " << scenario.block_size << ", window " << scenario.window
      << ", rows " << scenario.kv_len.size() << ", groups " << scenario.groups.size();
}

TEST(DecodeAttention, MatchesTheReferenceForRandomShapes) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(1);
  for (int trial = 0; trial < 60; ++trial) {
    Scenario s;
    s.dtype = trial % 3 == 2 ? DType::kF16 : DType::kBF16;
    s.head_dim = pick(random, {16, 32, 64, 80, 96, 128, 128, 256});
    s.num_kv_heads = pick(random, {1, 2, 3});
    s.num_q_heads = s.num_kv_heads * pick(random, {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16});
    s.block_size = pick(random, {16, 32, 48, 64, 128});
    s.kv_len = random_lengths(random, 1 + static_cast<int>(random() % 12), 400);
    s.other_tokens = pick(random, {0, 5});
    expect_right(s, static_cast<uint32_t>(trial));
  }
}

TEST(DecodeAttention, LooksNoFurtherBackThanTheWindow) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(2);
  for (int window : {1, 7, 64, 100, 128, 1000}) {
    Scenario s;
    s.window = window;
    s.head_dim = 64;
    s.block_size = pick(random, {16, 32});
    s.kv_len = random_lengths(random, 9, 700);
    s.kv_len.push_back(window + 1);
    s.kv_len.push_back(window);
    expect_right(s, static_cast<uint32_t>(window));
  }
}

TEST(DecodeAttention, WritesZerosForPadding) {
  SKIP_WITHOUT_GPU();
  Scenario s;
  s.kv_len = {0, 100, 0, 0, 65, 1, 0, 0};
  Step step(s, 3);
  const std::vector<float> out = step.run();
  EXPECT_LT(testing::relative_error(out, step.reference()), step.tolerance());
  const size_t width = out.size() / s.kv_len.size();
  for (size_t i = 0; i < width; ++i) EXPECT_EQ(out[2 * width + i], 0);
  s.kv_len = {0, 0};
  for (float x : Step(s, 4).run()) EXPECT_EQ(x, 0);
}

TEST(DecodeAttention, CutsLongRowsAmongManyCtas) {
  SKIP_WITHOUT_GPU();
  Scenario s;
  s.num_kv_heads = 1;
  s.num_q_heads = 4;
  s.kv_len = {20000};
  expect_right(s, 5);
  s.kv_len = {9000, 1, 0, 70, 12000, 300};
  expect_right(s, 6);
  s.num_kv_heads = 2;
  s.num_q_heads = 32;
  s.kv_len = {5000, 64, 3000};
  expect_right(s, 7);
}

TEST(DecodeAttention, ServesManyRows) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(8);
  Scenario s;
  s.head_dim = 32;
  s.num_q_heads = 4;
  s.kv_len = random_lengths(random, 1500, 150);
  s.kv_len[7] = s.kv_len[1400] = 0;
  expect_right(s, 8);
}

TEST(DecodeAttention, SharedPrefixesChangeNothing) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(9);
  for (int trial = 0; trial < 24; ++trial) {
    Scenario s;
    s.dtype = trial % 3 == 2 ? DType::kF16 : DType::kBF16;
    s.head_dim = pick(random, {64, 128, 128, 96});
    s.num_kv_heads = pick(random, {1, 2});
    s.num_q_heads = s.num_kv_heads * pick(random, {1, 2, 3, 4, 7, 8, 16});
    s.block_size = pick(random, {16, 32, 48, 64});
    s.window = trial == 5 ? 100 : 0;
    const int rows = 20 + static_cast<int>(random() % 60);
    s.kv_len = random_lengths(random, rows, 200);
    s.kv_len[3] = 0;
    std::vector<int> order(static_cast<size_t>(rows));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    order.erase(std::find(order.begin(), order.end(), 3));
    const int groups = 1 + static_cast<int>(random() % 3);
    size_t used = 0;
    for (int g = 0; g < groups; ++g) {
      const int prefix = s.block_size * (1 + static_cast<int>(random() % 12));
      const size_t count = 1 + random() % (static_cast<size_t>(rows - 1) / groups);
      s.groups.emplace_back(order.begin() + used, order.begin() + used + count);
      s.prefix_len.push_back(prefix);
      for (size_t m = used; m < used + count; ++m) s.kv_len[order[m]] += prefix;
      used += count;
    }
    if (s.window > 0) {  // every row keeps its own blocks, some of which have passed
      s.groups.assign(1, {order[0]});
      s.prefix_len.assign(1, s.block_size);
    }
    expect_right(s, static_cast<uint32_t>(trial));
  }
}

TEST(DecodeAttention, ALongSharedPrefixIsCutToo) {
  SKIP_WITHOUT_GPU();
  Scenario s;
  s.num_kv_heads = 1;
  s.num_q_heads = 4;
  s.kv_len.assign(40, 0);
  s.groups.resize(1);
  s.prefix_len = {8192};
  for (int r = 0; r < 40; ++r) {
    s.kv_len[r] = 8192 + 1 + 13 * r;
    s.groups[0].push_back(r);
  }
  expect_right(s, 10);
}

void expect_close(const std::vector<float>& got, const std::vector<float>& want, DType dtype) {
  ASSERT_EQ(got.size(), want.size());
  const float tolerance = dtype == DType::kBF16 ? 1.6e-2f : 2e-3f;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::isnan(got[i]), std::isnan(want[i])) << i;
    if (!std::isnan(want[i])) ASSERT_NEAR(got[i], want[i], tolerance * (1 + std::fabs(want[i])));
  }
}

TEST(DecodeAttention, AppendsAsRopeAndCacheDoesBeforeIt) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(31);
  struct Shape {
    int q_heads, kv_heads, head_dim, rotary, block;
    bool norms;
  };
  for (const Shape& shape : {Shape{32, 8, 128, 128, 32, false}, Shape{16, 8, 128, 128, 16, true},
                             Shape{6, 2, 64, 64, 16, false}, Shape{4, 1, 80, 32, 16, false},
                             Shape{3, 3, 96, 96, 48, true}, Shape{16, 1, 256, 64, 16, false},
                             Shape{4, 2, 16, 16, 16, true}, Shape{12, 12, 64, 0, 16, false}}) {
    for (int rows : {1, 3, 40}) {
      Scenario s;
      s.dtype = rows == 3 ? DType::kF16 : DType::kBF16;
      s.num_q_heads = shape.q_heads;
      s.num_kv_heads = shape.kv_heads;
      s.head_dim = shape.head_dim;
      s.block_size = shape.block;
      s.window = rows == 3 ? 70 : 0;
      s.kv_len = random_lengths(random, rows, rows == 1 ? 3000 : 400);
      if (rows > 1) s.kv_len[1] = 0;
      Step step(s, random());
      const auto want = step.run_appending(shape.rotary, shape.norms, false);
      const auto got = step.run_appending(shape.rotary, shape.norms, true);
      SCOPED_TRACE(::testing::PrintToString(shape.head_dim) + " dims, " +
                   ::testing::PrintToString(rows) + " rows");
      expect_close(got.out, want.out, s.dtype);
      expect_close(got.keys, want.keys, s.dtype);
      expect_close(got.values, want.values, s.dtype);
    }
  }
}

TEST(DecodeAttention, GivesTheSameBitsEveryTime) {
  SKIP_WITHOUT_GPU();
  Scenario s;
  s.kv_len = {5000, 100, 64, 3000, 700, 1500};
  Step step(s, 11);
  const std::vector<float> first = step.run();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(step.run(), first);
  s.groups = {{0, 3}, {4, 5}};
  s.prefix_len = {2560, 640};
  Step shared(s, 12);
  const std::vector<float> first_shared = shared.run();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(shared.run(), first_shared);
}

TEST(DecodeAttention, BatchInvariantRowsDoNotDependOnOthers) {
  SKIP_WITHOUT_GPU();
  Scenario s;
  s.batch_invariant = true;
  s.kv_len = {3000, 100, 64, 1000, 700};
  s.groups = {{0, 3}};  // declared, but not used
  s.prefix_len = {640};
  Step together(s, 13);
  const std::vector<float> expected = together.run();
  EXPECT_LT(testing::relative_error(expected, together.reference()), together.tolerance());
  const size_t width = expected.size() / s.kv_len.size();
  for (size_t r = 0; r < s.kv_len.size(); ++r) {
    std::vector<int> alone(s.kv_len.size());
    alone[r] = s.kv_len[r];
    together.write_rows(alone);
    const std::vector<float> out = together.run();
    for (size_t i = 0; i < width; ++i) ASSERT_EQ(out[r * width + i], expected[r * width + i]);
  }
}

TEST(DecodeAttention, AGraphServesChangedLengths) {
  SKIP_WITHOUT_GPU();
  for (bool share : {false, true}) {
    Scenario s;
    s.kv_len = {900, 4000, 500, 333, 700, 800, 64, 500};
    if (share) {
      s.groups = {{0, 4, 5}, {1, 7}};
      s.prefix_len = {448, 352};
    }
    Step step(s, 14);
    cudaStream_t stream;
    cudaStreamCreate(&stream);
    step.run();  // outside: sets the kernels' attributes
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    step.plan({stream});
    for (int layer = 0; layer < 5; ++layer) step.attend({stream});
    ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
    const std::vector<std::vector<int>> steps = {
        s.kv_len, {449, 353, 1, 64, 512, 449, 63, 500}, {600, 3999, 0, 0, 450, 800, 0, 353}};
    for (const std::vector<int>& lengths : steps) {
      step.write_rows(lengths);
      step.poison_out();
      cudaDeviceSynchronize();
      ASSERT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
      EXPECT_LT(testing::relative_error(step.result(), step.reference()), step.tolerance());
    }
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
  }
}

}  // namespace
}  // namespace octavo::cuda
