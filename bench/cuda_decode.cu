// Decode attention on the GPU. Alone: time of one layer in a graph of many, and the rate at which
// the KV cache is read. In layers: what it adds to the products before and behind it. All rotates
// over more memory than the L2 cache holds.
//   cuda_decode [alone|layers]

#include <cuda_bf16.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "backend/cuda/decode_attention.h"
#include "backend/cuda/skinny_linear.h"
#include "backend/cuda/sm90.cuh"

namespace octavo::cuda {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

// About N(0, 1): the sum of four uniform numbers.
__global__ void fill_random(__nv_bfloat16* to, size_t count, float scale) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x) {
    uint64_t x = (i + 1) * 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    x ^= x >> 31;
    const float sum =
        static_cast<float>((x & 0xFFFF) + (x >> 16 & 0xFFFF) + (x >> 32 & 0xFFFF) + (x >> 48));
    to[i] = __float2bfloat16(scale * (sum / 65536 - 2) * 1.732f);
  }
}

// Reads everything: what the memory can do on this machine.
__global__ void read_all(const uint4* from, size_t count, uint4* to) {
  uint4 sum = {};
  const size_t stride = size_t{gridDim.x} * blockDim.x * 8;
  for (size_t i = blockIdx.x * size_t{blockDim.x} * 8 + threadIdx.x; i < count; i += stride) {
    uint4 x[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) x[j] = __ldcs(from + i + j * size_t{blockDim.x});
#pragma unroll
    for (int j = 0; j < 8; ++j) sum.x ^= x[j].x ^ x[j].y ^ x[j].z ^ x[j].w;
  }
  if (sum.x == 0x12345678) *to = sum;  // never, which the compiler does not know
}
__global__ void do_nothing() {
  sm90::let_next_start();
  sm90::wait_for_previous();
}

constexpr size_t kPoolBytes = size_t{5} << 30;  // of keys, and of values

// Device memory of one measurement.
class Memory {
 public:
  ~Memory() {
    for (void* block : blocks_) cudaFree(block);
  }
  void* take(size_t bytes) {
    void* block = nullptr;
    check(cudaMalloc(&block, bytes), "malloc");
    blocks_.push_back(block);
    return block;
  }
  template <typename Value>
  Value* copy(const std::vector<Value>& values) {
    const size_t bytes = values.size() * sizeof(Value);
    void* block = take(bytes);
    check(cudaMemcpy(block, values.data(), bytes, cudaMemcpyHostToDevice), "memcpy");
    return static_cast<Value*>(block);
  }

 private:
  std::vector<void*> blocks_;
};

struct Shape {
  const char* name;
  int num_q_heads, num_kv_heads, head_dim;
};
constexpr Shape kLlama8B = {"8B", 32, 8, 128};
constexpr Shape kQwen06B = {"0.6B", 16, 8, 128};

struct Pools {
  void *keys, *values, *q, *out;
};

