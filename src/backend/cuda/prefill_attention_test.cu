#include "backend/cuda/prefill_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>

#include "backend/cuda/numeric.cuh"
#include "backend/cuda/testing_device.h"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;

// Attention in float32, a warp a (token, head). Lane l has the dimensions l, l + 32, ...
template <typename T>
__global__ void reference_kernel(PagedLayer layer, PagedRows rows, AttentionCall call,
                                 int first_row, float* out) {
  const int lane = threadIdx.x, head = blockIdx.y;
  const int token = rows.row_begin[first_row] + blockIdx.x;
  int row = first_row;
  while (rows.row_begin[row + 1] <= token) ++row;
  const int dim = layer.head_dim, bs = layer.block_size;
  const int kv_head = head / (call.num_q_heads / layer.num_kv_heads);
  const int64_t line = (int64_t{token} * call.num_q_heads + head) * dim;
  const int newest = rows.kv_len[row] - (rows.row_begin[row + 1] - token);
  const int oldest = layer.window > 0 ? max(0, newest - layer.window + 1) : 0;
  float q[8] = {}, sum[8] = {}, total = 0, top = -INFINITY;
  for (int i = 0; lane + 32 * i < dim; ++i) {
    q[i] = to_float(static_cast<const T*>(call.q)[line + lane + 32 * i]);
  }
  for (int j = oldest; j <= newest && rows.kv_len[row] > 0; ++j) {
    const int block = rows.blocks[rows.block_begin[row] + j / bs];
    const int64_t at = ((int64_t{block} * layer.num_kv_heads + kv_head) * bs + j % bs) * dim;
    float score = 0;
    for (int i = 0; lane + 32 * i < dim; ++i) {
      score += q[i] * to_float(static_cast<const T*>(layer.keys)[at + lane + 32 * i]);
    }
    for (int d = 16; d > 0; d /= 2) score += __shfl_xor_sync(~0u, score, d);
    score *= call.scale;
    const float raised = fmaxf(top, score);
    const float shrink = expf(top - raised), weight = expf(score - raised);
    top = raised;
    total = total * shrink + weight;
    for (int i = 0; lane + 32 * i < dim; ++i) {
      sum[i] = sum[i] * shrink +
               weight * to_float(static_cast<const T*>(layer.values)[at + lane + 32 * i]);
    }
  }
  for (int i = 0; lane + 32 * i < dim; ++i) {
    out[line + lane + 32 * i] = total > 0 ? sum[i] / total : 0.0f;
  }
}

struct Heads {
  int query, kv, dim;
};
struct Row {
  int sequence;    // -1: padding
  int begin, end;  // query positions; the row's kv_len is `end`
};
enum class Call { kPrefill, kPlannedTwice, kInvariant };

// Sequences in a cache of scrambled blocks. Slots of no sequence hold NaN.
class Sequences {
 public:
  Sequences(std::mt19937& random, DType dtype, Heads heads, int block_size,
            const std::vector<int>& lengths, int window = 0)
      : random_(random), lengths_(lengths), heads_(heads) {
    std::vector<int> needed;
    for (int length : lengths) needed.push_back((length + block_size - 1) / block_size);
    const int used = std::accumulate(needed.begin(), needed.end(), 0);
    layer_.dtype = dtype;
    layer_.num_blocks = used + 5;
    layer_.num_kv_heads = heads.kv;
    layer_.block_size = block_size;
    layer_.head_dim = heads.dim;
    layer_.window = window;
    std::vector<int32_t> free(layer_.num_blocks);
    std::iota(free.begin(), free.end(), 0);
    std::shuffle(free.begin(), free.end(), random);
    const int64_t elements = int64_t{layer_.num_blocks} * heads.kv * block_size * heads.dim;
    std::vector<float> keys(elements, NAN), values(elements, NAN);
    for (size_t s = 0; s < lengths.size(); ++s) {
      tables_.emplace_back(free.end() - needed[s], free.end());
      free.resize(free.size() - needed[s]);
      for (int p = 0; p < lengths[s]; ++p) {
        for (int h = 0; h < heads.kv; ++h) {
          const int64_t at =
              ((int64_t{tables_[s][p / block_size]} * heads.kv + h) * block_size + p % block_size) *
              heads.dim;
          for (int d = 0; d < heads.dim; ++d) {
            keys[at + d] = normal();
            values[at + d] = normal();
          }
        }
      }
      queries_.emplace_back(int64_t{lengths[s]} * heads.query * heads.dim);
      for (float& x : queries_.back()) x = normal();
    }
    keys_ = std::make_unique<DeviceArray>(dtype, Shape{elements}, keys);
    values_ = std::make_unique<DeviceArray>(dtype, Shape{elements}, values);
    layer_.keys = keys_->data();
    layer_.values = values_->data();
  }

