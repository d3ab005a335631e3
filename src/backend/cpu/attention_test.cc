// rope_and_cache and attention against sums in double, and bit for bit against themselves under
// every way of cutting and batching, on every instruction set of this machine.
#include "backend/cpu/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "ops/testing_linear.h"

namespace octavo::cpu {
namespace {

using octavo::testing::GivenVector;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kNumBlocks = 200;

// Uniform with variance 1, by splitmix64.
std::vector<float> random_values(size_t n, uint64_t seed) {
  std::vector<float> values(n);
  for (float& v : values) {
    uint64_t z = seed += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    v = (static_cast<float>(z >> 40) * 0x1p-24f - 0.5f) * 3.4641f;
  }
  return values;
}

struct Geometry {
  int q_heads = 4, kv_heads = 2, head_dim = 64, block_size = 16, window = 0, rotary = 64;
  bool head_norm = false;
  DType dtype = DType::kBF16;
  int layers = 2, layer = 1;
  int spoilt_position = -1;  // whose values are infinite

  int qkv_size() const { return (q_heads + 2 * kv_heads) * head_dim; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(head_dim)); }
  // The projection's output for one token: a function of sequence and position alone.
  std::vector<float> qkv(int sequence, int position) const {
    auto x = random_values(qkv_size(), 7919ull * (1000 * sequence + position));
    if (position == spoilt_position) std::fill(x.end() - kv_heads * head_dim, x.end(), kInfinity);
    return x;
  }
};

std::string describe(const Geometry& s) {
  return std::to_string(s.q_heads) + "/" + std::to_string(s.kv_heads) + " heads of " +
         std::to_string(s.head_dim) + ", block " + std::to_string(s.block_size) + ", window " +
         std::to_string(s.window) + ", " + std::string(to_string(s.dtype));
}

struct Chunk {
  int sequence, tokens;
};

// Runs steps over growing sequences as an engine would: blocks come in random order, are full of
// NaN when they are handed out, and are taken back once they are outside the window.
class Runner {
 public:
  Runner(const Geometry& setup, Isa isa, int threads, uint32_t seed = 1)
      : s_(setup),
        isa_(isa),
        pool_(threads),
        cache_(make_cpu_kv_cache(
            {s_.layers, s_.kv_heads, s_.head_dim, s_.block_size, kNumBlocks, s_.window, s_.dtype})),
        q_norm_(random_values(s_.head_dim, 77)),
        k_norm_(random_values(s_.head_dim, 78)) {
    for (int b = 0; b < kNumBlocks; ++b) free_.push_back(b);
    std::shuffle(free_.begin(), free_.end(), std::mt19937(seed));
    cos_sin_.resize(static_cast<size_t>(kMaxPositions) * s_.rotary);
    for (int p = 0; p < kMaxPositions; ++p) {
      for (int i = 0; i < s_.rotary / 2; ++i) {
        const double angle = p * std::pow(10000.0, -2.0 * i / s_.rotary);
        cos_sin_[p * s_.rotary + i] = static_cast<float>(std::cos(angle));
        cos_sin_[p * s_.rotary + s_.rotary / 2 + i] = static_cast<float>(std::sin(angle));
      }
    }
  }

  void step(const std::vector<Chunk>& chunks) {
    Step step;
    for (const Chunk& c : chunks) add_row(c, step);
    run(step, static_cast<int>(chunks.size()));
    size_t token = 0;
    for (const Chunk& c : chunks) {
      int& length = lengths_[c.sequence];
      for (int i = 0; i < c.tokens; ++i, ++token, ++length) {
        const size_t size = static_cast<size_t>(s_.q_heads) * s_.head_dim;
        outputs_[{c.sequence, length}].assign(step.out.begin() + token * size,
                                              step.out.begin() + (token + 1) * size);
        queries_[{c.sequence, length}].assign(step.q.begin() + token * size,
                                              step.q.begin() + (token + 1) * size);
      }
      free_outside_window(c.sequence);
    }
  }

  // A whole sequence in chunks of at most `chunk` tokens.
  void run_alone(int sequence, int length, int chunk) {
    for (int done = 0; done < length; done += chunk)
      step({{sequence, std::min(chunk, length - done)}});
  }

  const std::vector<float>& output(int sequence, int position) {
    return outputs_.at({sequence, position});
  }
  const std::vector<float>& query(int sequence, int position) {
    return queries_.at({sequence, position});
  }
  const std::vector<float>& cos_sin() const { return cos_sin_; }
  const float* norm_weight(bool key) const {
    return (key ? k_norm_ : q_norm_).tensor().as<float>();
  }