template <typename Body>
double graph_microseconds(cudaStream_t stream, Body body) {
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  body();
  check(cudaStreamEndCapture(stream, &graph), "capture");
  check(cudaGraphInstantiate(&executable, graph, 0), "instantiate");
  cudaEvent_t begin, end;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  std::vector<float> times;
  for (int i = 0; i < 7; ++i) {
    cudaEventRecord(begin, stream);
    check(cudaGraphLaunch(executable, stream), "launch");
    cudaEventRecord(end, stream);
    check(cudaStreamSynchronize(stream), "synchronize");
    float ms;
    cudaEventElapsedTime(&ms, begin, end);
    if (i >= 2) times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  return 1000.0 * times[times.size() / 2];
}

void measure_stream(const Pools& pools) {
  cudaStream_t stream;
  check(cudaStreamCreate(&stream), "stream");
  const size_t count = size_t{4} << 30 >> 4;
  const double time = graph_microseconds(stream, [&] {
    read_all<<<132 * 8, 512, 0, stream>>>(static_cast<const uint4*>(pools.keys), count,
                                          static_cast<uint4*>(pools.out));
  });
  const double empty =
      graph_microseconds(stream,
                         [&] {
                           for (int i = 0; i < 100; ++i)
                             launch("nothing", {stream}, {dim3(132), dim3(192)}, do_nothing);
                         }) /
      100;
  std::printf("stream %.0f GB/s, an empty kernel %.2f us\n",
              static_cast<double>(count) * 16 / time / 1000, empty);
  cudaStreamDestroy(stream);
}

// `shared` tokens common to all rows, then `begin` to `end` tokens of each row's own.
void measure(const Pools& pools, const Shape& shape, int num_rows, int begin, int end,
             int shared = 0, bool share = false, int block_size = 32) {
  std::mt19937 random(1);
  std::vector<int> kv_len, block_begin = {0}, blocks, row_begin(num_rows + 1), members(num_rows);
  std::iota(row_begin.begin(), row_begin.end(), 0);
  std::iota(members.begin(), members.end(), 0);
  int64_t tokens = shared;
  int used = shared / block_size;
  for (int r = 0; r < num_rows; ++r) {
    const int own = begin + static_cast<int>(random() % static_cast<unsigned>(end - begin + 1));
    tokens += own;
    kv_len.push_back(shared + own);
    for (int i = 0; i * block_size < shared; ++i) blocks.push_back(i);
    for (int i = 0; i * block_size < own; ++i) blocks.push_back(used++);
    block_begin.push_back(static_cast<int>(blocks.size()));
  }
  std::vector<int> order(used);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  for (int& block : blocks) block = order[block];

  const int64_t token_bytes = int64_t{2} * shape.num_kv_heads * shape.head_dim * 2;
  const int64_t half = int64_t{used} * block_size * token_bytes / 2;
  const int distinct = static_cast<int>(
      std::min<int64_t>(kPoolBytes / half, std::max<int64_t>(2, (300 << 20) / half)));
  const int launches = std::max(distinct, 32);

  Memory memory;
  PagedRows rows;
  rows.num_rows = rows.num_decode_rows = rows.num_tokens = num_rows;
  rows.row_begin = memory.copy(row_begin);
  rows.kv_len = memory.copy(kv_len);
  rows.block_begin = memory.copy(block_begin);
  rows.blocks = memory.copy(blocks);
  SharedPrefixes prefixes;
  if (share) {
    prefixes.capacity = SharedPrefixes::kMaxGroups;
    prefixes.num_groups = memory.copy<int>({1});
    prefixes.prefix_len = memory.copy<int>({shared});
    prefixes.member_begin = memory.copy<int>({0, num_rows});
    prefixes.members = memory.copy(members);
  }
  void* const workspace = memory.take(
      decode_workspace_bytes(num_rows, shape.num_q_heads, shape.num_kv_heads, shape.head_dim));
  check(cudaMemset(workspace, 0,
                   decode_mail_bytes(shape.num_q_heads, shape.num_kv_heads, shape.head_dim)),
        "memset");
  cudaStream_t stream;
  check(cudaStreamCreate(&stream), "stream");
  PagedLayer layer;
  layer.num_blocks = used;
  layer.num_kv_heads = shape.num_kv_heads;
  layer.block_size = block_size;
  layer.head_dim = shape.head_dim;
  const auto plan = [&] {
    plan_decode({stream}, layer, rows, prefixes, shape.num_q_heads, false, workspace);
  };
  const auto attend = [&](int i) {
    layer.keys = static_cast<char*>(pools.keys) + half * (i % distinct);
    layer.values = static_cast<char*>(pools.values) + half * (i % distinct);
    AttentionCall call;
    call.q = pools.q;
    call.num_q_heads = shape.num_q_heads;
    call.scale = 0.088f;
    call.out = pools.out;
    decode_attention({stream}, layer, rows, prefixes, call, nullptr, false, workspace);
  };
  plan();
  attend(0);
  check(cudaStreamSynchronize(stream), "first run");
  const double plan_time = graph_microseconds(stream,
                                              [&] {
                                                for (int i = 0; i < 32; ++i) plan();
                                              }) /
                           32;
  const double time = graph_microseconds(stream,
                                         [&] {
                                           for (int i = 0; i < launches; ++i) attend(i);
                                         }) /
                      launches;
  const double bytes = static_cast<double>(tokens * token_bytes);
  std::printf("%-5s %4d x %5d-%-5d %s%-5d %9.2f us %8.0f GB/s   plan %.2f us\n", shape.name,
              num_rows, begin, end, share ? "shared " : "       ", shared, time,
              bytes / time / 1000, plan_time);
  std::fflush(stdout);
  if (const DeviceError error = take_error(); error.code != cudaSuccess)
    std::printf("%s: %s\n", error.op, cudaGetErrorString(error.code));
  cudaStreamDestroy(stream);
}

// Layers of the 8B shape, attention and its two products: microseconds of one without attention,
// with attention that waits for the projection, and with attention that begins before its end.
void measure_layers(const Pools& pools, const void* weights, int num_rows, int tokens) {
  constexpr int kLayers = 32, kHidden = 4096, kQkv = 6144, kBlock = 32;
  constexpr Shape shape = kLlama8B;
  const int blocks_per_row = (tokens + kBlock - 1) / kBlock;
  std::vector<int> row_begin(num_rows + 1), block_begin, blocks(num_rows * blocks_per_row);
  std::iota(row_begin.begin(), row_begin.end(), 0);
  for (int r : row_begin) block_begin.push_back(r * blocks_per_row);
  std::iota(blocks.begin(), blocks.end(), 0);
  std::shuffle(blocks.begin(), blocks.end(), std::mt19937(1));
  std::vector<float> turns;  // by nothing
  for (int i = 0; i < tokens * shape.head_dim; ++i)
    turns.push_back(i % shape.head_dim < shape.head_dim / 2 ? 1 : 0);

  Memory memory;
  PagedRows rows;
  rows.num_rows = rows.num_decode_rows = rows.num_tokens = num_rows;
  rows.row_begin = memory.copy(row_begin);
  rows.kv_len = memory.copy(std::vector<int>(num_rows, tokens));
  rows.block_begin = memory.copy(block_begin);
  rows.blocks = memory.copy(blocks);
  const float* cos_sin = memory.copy(turns);
  void* const workspace = memory.take(
      decode_workspace_bytes(num_rows, shape.num_q_heads, shape.num_kv_heads, shape.head_dim));
  check(cudaMemset(workspace, 0,
                   decode_mail_bytes(shape.num_q_heads, shape.num_kv_heads, shape.head_dim)),
        "memset");
  void* const product_workspace = memory.take(skinny_linear_workspace_bytes());
  check(cudaMemset(product_workspace, 0, skinny_linear_workspace_bytes()), "memset");
  void* const qkv = memory.take(size_t{2} * num_rows * kQkv);
  cudaStream_t stream;
  check(cudaStreamCreate(&stream), "stream");

  PagedLayer layer;
  layer.num_blocks = static_cast<int>(blocks.size());
  layer.num_kv_heads = shape.num_kv_heads;
  layer.block_size = kBlock;
  layer.head_dim = shape.head_dim;
  const int64_t half = int64_t{layer.num_blocks} * kBlock * shape.num_kv_heads * shape.head_dim * 2;
  const int distinct = static_cast<int>(std::min<int64_t>(kLayers, kPoolBytes / half));
  enum Mode { kNone, kLate, kEarly };
  const auto run = [&](Mode mode) {
    const char* weight = static_cast<const char*>(weights);
    plan_decode({stream}, layer, rows, {}, shape.num_q_heads, false, workspace);
    for (int i = 0; i < kLayers; ++i) {
      LinearCall product;
      product.m = num_rows;
      product.n = kQkv;
      product.k = kHidden;
      product.x = pools.q;
      product.weight = weight;
      product.out = qkv;
      skinny_linear({stream}, product, product_workspace);
      weight += size_t{2} * kQkv * kHidden;
      layer.keys = static_cast<char*>(pools.keys) + half * (i % distinct);
      layer.values = static_cast<char*>(pools.values) + half * (i % distinct);
      AttentionCall call;
      call.num_q_heads = shape.num_q_heads;
      call.scale = 0.088f;
      call.out = pools.out;
      RopeAndCacheCall append;
      append.qkv = qkv;
      append.num_q_heads = shape.num_q_heads;
      append.rotary_dims = shape.head_dim;
      append.cos_sin = cos_sin;
      if (mode != kNone)
        decode_attention({stream}, layer, rows, {}, call, &append, mode == kEarly, workspace);
      product.n = kHidden;
      product.x = pools.out;
      product.weight = weight;
      product.out = pools.q;
      skinny_linear({stream}, product, product_workspace);
      weight += size_t{2} * kHidden * kHidden;
    }
  };
  double times[3];
  for (Mode mode : {kNone, kLate, kEarly}) {
    run(mode);
    check(cudaStreamSynchronize(stream), "first run");
    times[mode] = graph_microseconds(stream, [&] { run(mode); }) / kLayers;
  }
  std::printf("layers %4d x %5d: %7.2f us, with attention %7.2f, early %7.2f: it adds %.2f, %.2f\n",
              num_rows, tokens, times[kNone], times[kLate], times[kEarly],
              times[kLate] - times[kNone], times[kEarly] - times[kNone]);
  std::fflush(stdout);
  if (const DeviceError error = take_error(); error.code != cudaSuccess)
    std::printf("%s: %s\n", error.op, cudaGetErrorString(error.code));
  cudaStreamDestroy(stream);
}

}  // namespace
}  // namespace octavo::cuda

