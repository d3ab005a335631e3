// Prefill attention on the GPU: time and TFLOP/s of causal attention (4 head_dim operations for
// each query head and each key that a token sees) over shapes of real models. A graph holds several
// calls on different queries, caches and outputs, more than 200 MB together, so that nothing is in
// L2 from the call before.
//
//   cuda_prefill [substring of the shapes to run ["planned": one plan for all calls]]
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "backend/cuda/prefill_attention.h"

namespace octavo::cuda {
namespace {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::printf("%s\n", cudaGetErrorString(error));
  std::exit(1);
}

// About N(0, 1): the sum of twelve uniform values, less 6.
__global__ void fill_normal(__nv_bfloat16* to, size_t count, uint32_t seed) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x) {
    uint64_t state = (i + 1) * 0x9E3779B97F4A7C15ull + seed;
    float sum = -6;
    for (int k = 0; k < 12; ++k) {
      state ^= state >> 29;
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      sum += static_cast<float>(state >> 40) * 0x1p-24f;
    }
    to[i] = __float2bfloat16_rn(sum);
  }
}
__nv_bfloat16* normal_array(size_t count) {
  static uint32_t seed = 1;
  void* data;
  check(cudaMalloc(&data, count * 2));
  fill_normal<<<1024, 256>>>(static_cast<__nv_bfloat16*>(data), count, seed++);
  return static_cast<__nv_bfloat16*>(data);
}
int32_t* upload(const std::vector<int32_t>& values) {
  void* data;
  check(cudaMalloc(&data, values.size() * 4));
  check(cudaMemcpy(data, values.data(), values.size() * 4, cudaMemcpyHostToDevice));
  return static_cast<int32_t*>(data);
}

struct Case {
  const char* name;
  int num_rows, query, kv;
  int q_heads, kv_heads, dim;
  int block_size = 32;
  int window = 0;
};

void run(const Case& s, bool planned) {
  const int blocks_a_row = (s.kv + s.block_size - 1) / s.block_size;
  const int num_blocks = blocks_a_row * s.num_rows;
  const int tokens = s.num_rows * s.query;
  const size_t cache = size_t(num_blocks) * s.block_size * s.kv_heads * s.dim;
  const size_t queries = size_t(tokens) * s.q_heads * s.dim;
  const int copies = std::clamp(int(250e6 / double(4 * cache + 4 * queries)) + 1, 2, 64);

  std::vector<int32_t> row_begin, kv_len(s.num_rows, s.kv), block_begin, blocks(num_blocks);
  for (int r = 0; r <= s.num_rows; ++r) {
    row_begin.push_back(r * s.query);
    block_begin.push_back(r * blocks_a_row);
  }
  std::iota(blocks.begin(), blocks.end(), 0);
  std::shuffle(blocks.begin(), blocks.end(), std::mt19937(1));
  PagedRows rows;
  rows.num_rows = s.num_rows;
  rows.num_tokens = tokens;
  rows.max_query_len = s.query;
  rows.max_kv_len = s.kv;
  rows.row_begin = upload(row_begin);
  rows.kv_len = upload(kv_len);
  rows.block_begin = upload(block_begin);
  rows.blocks = upload(blocks);
  PagedLayer layer;
  layer.num_blocks = num_blocks;
  layer.num_kv_heads = s.kv_heads;
  layer.block_size = s.block_size;
  layer.head_dim = s.dim;
  layer.window = s.window;
  void* workspace;
  check(cudaMalloc(&workspace,
                   prefill_attention_workspace_bytes(layer, s.q_heads, s.num_rows, tokens)));
  std::vector<PagedLayer> layers;
  std::vector<AttentionCall> calls;
  for (int i = 0; i < copies; ++i) {
    layer.keys = normal_array(cache);
    layer.values = normal_array(cache);
    layers.push_back(layer);
    AttentionCall call;
    call.q = normal_array(queries);
    call.out = normal_array(queries);
    call.num_q_heads = s.q_heads;
    call.scale = 1 / std::sqrt(float(s.dim));
    calls.push_back(call);
  }

  cudaStream_t stream;
  check(cudaStreamCreate(&stream));
  const auto call_all = [&] {
    for (int i = 0; i < copies; ++i) {
      if (i == 0 || !planned) {
        plan_prefill_attention({stream}, layers[i], s.q_heads, rows, workspace);
      }
      planned_prefill_attention({stream}, layers[i], rows, calls[i], workspace);
    }
  };
  call_all();
  check(cudaStreamSynchronize(stream));
  cudaGraph_t graph;
  cudaGraphExec_t replay;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  call_all();
  check(cudaStreamEndCapture(stream, &graph));
  check(cudaGraphInstantiate(&replay, graph, 0));
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  std::vector<float> times;
  for (int i = 0; i < 8; ++i) {
    check(cudaEventRecord(begin, stream));
    check(cudaGraphLaunch(replay, stream));
    check(cudaEventRecord(end, stream));
    check(cudaEventSynchronize(end));
    float ms;
    check(cudaEventElapsedTime(&ms, begin, end));
    if (i >= 2) times.push_back(ms / float(copies));
  }
  std::sort(times.begin(), times.end());
  const double ms = times[times.size() / 2];
  double seen = 0;  // by one head, over all tokens of a row
  for (int p = s.kv - s.query; p < s.kv; ++p) seen += s.window ? std::min(p + 1, s.window) : p + 1;
  const double flops = 4.0 * s.dim * s.q_heads * s.num_rows * seen;
  const double bytes = 4.0 * double(cache) + 4.0 * double(queries);
  std::printf(
      "%-28s %4d x %5d of %6d  %2d/%d x %3d  page %3d  %9.1f us  %6.1f TFLOP/s  %5.0f GB/s\n",
      s.name, s.num_rows, s.query, s.kv, s.q_heads, s.kv_heads, s.dim, s.block_size, ms * 1e3,
      flops / ms * 1e-9, bytes / ms * 1e-6);
  std::fflush(stdout);
  check(cudaGraphExecDestroy(replay));
  check(cudaGraphDestroy(graph));
  check(cudaStreamDestroy(stream));
  for (int i = 0; i < copies; ++i) {
    cudaFree(layers[i].keys);
    cudaFree(layers[i].values);
    cudaFree(const_cast<void*>(calls[i].q));
    cudaFree(calls[i].out);
  }
  cudaFree(workspace);
}