  struct Step {
    PagedRows rows;
    AttentionCall call;
    std::vector<Row> spec;
    std::vector<DeviceArray> arrays;  // what rows and call point to
    DeviceArray& out() { return arrays.back(); }
  };
  Step step(const std::vector<Row>& spec, int num_decode_rows) {
    std::vector<int32_t> row_begin = {0}, kv_len, block_begin = {0}, blocks;
    std::vector<float> q;
    const int line = heads_.query * heads_.dim;
    for (const Row& row : spec) {
      row_begin.push_back(row_begin.back() + row.end - row.begin);
      kv_len.push_back(row.sequence < 0 ? 0 : row.end);
      if (row.sequence < 0) {
        q.insert(q.end(), static_cast<size_t>(row.end - row.begin) * line, NAN);
      } else {
        const std::vector<float>& from = queries_[row.sequence];
        q.insert(q.end(), from.begin() + int64_t{row.begin} * line,
                 from.begin() + int64_t{row.end} * line);
        const int bs = layer_.block_size;
        for (int b = 0; b * bs < row.end; ++b) {
          const bool passed = layer_.window > 0 && (b + 1) * bs <= row.begin - layer_.window + 1;
          blocks.push_back(passed ? -1 : tables_[row.sequence][b]);
        }
        blocks.push_back(0x7FFFFFF);  // reserved but not in use yet
      }
      block_begin.push_back(static_cast<int32_t>(blocks.size()));
    }
    Step s;
    s.spec = spec;
    s.arrays.push_back(DeviceArray::of_integers(DType::kI32, row_begin));
    s.arrays.push_back(DeviceArray::of_integers(DType::kI32, kv_len));
    s.arrays.push_back(DeviceArray::of_integers(DType::kI32, block_begin));
    s.arrays.push_back(DeviceArray::of_integers(DType::kI32, blocks));
    const Shape shape = {static_cast<int64_t>(row_begin.back()) * line};
    s.arrays.emplace_back(layer_.dtype, shape, q);
    s.arrays.emplace_back(layer_.dtype, shape);
    s.rows.num_rows = static_cast<int>(spec.size());
    s.rows.num_decode_rows = num_decode_rows;
    s.rows.num_tokens = row_begin.back();
    s.rows.row_begin = s.arrays[0].as<int32_t>();
    s.rows.kv_len = s.arrays[1].as<int32_t>();
    s.rows.block_begin = s.arrays[2].as<int32_t>();
    s.rows.blocks = s.arrays[3].as<int32_t>();
    s.call.q = s.arrays[4].data();
    s.call.num_q_heads = heads_.query;
    s.call.scale = 1 / std::sqrt(static_cast<float>(heads_.dim));
    s.call.out = s.arrays[5].data();
    return s;
  }

  void start(Step& s, Call call, const Launch& on, void* workspace) {
    switch (call) {
      case Call::kInvariant:
        return invariant_attention(on, layer_, s.rows, s.call, workspace);
      case Call::kPrefill:
        return prefill_attention(on, layer_, s.rows, s.call, workspace);
      case Call::kPlannedTwice:
        plan_prefill_attention(on, layer_, s.call.num_q_heads, s.rows, workspace);
        planned_prefill_attention(on, layer_, s.rows, s.call, workspace);
        cudaMemsetAsync(s.out().data(), 0xFF, s.out().bytes(), on.stream);
        return planned_prefill_attention(on, layer_, s.rows, s.call, workspace);
    }
  }
  DeviceArray workspace(const Step& s) const {
    const size_t bytes =
        prefill_attention_workspace_bytes(layer_, heads_.query, s.rows.num_rows, s.rows.num_tokens);
    return {DType::kU8, {static_cast<int64_t>(bytes)}};
  }
  std::vector<float> run(Step& s, Call call) {
    const DeviceArray work = workspace(s);
    s.out().poison();
    start(s, call, {}, work.data());
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    const DeviceError error = take_error();
    EXPECT_EQ(error.code, cudaSuccess) << error.op;
    EXPECT_TRUE(work.guard_intact());
    EXPECT_TRUE(s.out().guard_intact());
    return s.out().read();
  }

  std::vector<float> reference(const Step& s, int first_row) {
    const DeviceArray out(DType::kF32, {int64_t{s.rows.num_tokens} * heads_.query * heads_.dim});
    const dim3 grid(s.rows.num_tokens - first_row, heads_.query);  // a decode row is one token
    if (layer_.dtype == DType::kBF16) {
      reference_kernel<__nv_bfloat16>
          <<<grid, 32>>>(layer_, s.rows, s.call, first_row, out.as<float>());
    } else {
      reference_kernel<__half><<<grid, 32>>>(layer_, s.rows, s.call, first_row, out.as<float>());
    }
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    return out.read();
  }

