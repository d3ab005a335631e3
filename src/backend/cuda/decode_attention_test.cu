#include "backend/cuda/decode_attention.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>

#include "backend/cuda/testing_device.h"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;

// A step of decode rows over a cache whose blocks lie in random order and hold NaN wherever no
// token is.
struct Scenario {
  DType dtype = DType::kBF16;
  int num_q_heads = 8, num_kv_heads = 2, head_dim = 128, block_size = 32, window = 0;
  std::vector<int> kv_len;               // 0: padding
  int other_tokens = 0;                  // of rows that are no decode rows
  std::vector<std::vector<int>> groups;  // member rows
  std::vector<int> prefix_len;           // of each group
  bool batch_invariant = false;
};

class Step {
 public:
  Step(const Scenario& scenario, uint32_t seed)
      : s_(scenario),
        random_(seed),
        num_rows_(static_cast<int>(s_.kv_len.size())),
        num_tokens_(num_rows_ + s_.other_tokens),
        scale_(1.0f / std::sqrt(static_cast<float>(s_.head_dim))) {
    lay_out_blocks();
    fill_cache();
    q_ = testing::random_values(random_, int64_t{num_tokens_} * s_.num_q_heads * s_.head_dim,
                                s_.dtype);
    device_q_.write(q_);
    write_rows(s_.kv_len);
  }

  // Lengths of a later step; no row grows beyond its length in the scenario.
  void write_rows(const std::vector<int>& kv_len) {
    s_.kv_len = kv_len;
    cudaMemcpy(device_kv_len_.data(), kv_len.data(), kv_len.size() * 4, cudaMemcpyHostToDevice);
  }

  void plan(const Launch& on) {
    plan_decode(on, layer(), rows(), prefixes(), s_.num_q_heads, s_.batch_invariant,
                workspace_.data());
  }
  void attend(const Launch& on, const RopeAndCacheCall* append = nullptr) {
    AttentionCall call;
    call.q = device_q_.data();
    call.num_q_heads = s_.num_q_heads;
    call.scale = scale_;
    call.out = out_.data();
    call.batch_invariant = s_.batch_invariant;
    decode_attention(on, layer(), rows(), prefixes(), call, append, workspace_.data());
  }
  std::vector<float> run() {
    out_.poison();
    plan({});
    attend({});
    return result();
  }
  std::vector<float> result() {
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(take_error().code, cudaSuccess);
    EXPECT_TRUE(out_.guard_intact());
    EXPECT_TRUE(workspace_.guard_intact());
    std::vector<float> out = out_.read();
    const size_t ours = static_cast<size_t>(num_rows_) * width();
    for (size_t i = ours; i < out.size(); ++i) EXPECT_TRUE(std::isnan(out[i]));
    out.resize(ours);
    return out;
  }
  void poison_out() { out_.poison(); }

