// For the tests of decode attention: a step of decode rows over a paged cache, and what should come
// of it.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>

#include "backend/cuda/decode_attention.h"
#include "backend/cuda/testing_device.h"

namespace octavo::cuda::testing {

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
    q_ = random_values(random_, int64_t{num_tokens_} * s_.num_q_heads * s_.head_dim, s_.dtype);
    device_q_.write(q_);
    write_rows(s_.kv_len);
    cudaMemset(workspace_.data(), 0, mail_bytes());
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
    decode_attention(on, layer(), rows(), prefixes(), call, append, false, workspace_.data());
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
    std::vector<std::byte> mail(mail_bytes());
    cudaMemcpy(mail.data(), workspace_.data(), mail.size(), cudaMemcpyDeviceToHost);
    for (std::byte byte : mail) EXPECT_EQ(byte, std::byte{0});
    std::vector<float> out = out_.read();
    const size_t ours = static_cast<size_t>(num_rows_) * width();
    for (size_t i = ours; i < out.size(); ++i) EXPECT_TRUE(std::isnan(out[i]));
    out.resize(ours);
    return out;
  }
  void poison_out() { out_.poison(); }

  const Scenario& scenario() const { return s_; }
  struct Cache {
    std::vector<float> keys, values;
  };
  // The cache without the rows' last tokens.
  Cache cache_to_append_to() const {
    Cache cache = {keys_, values_};
    for (int r = 0; r < num_rows_; ++r) {
      const int last = s_.kv_len[r] - 1;
      for (int h = 0; h < s_.num_kv_heads && last >= 0; ++h) {
        for (auto* c : {&cache.keys, &cache.values})
          std::fill_n(c->begin() + line(r, h, last), s_.head_dim, NAN);
      }
    }
    return cache;
  }

  // What a step leaves behind whose queries, keys and values come from a projection, which is the
  // same in every call.
  struct Appended {
    std::vector<float> out, keys, values;
  };
  Appended run_appending(int rotary_dims, bool norms, bool in_one) {
    std::mt19937 random(7);
    const int dim = s_.head_dim, heads = s_.num_q_heads + 2 * s_.num_kv_heads;
    const auto values = [&](int64_t rows, int64_t width, DType dtype) {
      return DeviceArray(dtype, {rows, width}, random_values(random, rows * width, dtype));
    };
    const int longest = *std::max_element(s_.kv_len.begin(), s_.kv_len.end());
    const DeviceArray qkv = values(num_rows_, int64_t{heads} * dim, s_.dtype),
                      table = values(longest, std::max(rotary_dims, 1), DType::kF32),
                      q_norm = values(1, dim, DType::kF32), k_norm = values(1, dim, DType::kF32);
    std::vector<int32_t> positions;
    std::vector<int64_t> slots;
    for (int r = 0; r < num_rows_; ++r) {
      const int last = s_.kv_len[r] - 1;
      positions.push_back(std::max(last, 0));
      slots.push_back(-1);
      if (last < 0) continue;
      slots.back() = int64_t{blocks_[block_begin_[r] + last / s_.block_size]} * s_.block_size +
                     last % s_.block_size;
    }
    const Cache cache = cache_to_append_to();
    static_cast<DeviceArray&>(device_keys_).write(cache.keys);
    static_cast<DeviceArray&>(device_values_).write(cache.values);
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
  void* workspace() const { return workspace_.data(); }
  double tolerance() const { return s_.dtype == DType::kBF16 ? 6e-3 : 1e-3; }

 private:
  size_t mail_bytes() const {
    return decode_mail_bytes(s_.num_q_heads, s_.num_kv_heads, s_.head_dim);
  }
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
            keys_[at + d] = round_to(s_.dtype, 1.5f * normal(random_));
            values_[at + d] = round_to(s_.dtype, 1 + normal(random_));
          }
        }
      }
    }
    device_keys_ = DeviceArray(s_.dtype, {count}, keys_);
    device_values_ = DeviceArray(s_.dtype, {count}, values_);
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

inline int pick(std::mt19937& random, std::initializer_list<int> from) {
  return from.begin()[random() % from.size()];
}

inline std::vector<int> random_lengths(std::mt19937& random, int rows, int longest) {
  std::vector<int> lengths(static_cast<size_t>(rows));
  for (int& length : lengths) {
    length = random() % 3 == 0 ? pick(random, {1, 15, 16, 17, 63, 64, 65, 128})
                               : 1 + static_cast<int>(random() % static_cast<unsigned>(longest));
  }
  return lengths;
}

}  // namespace octavo::cuda::testing