  // Every token of the rows from first_row on agrees with the reference, and no other was written.
  void expect_right(Step& s, Call call, const std::string& what) {
    const int first_row = call == Call::kInvariant ? 0 : s.rows.num_decode_rows;
    const std::vector<float> out = run(s, call);
    const std::vector<float> ref = reference(s, first_row);
    const double limit = layer_.dtype == DType::kBF16 ? 0.02 : 0.003;
    size_t at = 0;
    for (size_t r = 0; r < s.spec.size(); ++r) {
      for (int p = s.spec[r].begin; p < s.spec[r].end; ++p) {
        for (int h = 0; h < heads_.query; ++h, at += heads_.dim) {
          double error = 0, norm = 0;
          bool untouched = true;
          for (int d = 0; d < heads_.dim; ++d) {
            error += std::pow(double{out[at + d]} - ref[at + d], 2);
            norm += std::pow(double{ref[at + d]}, 2);
            untouched = untouched && std::isnan(out[at + d]);
          }
          const bool right = static_cast<int>(r) < first_row ? untouched
                             : s.spec[r].sequence < 0
                                 ? error == 0
                                 : std::sqrt(error) <= limit * std::sqrt(norm) + 1e-6;
          ASSERT_TRUE(right) << what << ": row " << r << " position " << p << " of "
                             << s.spec[r].end << " head " << h << " error "
                             << std::sqrt(error / norm);
        }
      }
    }
  }

 private:
  // From a table: the tests need many.
  float normal() {
    static const std::vector<float> table = [] {
      std::mt19937 random(1);
      return testing::random_values(random, 1 << 14, DType::kBF16);
    }();
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return table[state_ >> 50];
  }

  std::mt19937& random_;
  uint64_t state_ = random_();
  std::vector<int> lengths_;
  Heads heads_;
  PagedLayer layer_;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<std::vector<float>> queries_;
  std::unique_ptr<DeviceArray> keys_, values_;
};

