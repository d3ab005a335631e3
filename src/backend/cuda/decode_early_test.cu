// Decode attention that begins before the projection is complete, in steps of several layers whose
// kernels overlap as far as they can: what must be there is, and what is not is waited for.

#include "backend/cuda/sm90.cuh"
#include "backend/cuda/testing_decode.h"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;
using testing::pick;
using testing::random_lengths;
using testing::Scenario;
using testing::Step;

// Stands for a projection that takes its time: the next kernel may start at once, `to` holds NaN
// for about 20 us, and then what a projection would write there.
__global__ void project_late(const uint4* from, uint4* to, int64_t count) {
  sm90::let_next_start();
  sm90::wait_for_previous();
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = first; i < count; i += stride) to[i] = {~0u, ~0u, ~0u, ~0u};
  for (const int64_t begin = clock64(); clock64() - begin < 40'000;) {
  }
  for (int64_t i = first; i < count; i += stride) to[i] = from[i];
}

std::vector<uint16_t> bits_of(const DeviceArray& array) {
  std::vector<uint16_t> bits(array.bytes() / 2);
  EXPECT_EQ(cudaMemcpy(bits.data(), array.data(), array.bytes(), cudaMemcpyDeviceToHost),
            cudaSuccess);
  return bits;
}

struct Rope {
  int rotary_dims = 0;
  bool norms = false;
};

// The layers of a model: each a projection and attention that appends, over a cache of its own.
class Layers {
 public:
  Layers(const Scenario& scenario, const Rope& rope, uint32_t seed)
      : step_(scenario, seed), rope_(rope), random_(seed), late_(floats(width())) {
    for (int i = 0; i < kLayers; ++i) layers_.emplace_back(*this);
  }

  // Before each step. No row grows beyond its length in the scenario.
  void begin(const std::vector<int>& kv_len) {
    step_.write_rows(kv_len);
    late_.poison();
    const Step::Cache cache = step_.cache_to_append_to();
    for (Layer& layer : layers_) {
      layer.keys.write(cache.keys);
      layer.values.write(cache.values);
      layer.out.poison();
    }
    cudaDeviceSynchronize();
  }

  void launch(const Launch& on, bool early) {
    for (int i = 0; i < kLayers; ++i) {
      Layer& layer = layers_[i];
      cuda::launch("project_late", on, {dim3(3), dim3(256)}, project_late,
                   static_cast<const uint4*>(layer.projection.as<uint4>()), late_.as<uint4>(),
                   static_cast<int64_t>(late_.bytes() / 16));
      if (i == 0) step_.plan(on);
      PagedLayer paged = step_.layer();
      paged.keys = layer.keys.data();
      paged.values = layer.values.data();
      AttentionCall call;
      call.num_q_heads = shape().num_q_heads;
      call.scale = 1.0f / std::sqrt(static_cast<float>(shape().head_dim));
      call.out = layer.out.data();
      const RopeAndCacheCall append{.qkv = late_.data(),
                                    .num_q_heads = shape().num_q_heads,
                                    .rotary_dims = rope_.rotary_dims,
                                    .cos_sin = turns_.as<float>(),
                                    .q_norm = rope_.norms ? norm_.as<float>() : nullptr,
                                    .k_norm = rope_.norms ? norm_.as<float>() : nullptr,
                                    .norm_eps = 1e-6f};
      decode_attention(on, paged, step_.rows(), {}, call, &append, early && i > 0,
                       step_.workspace());
    }
  }

  // Outputs and caches of all layers.
  std::vector<std::vector<uint16_t>> result() {
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(take_error().code, cudaSuccess);
    std::vector<std::vector<uint16_t>> bits;
    for (const Layer& layer : layers_) {
      for (const DeviceArray* array : {&layer.out, &layer.keys, &layer.values}) {
        EXPECT_TRUE(array->guard_intact());
        bits.push_back(bits_of(*array));
      }
      for (float x : layer.out.read()) EXPECT_FALSE(std::isnan(x));
    }
    return bits;
  }

  // The same step with every kernel after the end of the one before it.
  std::vector<std::vector<uint16_t>> one_after_the_other(const std::vector<int>& kv_len) {
    begin(kv_len);
    launch({.overlap = false}, /*early=*/false);
    return result();
  }

 private:
  static constexpr int kLayers = 5;
  static constexpr int64_t kLongest = 4096;  // kv_len
  struct Layer {
    DeviceArray keys, values, projection, out;