  void read(int sequence, int position, int head, float* k, float* v) {
    cache_->read(s_.layer, slot(sequence, position), head, k, v);
  }

 private:
  static constexpr int kMaxPositions = 1024;

  struct Step {
    std::vector<int32_t> row_begin{0}, kv_len, positions, block_begin{0}, blocks;
    std::vector<int64_t> slots;
    std::vector<float> qkv, q, out;
  };

  int64_t slot(int sequence, int position) {
    return int64_t{tables_[sequence].at(position / s_.block_size)} * s_.block_size +
           position % s_.block_size;
  }

  void add_row(const Chunk& c, Step& step) {
    const int begin = lengths_[c.sequence], end = begin + c.tokens;
    auto& table = tables_[c.sequence];
    while (static_cast<int>(table.size()) * s_.block_size < end) {
      table.push_back(free_.back());
      free_.pop_back();
      poison(table.back());
    }
    for (int p = begin; p < end; ++p) {
      step.positions.push_back(p);
      step.slots.push_back(slot(c.sequence, p));
      const auto x = s_.qkv(c.sequence, p);
      step.qkv.insert(step.qkv.end(), x.begin(), x.end());
    }
    step.row_begin.push_back(step.row_begin.back() + c.tokens);
    step.kv_len.push_back(end);
    step.blocks.insert(step.blocks.end(), table.begin(), table.end());
    step.block_begin.push_back(static_cast<int32_t>(step.blocks.size()));
  }

  AttentionBatch batch_of(Step& s, int rows) {
    const auto tokens = static_cast<int64_t>(s.positions.size());
    AttentionBatch batch;
    batch.num_rows = rows;
    batch.num_tokens = static_cast<int>(tokens);
    batch.row_begin = {s.row_begin.data(), DType::kI32, {rows + 1}};
    batch.kv_len = {s.kv_len.data(), DType::kI32, {rows}};
    batch.positions = {s.positions.data(), DType::kI32, {tokens}};
    batch.block_begin = {s.block_begin.data(), DType::kI32, {rows + 1}};
    batch.blocks = {s.blocks.data(), DType::kI32, {static_cast<int64_t>(s.blocks.size())}};
    batch.slot_mapping = {s.slots.data(), DType::kI64, {tokens}};
    return batch;
  }

  void write(Step& s, const AttentionBatch& batch) {
    RopeAndCacheArgs rope;
    const int64_t tokens = batch.num_tokens;
    s.q.assign(tokens * s_.q_heads * s_.head_dim, kNan);
    rope.qkv = {s.qkv.data(), DType::kF32, {tokens, s_.qkv_size()}};
    rope.num_q_heads = s_.q_heads;
    rope.cache = cache_.get();
    rope.layer = s_.layer;
    rope.batch = &batch;
    rope.rotary_dims = s_.rotary;
    if (s_.rotary > 0) rope.cos_sin = {cos_sin_.data(), DType::kF32, {kMaxPositions, s_.rotary}};
    if (s_.head_norm) {
      rope.q_norm = &q_norm_;
      rope.k_norm = &k_norm_;
    }
    rope.q_out = {s.q.data(), DType::kF32, {tokens, s_.q_heads * s_.head_dim}};
    rope_and_cache(isa_, pool_, rope);
  }

  void run(Step& s, int rows) {
    const AttentionBatch batch = batch_of(s, rows);
    write(s, batch);
    s.out.assign(s.q.size(), kNan);
    AttentionArgs args;
    args.q = {s.q.data(), DType::kF32, {batch.num_tokens, s_.q_heads * s_.head_dim}};
    args.num_q_heads = s_.q_heads;
    args.cache = cache_.get();
    args.layer = s_.layer;
    args.batch = &batch;
    args.scale = s_.scale();
    args.out = {s.out.data(), DType::kF32, args.q.shape};
    attention(isa_, pool_, args);
  }

  void poison(int block) {
    Step s;
    for (int i = 0; i < s_.block_size; ++i) {
      s.positions.push_back(0);
      s.slots.push_back(int64_t{block} * s_.block_size + i);
    }
    s.qkv.assign(s_.block_size * s_.qkv_size(), kNan);
    write(s, batch_of(s, 0));
  }

  void free_outside_window(int sequence) {
    if (s_.window == 0) return;
    auto& table = tables_[sequence];
    const int oldest = lengths_[sequence] - s_.window + 1;  // that the next token sees
    for (int b = 0; (b + 1) * s_.block_size <= oldest; ++b) {
      if (table[b] < 0) continue;
      free_.insert(free_.begin(), table[b]);
      poison(table[b]);
      table[b] = -1;
    }
  }

