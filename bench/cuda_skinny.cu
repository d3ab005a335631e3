// Decode GEMMs (src/backend/cuda/skinny_linear.h) at the shapes of two models: each shape alone in
// a row of launches, and all products of a decode step in one graph, as the engine runs them.
// Weights are distinct for every layer, so they come from memory.
//   cuda_skinny [8b|0.6b|ROWS]...
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "backend/cuda/launch.h"
#include "backend/cuda/skinny_linear.h"

namespace {

using octavo::Activation;
using octavo::cuda::Launch;
using octavo::cuda::LinearCall;
using Linear = std::function<void(const Launch&, const LinearCall&, void*)>;

void require(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  std::exit(1);
}

__global__ void fill(__nv_bfloat16* to, int64_t count, float scale, uint32_t seed) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x) {
    uint64_t bits = (static_cast<uint64_t>(i) + seed) * 0x9E3779B97F4A7C15u;
    bits = (bits ^ bits >> 31) * 0xBF58476D1CE4E5B9u;
    to[i] = __float2bfloat16(scale * (static_cast<float>(bits >> 40) * 0x1p-23f - 1));
  }
}

struct Product {
  const char* name;
  int n, k;
  Activation activation;
  bool residual, out_is_float;
  bool normed;  // has a norm before it, which the product before that can carry
};

struct Model {
  const char* name;
  int layers;
  std::vector<Product> layer;  // qkv, o, gate_up, down
  Product head;

  int64_t weights() const {
    int64_t sum = 0;
    for (const Product& p : layer) sum += int64_t{p.n} * p.k;
    return sum * layers + int64_t{head.n} * head.k;
  }
};

const Model kModels[] = {
    {"8b",
     32,
     {{"qkv", 6144, 4096, Activation::kNone, false, false, true},
      {"o", 4096, 4096, Activation::kNone, true, false, false},
      {"gate_up", 28672, 4096, Activation::kSwiGlu, false, false, true},
      {"down", 4096, 14336, Activation::kNone, true, false, false}},
     {"head", 128256, 4096, Activation::kNone, false, true, true}},
    {"0.6b",
     28,
     {{"qkv", 4096, 1024, Activation::kNone, false, false, true},
      {"o", 1024, 2048, Activation::kNone, true, false, false},
      {"gate_up", 6144, 1024, Activation::kSwiGlu, false, false, true},
      {"down", 1024, 3072, Activation::kNone, true, false, false}},
     {"head", 151936, 1024, Activation::kNone, false, true, true}},
};

class Bench {
 public:
  explicit Bench(const Model& model) : model_(model) {
    require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    weights_ = allocate(model.weights(), 1e-3f, 1);
    for (size_t i = 0; i < 5; ++i) {
      activations_[i] = allocate(int64_t{128} * 28672, 1, static_cast<uint32_t>(i + 2));
    }
    logits_ = allocate(int64_t{128} * 2 * model.head.n, 1, 9);
    weighted_ = allocate(int64_t{64} * 4096, 1, 10);
    require(cudaMalloc(&gain_, size_t{4} * 4096));
    require(cudaMemset(gain_, 0x3F, size_t{4} * 4096));  // 0.747
    require(cudaMalloc(&squares_, size_t{4} * 64 * 64));
    require(cudaMemset(squares_, 0x3F, size_t{4} * 64 * 64));
    const size_t bytes = octavo::cuda::skinny_linear_workspace_bytes();
    require(cudaMalloc(&workspace_, bytes));
    require(cudaMemset(workspace_, 0, bytes));
    require(cudaDeviceSynchronize());
  }
  ~Bench() {
    for (void* p : memory_) cudaFree(p);
    cudaFree(gain_);
    cudaFree(squares_);
    cudaFree(workspace_);
    cudaStreamDestroy(stream_);
  }

  // Microseconds of one launch among many of this product in a row.
  double product(const Linear& linear, const Product& p, int m) {
    const int64_t size = int64_t{p.n} * p.k;
    const int64_t available = model_.weights() / size;
    const int launches = static_cast<int>(std::min<int64_t>(std::max<int64_t>(available, 4), 64));
    const double us = graph_us([&] {
      for (int i = 0; i < launches; ++i) {
        linear({stream_, i > 0}, call(p, m, weights_ + i % available * size, 0, 1, 2), workspace_);
      }
    });
    return us / launches;
  }
  // Microseconds of all products of a decode step.
  double step(const Linear& linear, int m) {
    return graph_us([&] {
      const __nv_bfloat16* weight = weights_;
      bool overlap = false;
      // hidden 0, qkv 1, attention 2, hidden after attention 3, gated 4
      const int from[] = {0, 2, 3, 4}, to[] = {1, 3, 4, 0}, add[] = {0, 0, 0, 3};
      for (int layer = 0; layer < model_.layers; ++layer) {
        for (size_t i = 0; i < model_.layer.size(); ++i) {
          const Product& p = model_.layer[i];
          linear({stream_, overlap}, call(p, m, weight, from[i], to[i], add[i]), workspace_);
          overlap = true;
          weight += int64_t{p.n} * p.k;
        }
      }
      linear({stream_, true}, call(model_.head, m, weight, 0, 0, 0), workspace_);
    });
  }
  const Model& model() const { return model_; }
  // From now on products carry the norms between them.
  void set_carry(bool on) { carry_ = on; }

