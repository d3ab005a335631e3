// Prefill attention on the GPU: time and TFLOP/s of causal attention (4 head_dim operations for
// each query head and each key that a token sees) over shapes of real models. A graph holds several
// calls on different queries, caches and outputs, more than 200 MB together, so that nothing is in
// L2 from the call before.
//
//   cuda_prefill [substring of the shapes to run ["planned": one plan for all calls]]
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "backend/cuda/prefill_attention.h"
#include "cuda_bench.cuh"

namespace octavo::cuda {
namespace {

using bench::check;

struct Case {
  const char* name;
  int num_rows, query, kv;
  int q_heads, kv_heads, dim;
  int block_size = 32;
  int window = 0;
};

// Of one call, which moves `bytes` at the least.
void print_row(const Case& s, double ms, double bytes) {
  double seen = 0;  // by one head, over all tokens of a row
  for (int p = s.kv - s.query; p < s.kv; ++p) seen += s.window ? std::min(p + 1, s.window) : p + 1;
  const double flops = 4.0 * s.dim * s.q_heads * s.num_rows * seen;
  std::printf(
      "%-28s %4d x %5d of %6d  %2d/%d x %3d  page %3d  %9.1f us  %6.1f TFLOP/s  %5.0f GB/s\n",
      s.name, s.num_rows, s.query, s.kv, s.q_heads, s.kv_heads, s.dim, s.block_size, ms * 1e3,
      flops / ms * 1e-9, bytes / ms * 1e-6);
  std::fflush(stdout);
}

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
  bench::Memory memory;
  const auto random = [&](size_t count) { return memory.random(count, bench::Spread::kNormal, 1); };
  PagedRows rows;
  rows.num_rows = s.num_rows;
  rows.num_tokens = tokens;
  rows.max_query_len = s.query;
  rows.max_kv_len = s.kv;
  rows.row_begin = memory.copy(row_begin);
  rows.kv_len = memory.copy(kv_len);
  rows.block_begin = memory.copy(block_begin);
  rows.blocks = memory.copy(blocks);
  PagedLayer layer;
  layer.num_blocks = num_blocks;
  layer.num_kv_heads = s.kv_heads;
  layer.block_size = s.block_size;
  layer.head_dim = s.dim;
  layer.window = s.window;
  void* const workspace =
      memory.take(prefill_attention_workspace_bytes(layer, s.q_heads, s.num_rows, tokens));
  std::vector<PagedLayer> layers;
  std::vector<AttentionCall> calls;
  for (int i = 0; i < copies; ++i) {
    layer.keys = random(cache);
    layer.values = random(cache);
    layers.push_back(layer);
    AttentionCall call;
    call.q = random(queries);
    call.out = random(queries);
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
  const double ms = 1e-3 * bench::Recording(stream, call_all).median_us(6) / copies;
  print_row(s, ms, 4.0 * double(cache) + 4.0 * double(queries));
  check(cudaStreamDestroy(stream));
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
  return bench::launches_ok() ? 0 : 1;
}
