// Decode attention on the GPU. Alone: time of one layer in a graph of many, and the rate at which
// the KV cache is read. In layers: what it adds to the products before and behind it. All rotates
// over more memory than the L2 cache holds.
//   cuda_decode [alone|layers]
#include <cuda_runtime.h>

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
#include "cuda_bench.cuh"

namespace octavo::cuda {
namespace {

using bench::check;
using bench::Memory;
using bench::Recording;
using bench::Spread;

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

struct Shape {
  const char* name;
  int num_q_heads, num_kv_heads, head_dim;
};
constexpr Shape kLlama8B = {"8B", 32, 8, 128};
constexpr Shape kQwen06B = {"0.6B", 16, 8, 128};

struct Pools {
  Memory memory;
  void* keys = random(kPoolBytes);
  void* values = random(kPoolBytes);
  void* q = random(64 << 20);
  void* out = memory.take(64 << 20);

 private:
  void* random(size_t bytes) { return memory.random(bytes / 2, Spread::kNormal, 1); }
};

PagedLayer make_layer(const Shape& shape, int num_blocks, int block_size) {
  PagedLayer layer;
  layer.num_blocks = num_blocks;
  layer.num_kv_heads = shape.num_kv_heads;
  layer.block_size = block_size;
  layer.head_dim = shape.head_dim;
  return layer;
}
void* make_workspace(Memory& memory, const Shape& shape, int num_rows) {
  const auto [_, q_heads, kv_heads, dim] = shape;
  void* const workspace = memory.take(decode_workspace_bytes(num_rows, q_heads, kv_heads, dim));
  check(cudaMemset(workspace, 0, decode_mail_bytes(q_heads, kv_heads, dim)));
  return workspace;
}

void measure_stream(const Pools& pools) {
  cudaStream_t stream;
  check(cudaStreamCreate(&stream));
  const size_t count = size_t{4} << 30 >> 4;
  const Recording reading(stream, [&] {
    read_all<<<132 * 8, 512, 0, stream>>>(static_cast<const uint4*>(pools.keys), count,
                                          static_cast<uint4*>(pools.out));
  });
  const Recording idling(stream, [&] {
    for (int i = 0; i < 100; ++i) launch("nothing", {stream}, {dim3(132), dim3(192)}, do_nothing);
  });
  const double time = reading.median_us(), empty = idling.median_us() / 100;
  std::printf("stream %.0f GB/s, an empty kernel %.2f us\n",
              static_cast<double>(count) * 16 / time / 1000, empty);
  cudaStreamDestroy(stream);
}

// `shared` tokens common to all rows, then `begin` to `end` tokens of each row's own, in shuffled
// blocks.
struct Tables {
  std::vector<int> kv_len, block_begin = {0}, blocks;
  int64_t tokens;  // the shared ones once
  int used;        // blocks
};
Tables make_tables(int num_rows, int begin, int end, int shared, int block_size) {
  std::mt19937 random(1);
  Tables t;
  t.tokens = shared;
  t.used = shared / block_size;
  for (int r = 0; r < num_rows; ++r) {
    const int own = begin + static_cast<int>(random() % static_cast<unsigned>(end - begin + 1));
    t.tokens += own;
    t.kv_len.push_back(shared + own);
    for (int i = 0; i * block_size < shared; ++i) t.blocks.push_back(i);
    for (int i = 0; i * block_size < own; ++i) t.blocks.push_back(t.used++);
    t.block_begin.push_back(static_cast<int>(t.blocks.size()));
  }
  std::vector<int> order(t.used);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  for (int& block : t.blocks) block = order[block];
  return t;
}

void measure(const Pools& pools, const Shape& shape, int num_rows, int begin, int end,
             int shared = 0, bool share = false, int block_size = 32) {
  const Tables tables = make_tables(num_rows, begin, end, shared, block_size);
  std::vector<int> row_begin(num_rows + 1), members(num_rows);
  std::iota(row_begin.begin(), row_begin.end(), 0);
  std::iota(members.begin(), members.end(), 0);
  const int64_t token_bytes = int64_t{2} * shape.num_kv_heads * shape.head_dim * 2;
  const int64_t half = int64_t{tables.used} * block_size * token_bytes / 2;
  const int distinct = static_cast<int>(
      std::min<int64_t>(kPoolBytes / half, std::max<int64_t>(2, (300 << 20) / half)));
  const int launches = std::max(distinct, 32);

  Memory memory;
  PagedRows rows;
  rows.num_rows = rows.num_decode_rows = rows.num_tokens = num_rows;
  rows.row_begin = memory.copy(row_begin);
  rows.kv_len = memory.copy(tables.kv_len);
  rows.block_begin = memory.copy(tables.block_begin);
  rows.blocks = memory.copy(tables.blocks);
  SharedPrefixes prefixes;
  if (share) {
    prefixes.capacity = SharedPrefixes::kMaxGroups;
    prefixes.num_groups = memory.copy<int>({1});
    prefixes.prefix_len = memory.copy<int>({shared});
    prefixes.member_begin = memory.copy<int>({0, num_rows});
    prefixes.members = memory.copy(members);
  }
  void* const workspace = make_workspace(memory, shape, num_rows);
  cudaStream_t stream;
  check(cudaStreamCreate(&stream));
  PagedLayer layer = make_layer(shape, tables.used, block_size);
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
  check(cudaStreamSynchronize(stream));
  const Recording plans(stream, [&] {
    for (int i = 0; i < 32; ++i) plan();
  });
  const Recording attentions(stream, [&] {
    for (int i = 0; i < launches; ++i) attend(i);
  });
  const double plan_time = plans.median_us() / 32, time = attentions.median_us() / launches;
  const double bytes = static_cast<double>(tables.tokens * token_bytes);
  std::printf("%-5s %4d x %5d-%-5d %s%-5d %9.2f us %8.0f GB/s   plan %.2f us\n", shape.name,
              num_rows, begin, end, share ? "shared " : "       ", shared, time,
              bytes / time / 1000, plan_time);
  std::fflush(stdout);
  bench::launches_ok();
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
  void* const workspace = make_workspace(memory, shape, num_rows);
  void* const product_workspace = memory.zeroed(skinny_linear_workspace_bytes());
  void* const qkv = memory.take(size_t{2} * num_rows * kQkv);
  cudaStream_t stream;
  check(cudaStreamCreate(&stream));

  PagedLayer layer = make_layer(shape, static_cast<int>(blocks.size()), kBlock);
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
    check(cudaStreamSynchronize(stream));
    times[mode] = Recording(stream, [&] { run(mode); }).median_us() / kLayers;
  }
  std::printf("layers %4d x %5d: %7.2f us, with attention %7.2f, early %7.2f: it adds %.2f, %.2f\n",
              num_rows, tokens, times[kNone], times[kLate], times[kEarly],
              times[kLate] - times[kNone], times[kEarly] - times[kNone]);
  std::fflush(stdout);
  bench::launches_ok();
  cudaStreamDestroy(stream);
}

}  // namespace
}  // namespace octavo::cuda

int main(int argc, char** argv) {
  using namespace octavo::cuda;
  const auto wanted = [&](const char* part) { return argc < 2 || std::strcmp(argv[1], part) == 0; };
  Pools pools;
  check(cudaDeviceSynchronize());
  if (wanted("layers")) {
    Memory memory;
    constexpr size_t kWeights = size_t{32} * 4096 * (6144 + 4096);
    const void* weights = memory.random(kWeights, Spread::kNormal, 0.015f);
    for (int rows : {1, 8, 32, 64}) {
      for (int tokens : {33, 160, 288, 1000, 8192}) measure_layers(pools, weights, rows, tokens);
    }
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