    explicit Layer(Layers& l)
        : keys(l.floats(l.cache_size())),
          values(l.floats(l.cache_size())),
          projection(l.floats(l.width())),
          out(l.floats(int64_t{l.shape().num_q_heads} * l.shape().head_dim * l.num_rows())) {
      projection.write(testing::random_values(l.random_, l.width(), l.shape().dtype));
    }
  };

  const Scenario& shape() const { return step_.scenario(); }
  int num_rows() const { return static_cast<int>(shape().kv_len.size()); }
  int64_t width() const {
    return int64_t{shape().num_q_heads + 2 * shape().num_kv_heads} * shape().head_dim * num_rows();
  }
  int64_t cache_size() const {
    return static_cast<int64_t>(step_.cache_to_append_to().keys.size());
  }
  DeviceArray floats(int64_t count) const { return {shape().dtype, {count}}; }

  Step step_;
  const Rope rope_;
  std::mt19937 random_;
  DeviceArray late_;  // where the projections write
  DeviceArray turns_{
      DType::kF32,
      {kLongest, std::max(rope_.rotary_dims, 1)},
      testing::random_values(random_, kLongest* std::max(rope_.rotary_dims, 1), DType::kF32)};
  DeviceArray norm_{
      DType::kF32, {256}, testing::random_values(random_, shape().head_dim, DType::kF32)};
  std::vector<Layer> layers_;
};

struct Shape {
  int q_heads, kv_heads, head_dim, block;
  Rope rope;
};
constexpr Shape kShapes[] = {{32, 8, 128, 32, {128, false}}, {16, 8, 128, 16, {128, true}},
                             {6, 2, 64, 16, {64, false}},    {4, 1, 80, 16, {32, false}},
                             {4, 2, 16, 16, {16, true}},     {16, 1, 256, 16, {64, false}},
                             {12, 12, 64, 16, {0, false}}};

Scenario scenario_of(const Shape& shape, const std::vector<int>& kv_len) {
  Scenario s;
  s.num_q_heads = shape.q_heads;
  s.num_kv_heads = shape.kv_heads;
  s.head_dim = shape.head_dim;
  s.block_size = shape.block;
  s.kv_len = kv_len;
  return s;
}

TEST(EarlyDecodeAttention, GivesTheBitsOfKernelsOneAfterTheOther) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(51);
  for (const Shape& shape : kShapes) {
    for (int rows : {1, 3, 40}) {
      Scenario s = scenario_of(shape, random_lengths(random, rows, rows == 1 ? 3000 : 400));
      s.dtype = rows == 3 ? DType::kF16 : DType::kBF16;
      s.window = rows == 3 ? 70 : 0;
      if (rows > 1) s.kv_len[1] = 0;
      SCOPED_TRACE(::testing::PrintToString(shape.head_dim) + " dims, " +
                   ::testing::PrintToString(rows) + " rows");
      Layers layers(s, shape.rope, random());
      const auto want = layers.one_after_the_other(s.kv_len);
      for (int i = 0; i < 3; ++i) {
        layers.begin(s.kv_len);
        layers.launch({}, /*early=*/true);
        ASSERT_EQ(layers.result(), want);
      }
    }
  }
}

TEST(EarlyDecodeAttention, FollowsThePlanOfItsOwnStep) {
  SKIP_WITHOUT_GPU();
  for (const Shape& shape : kShapes) {
    const std::vector<std::vector<int>> steps = {
        {900, 2000, 500, 333, 700, 800, 64, 500},
        {1, 64, 0, 300, 65, 0, 63, 17},
        {900, 0, 0, 1, 0, 0, 0, 0},
        {900, 2000, 500, 333, 700, 800, 64, 500},
        {0, 0, 0, 0, 0, 0, 0, 0},
        {450, 1999, 128, 129, 448, 513, 31, 499},
    };
    Layers layers(scenario_of(shape, steps[0]), shape.rope, 52);
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
    std::vector<std::vector<std::vector<uint16_t>>> want;
    for (const std::vector<int>& kv_len : steps) want.push_back(layers.one_after_the_other(kv_len));
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    layers.launch({stream}, /*early=*/true);
    ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
    for (size_t i = 0; i < steps.size(); ++i) {
      layers.begin(steps[i]);
      ASSERT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
      ASSERT_EQ(layers.result(), want[i]) << shape.head_dim << " dims, step " << i;
    }
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
  }
}

}  // namespace
}  // namespace octavo::cuda