int pick(std::mt19937& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

// Three decode rows, some prefill rows that end where their sequences do, and padding.
void check_random_rows(std::mt19937& random, DType dtype, Heads heads, int block_size, int window,
                       int longest = 700) {
  std::vector<int> lengths;
  for (int i = 0; i < 9; ++i) lengths.push_back(pick(random, 1, i < 6 ? longest : 70));
  Sequences sequences(random, dtype, heads, block_size, lengths, window);
  std::vector<Row> rows;
  for (int i = 0; i < 9; ++i) {
    const int query = i < 3 ? 1 : pick(random, 1, i < 5 ? lengths[i] : std::min(40, lengths[i]));
    rows.push_back({i, lengths[i] - query, lengths[i]});
    if (i == 5) rows.push_back({-1, 0, 9});
  }
  rows.push_back({-1, 0, 1});
  auto step = sequences.step(rows, 3);
  const std::string what = "dim " + std::to_string(heads.dim) + " heads " +
                           std::to_string(heads.query) + "/" + std::to_string(heads.kv) +
                           " block " + std::to_string(block_size) + " window " +
                           std::to_string(window) + (dtype == DType::kF16 ? " f16" : " bf16");
  sequences.expect_right(step, Call::kPrefill, what);
  sequences.expect_right(step, Call::kInvariant, what + " invariant");
}

TEST(PrefillAttention, AgreesWithTheReferenceForEveryHeadDimAndType) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(2);
  for (int dim : {16, 32, 48, 64, 80, 96, 112, 128, 160, 256}) {
    for (DType dtype : {DType::kBF16, DType::kF16}) {
      check_random_rows(random, dtype, {8, 2, dim}, 32, 0);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(PrefillAttention, AgreesWithTheReferenceForEveryBlockSizeAndWindow) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(3);
  for (int dim : {64, 128, 256}) {
    for (int block_size : {16, 32, 48, 64, 256}) {
      for (int window : {0, 1, 17, 128, 300}) {
        check_random_rows(random, DType::kBF16, {4, 2, dim}, block_size, window, 500);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(PrefillAttention, AgreesWithTheReferenceForEveryNumberOfHeadsAGroup) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(4);
  for (Heads heads :
       {Heads{2, 2, 128}, Heads{4, 2, 128}, Heads{6, 2, 128}, Heads{10, 2, 128}, Heads{7, 1, 64},
        Heads{16, 2, 128}, Heads{71, 1, 64}, Heads{130, 1, 128}, Heads{200, 1, 64}}) {
    check_random_rows(random, DType::kBF16, heads, 32, 0, 300);
    if (HasFatalFailure()) return;
  }
}

TEST(PrefillAttention, ServesALongPromptAndALateChunk) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(5);
  for (int dim : {64, 128}) {
    Sequences sequences(random, DType::kBF16, {8, 2, dim}, 32, {4133, 20007});
    auto step = sequences.step({{0, 0, 4133}, {1, 20007 - 300, 20007}}, 0);
    sequences.expect_right(step, Call::kPrefill, "long");
    sequences.expect_right(step, Call::kPlannedTwice, "long, one plan for two calls");
  }
}

TEST(PrefillAttention, ServesHundredsOfShortRows) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(8);
  std::vector<int> lengths;
  std::vector<Row> rows;
  for (int i = 0; i < 700; ++i) {
    lengths.push_back(pick(random, 1, 300));
    const int query = pick(random, 1, std::min(40, lengths[i]));
    if (i % 50 == 7) rows.push_back({-1, 0, 3});
    rows.push_back({i, lengths[i] - query, lengths[i]});
  }
  Sequences sequences(random, DType::kF16, {8, 2, 128}, 16, lengths);
  auto step = sequences.step(rows, 0);
  sequences.expect_right(step, Call::kPlannedTwice, "many");
}

TEST(PrefillAttention, ATokensResultDependsOnNeitherItsChunkNorItsNeighbours) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(6);
  constexpr int kLength = 777;
  for (Heads heads :
       {Heads{8, 2, 128}, Heads{6, 2, 64}, Heads{4, 2, 256}, Heads{8, 2, 80}, Heads{4, 1, 32}}) {
    for (int window : {0, 200}) {
      const size_t line = static_cast<size_t>(heads.query) * heads.dim;
      Sequences sequences(random, DType::kBF16, heads, 32, {kLength, 300, 90}, window);
      auto whole = sequences.step({{0, 0, kLength}}, 0);
      const std::vector<float> expected = sequences.run(whole, Call::kInvariant);
      for (const std::vector<int>& cuts :
           {std::vector<int>{100, 101, 128, 500, kLength}, std::vector<int>{333, 334, kLength}}) {
        int begin = 0;
        for (int end : cuts) {
          // Beside a decode row and another prefill row.
          auto chunk = sequences.step({{1, 299, 300}, {2, 3, 90}, {0, begin, end}}, 1);
          const std::vector<float> out = sequences.run(chunk, Call::kInvariant);
          const size_t tokens = static_cast<size_t>(end - begin);
          EXPECT_TRUE(std::equal(out.end() - static_cast<ptrdiff_t>(tokens * line), out.end(),
                                 expected.begin() + static_cast<ptrdiff_t>(begin * line)))
              << "dim " << heads.dim << " window " << window << " chunk " << begin << ".." << end;
          begin = end;
        }
      }
      // As decode rows, the last of them first.
      std::vector<Row> rows;
      for (int p = kLength - 1; p >= 0; p -= 61) rows.push_back({0, p, p + 1});
      auto decode = sequences.step(rows, static_cast<int>(rows.size()));
      const std::vector<float> out = sequences.run(decode, Call::kInvariant);
      for (size_t r = 0; r < rows.size(); ++r) {
        const auto from = out.begin() + static_cast<ptrdiff_t>(r * line);
        EXPECT_TRUE(std::equal(from, from + static_cast<ptrdiff_t>(line),
                               expected.begin() + static_cast<ptrdiff_t>(rows[r].begin * line)))
            << "dim " << heads.dim << " window " << window << " decode at " << rows[r].begin;
      }
    }
  }
}

TEST(PrefillAttention, ACapturedCallFollowsTheLengthsOnTheDevice) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(7);
  Sequences sequences(random, DType::kBF16, {8, 2, 128}, 32, {400, 500});
  auto step = sequences.step({{0, 100, 400}, {1, 250, 500}}, 0);
  const DeviceArray work = sequences.workspace(step);
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  sequences.run(step, Call::kPrefill);  // load the kernels before the capture
  cudaGraph_t graph;
  cudaGraphExec_t replay;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  sequences.start(step, Call::kPrefill, {stream}, work.data());
  sequences.start(step, Call::kPlannedTwice, {stream}, work.data());
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&replay, graph, 0), cudaSuccess);

  // The same tokens, cut elsewhere: 50 more in the first row.
  auto moved = sequences.step({{0, 50, 400}, {1, 300, 500}}, 0);
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(step.arrays[i].bytes(), moved.arrays[i].bytes());
    cudaMemcpy(step.arrays[i].data(), moved.arrays[i].data(), step.arrays[i].bytes(),
               cudaMemcpyDeviceToDevice);
  }
  step.out().poison();
  cudaDeviceSynchronize();
  ASSERT_EQ(cudaGraphLaunch(replay, stream), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(take_error().code, cudaSuccess);
  const std::vector<float> out = step.out().read();
  EXPECT_EQ(out, sequences.run(moved, Call::kPrefill));
  cudaGraphExecDestroy(replay);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

}  // namespace
}  // namespace octavo::cuda