  const Geometry s_;
  const Isa isa_;
  ThreadPool pool_;
  std::unique_ptr<KvCache> cache_;
  GivenVector q_norm_, k_norm_;
  std::vector<int> free_;
  std::vector<float> cos_sin_;
  std::map<int, int> lengths_;
  std::map<int, std::vector<int>> tables_;
  std::map<std::pair<int, int>, std::vector<float>> outputs_, queries_;
};

// Head `head` of q, k or v in double: `head` counts through all heads of the row.
std::vector<double> expected_head(const Geometry& s, const Runner& runner,
                                  const std::vector<float>& qkv, int head, int position) {
  const int kind = head < s.q_heads ? 0 : head < s.q_heads + s.kv_heads ? 1 : 2;
  std::vector<double> x(qkv.begin() + head * s.head_dim, qkv.begin() + (head + 1) * s.head_dim);
  if (kind == 2) return x;
  if (s.head_norm) {
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double factor = 1 / std::sqrt(squares / s.head_dim + 1e-6);
    for (int d = 0; d < s.head_dim; ++d) x[d] *= factor * runner.norm_weight(kind == 1)[d];
  }
  const int half = s.rotary / 2;
  const float* cos_sin = runner.cos_sin().data() + static_cast<size_t>(position) * s.rotary;
  for (int i = 0; i < half; ++i) {
    const double low = x[i], high = x[i + half], a = cos_sin[i], b = cos_sin[half + i];
    x[i] = low * a - high * b;
    x[i + half] = high * a + low * b;
  }
  return x;
}

double rounding_of(DType dtype) {
  return dtype == DType::kF32 ? 1e-6 : dtype == DType::kBF16 ? 0x1p-8 : 0x1p-11;
}

void check_rope(const Geometry& s, Runner& runner, int sequence, int position) {
  const auto qkv = s.qkv(sequence, position);
  for (int h = 0; h < s.q_heads; ++h) {
    const auto expected = expected_head(s, runner, qkv, h, position);
    for (int d = 0; d < s.head_dim; ++d) {
      ASSERT_NEAR(runner.query(sequence, position)[h * s.head_dim + d], expected[d], 1e-5)
          << describe(s);
    }
  }
  std::vector<float> k(s.head_dim), v(s.head_dim);
  for (int h = 0; h < s.kv_heads; ++h) {
    const auto key = expected_head(s, runner, qkv, s.q_heads + h, position);
    const auto value = expected_head(s, runner, qkv, s.q_heads + s.kv_heads + h, position);
    runner.read(sequence, position, h, k.data(), v.data());
    for (int d = 0; d < s.head_dim; ++d) {
      ASSERT_NEAR(k[d], key[d], rounding_of(s.dtype) * std::abs(key[d]) + 1e-5) << describe(s);
      ASSERT_NEAR(v[d], value[d], rounding_of(s.dtype) * std::abs(value[d]) + 1e-5) << describe(s);
    }
  }
}

// Uses K and V as the cache holds them, so that only the arithmetic is compared.
void check_attention(const Geometry& s, Runner& runner, int sequence, int position) {
  const int group = s.q_heads / s.kv_heads;
  const int oldest = s.window > 0 ? std::max(0, position - s.window + 1) : 0;
  std::vector<float> k(s.head_dim), v(s.head_dim);
  for (int h = 0; h < s.q_heads; ++h) {
    const float* q = runner.query(sequence, position).data() + h * s.head_dim;
    std::vector<double> scores, out(s.head_dim);
    double maximum = -1e300, total = 0;
    for (int j = oldest; j <= position; ++j) {
      runner.read(sequence, j, h / group, k.data(), v.data());
      double score = 0;
      for (int d = 0; d < s.head_dim; ++d) score += static_cast<double>(q[d]) * k[d];
      scores.push_back(score * s.scale());
      maximum = std::max(maximum, scores.back());
    }
    for (int j = oldest; j <= position; ++j) {
      runner.read(sequence, j, h / group, k.data(), v.data());
      const double weight = std::exp(scores[j - oldest] - maximum);
      total += weight;
      for (int d = 0; d < s.head_dim; ++d) out[d] += weight * v[d];
    }
    for (int d = 0; d < s.head_dim; ++d) {
      ASSERT_NEAR(runner.output(sequence, position)[h * s.head_dim + d], out[d] / total, 1e-5)
          << describe(s) << " position " << position << " head " << h;
    }
  }
}

std::vector<Geometry> geometries() {
  std::vector<Geometry> all;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    all.push_back({4, 2, 64, 16, 0, 64, false, dtype});
    all.push_back({8, 1, 128, 32, 0, 128, true, dtype});
    all.push_back({3, 3, 80, 16, 40, 32, false, dtype});
    all.push_back({6, 2, 8, 48, 100, 0, false, dtype});
    all.push_back({5, 1, 96, 64, 0, 96, false, dtype});
    all.push_back({2, 2, 256, 16, 0, 20, true, dtype});
    all.push_back({71, 1, 24, 16, 17, 24, false, dtype});
  }
  return all;
}