 private:
  __nv_bfloat16* allocate(int64_t count, float scale, uint32_t seed) {
    void* p = nullptr;
    require(cudaMalloc(&p, static_cast<size_t>(count) * 2));
    memory_.push_back(p);
    fill<<<1024, 256>>>(static_cast<__nv_bfloat16*>(p), count, scale, seed);
    return static_cast<__nv_bfloat16*>(p);
  }
  LinearCall call(const Product& p, int m, const __nv_bfloat16* weight, int from, int to, int add) {
    LinearCall c;
    c.m = m;
    c.n = p.n;
    c.k = p.k;
    c.x = activations_[from];
    c.weight = weight;
    if (p.residual) c.residual = activations_[add];
    c.activation = p.activation;
    c.out = p.out_is_float ? logits_ : activations_[to];
    c.out_is_float = p.out_is_float;
    if (carry_ && p.normed && !p.out_is_float) {
      c.x = weighted_;
      c.squares = squares_;
      c.square_parts = p.k / 64;
    } else if (carry_ && p.residual) {
      c.next_gain = gain_;
      c.weighted = weighted_;
      c.squares_out = squares_;
    }
    return c;
  }
  template <typename Record>
  double graph_us(Record record) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    require(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    record();
    require(cudaStreamEndCapture(stream_, &graph));
    require(cudaGraphInstantiate(&exec, graph, 0));
    cudaEvent_t start, stop;
    require(cudaEventCreate(&start));
    require(cudaEventCreate(&stop));
    require(cudaGraphLaunch(exec, stream_));
    std::vector<float> times;
    constexpr int kReplays = 5;
    for (int i = 0; i < 5; ++i) {
      require(cudaEventRecord(start, stream_));
      for (int r = 0; r < kReplays; ++r) require(cudaGraphLaunch(exec, stream_));
      require(cudaEventRecord(stop, stream_));
      require(cudaStreamSynchronize(stream_));
      float ms = 0;
      require(cudaEventElapsedTime(&ms, start, stop));
      times.push_back(ms / kReplays);
    }
    std::sort(times.begin(), times.end());
    cudaEventDestroy(start);
    cudaEventDestroy(stop);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    const octavo::cuda::DeviceError error = octavo::cuda::take_error();
    if (error.code != cudaSuccess) std::fprintf(stderr, "%s: %d\n", error.op, error.code);
    return 1e3 * times[times.size() / 2];
  }

  const Model& model_;
  cudaStream_t stream_ = nullptr;
  std::vector<void*> memory_;
  __nv_bfloat16* weights_ = nullptr;
  __nv_bfloat16* activations_[5] = {};
  __nv_bfloat16* logits_ = nullptr;
  float *gain_ = nullptr, *squares_ = nullptr;
  __nv_bfloat16* weighted_ = nullptr;
  void* workspace_ = nullptr;
  bool carry_ = false;
};

// Microseconds per product, then the step; TB/s counts weights alone.
void print_head(const Model& model) {
  std::printf("%-28s %4s", model.name, "M");
  for (const Product& p : model.layer) std::printf(" %8s", p.name);
  std::printf(" %8s %9s %6s %6s\n", "head us", "step ms", "TB/s", "TF");
}
void print_row(Bench& bench, const char* label, const Linear& linear, int m) {
  std::printf("%-28s %4d", label, m);
  for (const Product& p : bench.model().layer) {
    std::printf(" %8.2f", bench.product(linear, p, m));
  }
  std::printf(" %8.1f", bench.product(linear, bench.model().head, m));
  const double us = bench.step(linear, m);
  const double weights = static_cast<double>(bench.model().weights());
  std::printf(" %9.3f %6.2f %6.0f\n", us / 1e3, 2 * weights / us / 1e6, 2 * weights * m / us / 1e6);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> models;
  std::vector<int> rows;
  for (int i = 1; i < argc; ++i) {
    const int number = std::atoi(argv[i]);
    if (std::string(argv[i]) == std::to_string(number)) {
      rows.push_back(number);
    } else {
      models.emplace_back(argv[i]);
    }
  }
  if (rows.empty()) rows = {1, 2, 8, 16, 32, 64, 128};
  for (const Model& model : kModels) {
    if (!models.empty() && std::find(models.begin(), models.end(), model.name) == models.end()) {
      continue;
    }
    Bench bench(model);
    print_head(model);
    for (int m : rows) {
      print_row(bench, "skinny_linear", octavo::cuda::skinny_linear, m);
      if (m > 64) continue;
      bench.set_carry(true);
      print_row(bench, "  with norms", octavo::cuda::skinny_linear, m);
      bench.set_carry(false);
    }
  }
}