int main(int argc, char** argv) {
  using namespace octavo::cuda;
  const auto wanted = [&](const char* part) { return argc < 2 || std::strcmp(argv[1], part) == 0; };
  Pools pools;
  check(cudaMalloc(&pools.keys, kPoolBytes), "malloc");
  check(cudaMalloc(&pools.values, kPoolBytes), "malloc");
  check(cudaMalloc(&pools.q, 64 << 20), "malloc");
  check(cudaMalloc(&pools.out, 64 << 20), "malloc");
  fill_random<<<1024, 256>>>(static_cast<__nv_bfloat16*>(pools.keys), kPoolBytes / 2, 1);
  fill_random<<<1024, 256>>>(static_cast<__nv_bfloat16*>(pools.values), kPoolBytes / 2, 1);
  fill_random<<<1024, 256>>>(static_cast<__nv_bfloat16*>(pools.q), 32 << 20, 1);
  check(cudaDeviceSynchronize(), "fill");
  if (wanted("layers")) {
    constexpr size_t kWeights = size_t{32} * 4096 * (6144 + 4096);
    void* weights;
    check(cudaMalloc(&weights, kWeights * 2), "malloc");
    fill_random<<<1024, 256>>>(static_cast<__nv_bfloat16*>(weights), kWeights, 0.015f);
    for (int rows : {1, 8, 32, 64}) {
      for (int tokens : {33, 160, 288, 1000, 8192}) measure_layers(pools, weights, rows, tokens);
    }
    cudaFree(weights);
  }
  if (!wanted("alone")) return 0;
  measure_stream(pools);
  measure(pools, kLlama8B, 256, 1000, 1000);
  measure(pools, kLlama8B, 256, 200, 1800);
  measure(pools, kLlama8B, 512, 640, 640);
  measure(pools, kLlama8B, 128, 160, 160);
  measure(pools, kLlama8B, 32, 1000, 1000);
  measure(pools, kLlama8B, 8, 200, 200);
  measure(pools, kLlama8B, 1, 200, 200);
  measure(pools, kLlama8B, 1, 1000, 1000);
  measure(pools, kLlama8B, 1, 32768, 32768);
  measure(pools, kLlama8B, 8, 8192, 8192);
  measure(pools, kQwen06B, 256, 1000, 1000);
  measure(pools, kQwen06B, 128, 160, 160);
  measure(pools, kLlama8B, 256, 1000, 1000, 0, false, 16);
  measure(pools, kLlama8B, 256, 128, 192, 4096, true);
  measure(pools, kLlama8B, 256, 1, 1, 4096, true);
  measure(pools, kLlama8B, 256, 128, 192);
  return 0;
}