  // What a step leaves behind whose queries, keys and values come from a projection, which is the
  // same in every call.
  struct Appended {
    std::vector<float> out, keys, values;
  };
  Appended run_appending(int rotary_dims, bool norms, bool in_one) {
    std::mt19937 random(7);
    const int dim = s_.head_dim, heads = s_.num_q_heads + 2 * s_.num_kv_heads;
    const auto values = [&](int64_t rows, int64_t width, DType dtype) {
      return DeviceArray(dtype, {rows, width}, testing::random_values(random, rows * width, dtype));
    };
    const int longest = *std::max_element(s_.kv_len.begin(), s_.kv_len.end());
    const DeviceArray qkv = values(num_rows_, int64_t{heads} * dim, s_.dtype),
                      table = values(longest, std::max(rotary_dims, 1), DType::kF32),
                      q_norm = values(1, dim, DType::kF32), k_norm = values(1, dim, DType::kF32);
    // The last tokens are not in the cache yet.
    std::vector<float> cache[2] = {keys_, values_};
    std::vector<int32_t> positions;
    std::vector<int64_t> slots;
    for (int r = 0; r < num_rows_; ++r) {
      const int last = s_.kv_len[r] - 1;
      positions.push_back(std::max(last, 0));
      slots.push_back(-1);
      if (last < 0) continue;
      slots.back() = int64_t{blocks_[block_begin_[r] + last / s_.block_size]} * s_.block_size +
                     last % s_.block_size;
      for (int h = 0; h < s_.num_kv_heads; ++h) {
        for (auto& c : cache) std::fill_n(c.begin() + line(r, h, last), dim, NAN);
      }
    }
    static_cast<DeviceArray&>(device_keys_).write(cache[0]);
    static_cast<DeviceArray&>(device_values_).write(cache[1]);
    const auto device_positions = DeviceArray::of_integers(DType::kI32, positions);
    const auto device_slots = DeviceArray::of_integers(DType::kI64, slots);
    device_q_.poison();
    const RopeAndCacheCall append{.qkv = qkv.data(),
                                  .num_q_heads = s_.num_q_heads,
                                  .rotary_dims = rotary_dims,
                                  .cos_sin = table.as<float>(),
                                  .q_norm = norms ? q_norm.as<float>() : nullptr,
                                  .k_norm = norms ? k_norm.as<float>() : nullptr,
                                  .norm_eps = 1e-6f,
                                  .q_out = in_one ? nullptr : device_q_.data()};
    out_.poison();
    plan({});
    if (!in_one) {
      PagedRows appended = rows();
      appended.positions = device_positions.as<int32_t>();
      appended.slot_mapping = device_slots.as<int64_t>();
      rope_and_cache({}, layer(), appended, append);
    }
    attend({}, in_one ? &append : nullptr);
    return {result(), static_cast<DeviceArray&>(device_keys_).read(),
            static_cast<DeviceArray&>(device_values_).read()};
  }

  std::vector<float> reference() const {
    std::vector<float> out(static_cast<size_t>(num_rows_) * width());
    const int group = s_.num_q_heads / s_.num_kv_heads, dim = s_.head_dim;
    std::vector<double> p;
    for (int r = 0; r < num_rows_; ++r) {
      const int end = s_.kv_len[r];
      const int begin = s_.window > 0 ? std::max(end - s_.window, 0) : 0;
      for (int h = 0; h < s_.num_q_heads && end > 0; ++h) {
        const float* q = &q_[static_cast<size_t>(r * s_.num_q_heads + h) * dim];
        p.assign(static_cast<size_t>(end - begin), 0);
        double top = -1e300, sum = 0;
        for (int j = begin; j < end; ++j) {
          const float* k = &keys_[line(r, h / group, j)];
          double& score = p[j - begin];
          for (int d = 0; d < dim; ++d) score += double{q[d]} * k[d];
          score *= scale_;
          top = std::max(top, score);
        }
        for (double& x : p) sum += x = std::exp(x - top);
        std::vector<double> o(static_cast<size_t>(dim));
        for (int j = begin; j < end; ++j) {
          const float* v = &values_[line(r, h / group, j)];
          for (int d = 0; d < dim; ++d) o[d] += p[j - begin] * v[d];
        }
        for (int d = 0; d < dim; ++d)
          out[static_cast<size_t>(r * s_.num_q_heads + h) * dim + d] =
              static_cast<float>(o[d] / sum);
      }
    }
    return out;
  }

  double tolerance() const { return s_.dtype == DType::kBF16 ? 6e-3 : 1e-3; }

 private:
  size_t width() const { return static_cast<size_t>(s_.num_q_heads * s_.head_dim); }
  size_t line(int row, int head, int token) const {
    const int block = blocks_[block_begin_[row] + token / s_.block_size];
    return ((size_t(block) * s_.num_kv_heads + head) * s_.block_size + token % s_.block_size) *
           s_.head_dim;
  }