TEST(Attention, AgreesWithSumsInDouble) {
  for (const Isa isa : machine_isas()) {
    for (const Geometry& s : geometries()) {
      Runner runner(s, isa, 2);
      runner.step({{0, 70}, {1, 3}, {2, 16}});
      runner.step({{0, 1}, {2, 50}, {1, 1}});
      runner.step({{1, 37}, {0, 1}, {2, 1}});
      for (const auto& [sequence, position] :
           std::vector<std::pair<int, int>>{{0, 71}, {1, 40}, {2, 66}}) {
        SCOPED_TRACE(to_string(isa));
        check_rope(s, runner, sequence, position);
        check_attention(s, runner, sequence, position);
        if (s.window == 0) {
          for (const int p : {0, 1, 15, 16, 33}) check_attention(s, runner, sequence, p);
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

void expect_same_bits(Runner& a, Runner& b, int sequence, int length, const Geometry& s,
                      const char* what) {
  for (int p = 0; p < length; ++p) {
    const auto &x = a.output(sequence, p), &y = b.output(sequence, p);
    ASSERT_EQ(x.size(), y.size());
    for (const float v : x)
      ASSERT_FALSE(std::isnan(v)) << describe(s) << ", " << what << ", position " << p;
    ASSERT_EQ(0, std::memcmp(x.data(), y.data(), x.size() * sizeof(float)))
        << describe(s) << ", " << what << ", position " << p;
  }
}

TEST(Attention, TokenIsTheSameBitsHoweverTheSequenceIsCut) {
  constexpr int kLength = 150;
  for (const Isa isa : machine_isas()) {
    for (const Geometry& s : geometries()) {
      SCOPED_TRACE(to_string(isa));
      Runner whole(s, isa, 1, 1);
      whole.run_alone(0, kLength, kLength);
      for (const int chunk : {1, 7, 16, 64}) {
        Runner cut(s, isa, 2, 1 + chunk);
        cut.run_alone(0, kLength, chunk);
        expect_same_bits(whole, cut, 0, kLength, s, ("chunk " + std::to_string(chunk)).c_str());
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Attention, TokenIsTheSameBitsAloneAndAmongOthers) {
  for (const Isa isa : machine_isas()) {
    for (const Geometry& s : geometries()) {
      SCOPED_TRACE(to_string(isa));
      Runner alone(s, isa, 1), together(s, isa, 3, 9);
      alone.run_alone(0, 90, 33);
      together.step({{1, 100}, {0, 20}, {2, 1}});
      together.step({{0, 69}, {1, 1}, {3, 64}});
      together.step({{3, 1}, {1, 1}, {2, 5}, {0, 1}});
      expect_same_bits(alone, together, 0, 90, s, "among others");
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Attention, LaterTokenCannotReachAnEarlierOne) {
  // The values of token 20 are infinite; tokens before it in the same chunk must not notice.
  for (const Isa isa : machine_isas()) {
    for (const int heads : {1, 4}) {
      Geometry s;
      s.q_heads = heads;
      s.kv_heads = 1;
      Runner clean(s, isa, 1);
      clean.run_alone(0, 40, 40);
      s.spoilt_position = 20;
      Runner other(s, isa, 1);
      other.run_alone(0, 40, 40);
      expect_same_bits(clean, other, 0, 20, s, "before an infinite value");
      for (const float v : other.output(0, 20)) ASSERT_FALSE(std::isfinite(v));
    }
  }
}

TEST(KvCache, BlockBytesCountAllLayersAndHeads) {
  EXPECT_EQ(kv_block_bytes({2, 4, 64, 16, 10, 0, DType::kBF16}), 2u * 4 * 16 * (64 + 64) * 2);
  EXPECT_EQ(kv_block_bytes({1, 1, 24, 32, 10, 0, DType::kF32}), 32u * (24 + 32) * 4);
  const auto cache = make_cpu_kv_cache({2, 4, 64, 16, 10, 0, DType::kBF16});
  EXPECT_EQ(cache->bytes(), 10 * kv_block_bytes(cache->spec()));
  std::vector<float> k(64, 1), v(64, 1);
  cache->read(1, 159, 3, k.data(), v.data());
  EXPECT_EQ(k, std::vector<float>(64, 0));
  EXPECT_EQ(v, std::vector<float>(64, 0));
}

}  // namespace
}  // namespace octavo::cpu