constexpr Case kCases[] = {
    {"8B prompt", 1, 7000, 7000, 32, 8, 128},
    {"8B prompt", 1, 2048, 2048, 32, 8, 128},
    {"8B prompts", 8, 1024, 1024, 32, 8, 128},
    {"8B prompt", 1, 128, 128, 32, 8, 128},
    {"8B prompt", 1, 512, 512, 32, 8, 128},
    {"8B prompts", 64, 128, 128, 32, 8, 128},
    {"8B late chunk", 1, 512, 8192, 32, 8, 128},
    {"8B late chunk", 1, 4096, 32768, 32, 8, 128},
    {"8B prompt page 16", 1, 7000, 7000, 32, 8, 128, 16},
    {"8B prompt page 64", 1, 7000, 7000, 32, 8, 128, 64},
    {"8B window", 1, 7000, 7000, 32, 8, 128, 32, 1024},
    {"0.6B prompts", 8, 1024, 1024, 16, 8, 128},
    {"dim 64", 1, 7000, 7000, 32, 8, 64},
    {"dim 64", 8, 1024, 1024, 32, 8, 64},
    {"dim 256", 1, 4096, 4096, 16, 8, 256},
    {"invariant decode", 128, 1, 1024, 32, 8, 128},
    {"dim 80", 1, 4096, 4096, 32, 8, 80},
    {"dim 96", 1, 4096, 4096, 32, 32, 96},
    {"8B long prompt", 1, 16384, 16384, 32, 8, 128},
};

}  // namespace
}  // namespace octavo::cuda

int main(int argc, char** argv) {
  using namespace octavo::cuda;
  for (const Case& shape : kCases) {
    if (argc < 2 || std::strstr(shape.name, argv[1]) != nullptr) run(shape, argc > 2);
  }
  const DeviceError error = take_error();
  if (error.code != cudaSuccess) std::printf("%s: %s\n", error.op, cudaGetErrorString(error.code));
  return error.code == cudaSuccess ? 0 : 1;
}