  void lay_out_blocks() {
    std::vector<int> shared(s_.kv_len.size(), 0);  // leading blocks taken over from another row
    std::vector<int> from(s_.kv_len.size(), -1);
    for (size_t g = 0; g < s_.groups.size(); ++g) {
      for (size_t m = 1; m < s_.groups[g].size(); ++m) {
        shared[s_.groups[g][m]] = s_.prefix_len[g] / s_.block_size;
        from[s_.groups[g][m]] = s_.groups[g][0];
      }
    }
    int needed = 3;
    for (int len : s_.kv_len) needed += (len + s_.block_size - 1) / s_.block_size;
    num_blocks_ = needed;
    std::vector<int> free(static_cast<size_t>(needed));
    std::iota(free.begin(), free.end(), 0);
    std::shuffle(free.begin(), free.end(), random_);
    block_begin_ = {0};
    for (int r = 0; r < num_rows_; ++r) {
      const int end = s_.kv_len[r];
      for (int i = 0; i * s_.block_size < end; ++i) {
        if (i < shared[r]) {
          blocks_.push_back(-2);  // below
        } else if (s_.window > 0 && (i + 1) * s_.block_size <= end - s_.window) {
          blocks_.push_back(-1);
        } else {
          blocks_.push_back(free.back());
          free.pop_back();
        }
      }
      block_begin_.push_back(static_cast<int>(blocks_.size()));
    }
    for (int r = 0; r < num_rows_; ++r) {
      for (int i = 0; i < shared[r]; ++i)
        blocks_[block_begin_[r] + i] = blocks_[block_begin_[from[r]] + i];
    }
    if (blocks_.empty()) blocks_.push_back(-1);
    std::vector<int> row_begin(static_cast<size_t>(num_rows_) + 1);
    std::iota(row_begin.begin(), row_begin.end(), 0);
    std::vector<int> members, member_begin = {0};
    for (const auto& group : s_.groups) {
      members.insert(members.end(), group.begin(), group.end());
      member_begin.push_back(static_cast<int>(members.size()));
    }
    const auto upload = [](DeviceArray& array, const std::vector<int>& values) {
      cudaMemcpy(array.data(), values.data(), values.size() * 4, cudaMemcpyHostToDevice);
    };
    device_blocks_ = integers(blocks_.size());
    upload(device_blocks_, blocks_);
    upload(device_block_begin_, block_begin_);
    upload(device_row_begin_, row_begin);
    upload(num_groups_, {static_cast<int>(s_.groups.size())});
    upload(prefix_len_, s_.prefix_len);
    upload(member_begin_, member_begin);
    upload(members_, members);
  }

  void fill_cache() {
    const int64_t count = int64_t{num_blocks_} * s_.num_kv_heads * s_.block_size * s_.head_dim;
    keys_.assign(static_cast<size_t>(count), std::numeric_limits<float>::quiet_NaN());
    values_ = keys_;
    std::normal_distribution<float> normal;
    for (int r = 0; r < num_rows_; ++r) {
      for (int j = 0; j < s_.kv_len[r]; ++j) {
        if (blocks_[block_begin_[r] + j / s_.block_size] < 0) continue;
        if (s_.window > 0 && j < s_.kv_len[r] - s_.window) continue;
        for (int h = 0; h < s_.num_kv_heads; ++h) {
          const size_t at = line(r, h, j);
          if (!std::isnan(keys_[at])) continue;  // a shared block
          for (int d = 0; d < s_.head_dim; ++d) {
            keys_[at + d] = testing::round_to(s_.dtype, 1.5f * normal(random_));
            values_[at + d] = testing::round_to(s_.dtype, 1 + normal(random_));
          }
        }
      }
    }
    device_keys_ = DeviceArray(s_.dtype, {count}, keys_);
    device_values_ = DeviceArray(s_.dtype, {count}, values_);
  }

  PagedLayer layer() const {
    PagedLayer layer;
    layer.keys = device_keys_.data();
    layer.values = device_values_.data();
    layer.dtype = s_.dtype;
    layer.num_blocks = num_blocks_;
    layer.num_kv_heads = s_.num_kv_heads;
    layer.block_size = s_.block_size;
    layer.head_dim = s_.head_dim;
    layer.window = s_.window;
    return layer;
  }
  PagedRows rows() const {
    PagedRows rows;
    rows.num_rows = num_rows_ + (s_.other_tokens > 0 ? 1 : 0);
    rows.num_decode_rows = num_rows_;
    rows.num_tokens = num_tokens_;
    rows.row_begin = device_row_begin_.as<int32_t>();
    rows.kv_len = device_kv_len_.as<int32_t>();
    rows.block_begin = device_block_begin_.as<int32_t>();
    rows.blocks = device_blocks_.as<int32_t>();
    return rows;
  }
  SharedPrefixes prefixes() const {
    SharedPrefixes p;
    if (s_.groups.empty()) return p;
    p.capacity = SharedPrefixes::kMaxGroups;
    p.num_groups = num_groups_.as<int32_t>();
    p.prefix_len = prefix_len_.as<int32_t>();
    p.member_begin = member_begin_.as<int32_t>();
    p.members = members_.as<int32_t>();
    return p;
  }

  static DeviceArray integers(size_t count) {
    return {DType::kI32, {static_cast<int64_t>(std::max<size_t>(count, 1))}};
  }

  Scenario s_;
  std::mt19937 random_;
  int num_rows_, num_tokens_, num_blocks_ = 0;
  float scale_;
  std::vector<int> blocks_, block_begin_;
  std::vector<float> keys_, values_, q_;
  // Assignable stand-ins until the constructor knows the sizes.
  struct Slot {
    std::unique_ptr<DeviceArray> array;
    Slot& operator=(DeviceArray&& a) {
      array = std::make_unique<DeviceArray>(std::move(a));
      return *this;
    }
    operator DeviceArray&() { return *array; }
    void* data() const { return array->data(); }
    template <typename T>
    T* as() const {
      return array->as<T>();
    }
  };
  Slot device_blocks_, device_keys_, device_values_;
  DeviceArray device_block_begin_ = integers(s_.kv_len.size() + 1);
  DeviceArray device_row_begin_ = integers(s_.kv_len.size() + 1);
  DeviceArray device_kv_len_ = integers(s_.kv_len.size());
  DeviceArray num_groups_ = integers(1), prefix_len_ = integers(SharedPrefixes::kMaxGroups),
              member_begin_ = integers(SharedPrefixes::kMaxGroups + 1),
              members_ = integers(s_.kv_len.size());
  DeviceArray device_q_{s_.dtype, {num_tokens_, s_.num_q_heads* s_.head_dim}};
  DeviceArray out_{s_.dtype, {num_tokens_, s_.num_q_heads* s_.head_dim}};
  DeviceArray workspace_{DType::kU8,
                         {static_cast<int64_t>(decode_workspace_bytes(
                             num_rows_, s_.num_q_heads, s_.num_kv_heads, s_.head_dim))}};
};

void expect_right(const Scenario& scenario, uint32_t seed) {
  Step step(scenario, seed);
  const double error = testing::relative_error(step.run(), step.reference());
  EXPECT_LT(error, step.tolerance())
      << "q heads " << scenario.num_q_heads << ", kv heads " << scenario.num_kv_heads << ", dim "
      << scenario.head_dim << ", block " << scenario.block_size << ", window " << scenario.window
      << ", rows " << scenario.kv_len.size() << ", groups " << scenario.groups.size();
}

int pick(std::mt19937& random, std::initializer_list<int> from) {
  return from.begin()[random() % from.size()];
}

std::vector<int> random_lengths(std::mt19937& random, int rows, int longest) {
  std::vector<int> lengths(static_cast<size_t>(rows));
  for (int& length : lengths) {
    length = random() % 3 == 0 ? pick(random, {1, 15, 16, 17, 63, 64, 65, 128})
                               : 1 + static_cast<int>(random() % static_cast<unsigned>(longest));
  }
  return lengths;
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
