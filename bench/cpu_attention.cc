// Rates of the CPU's attention, one layer a call, beside the machine's limits as bench_cpu_linear
// measures them: decode in GB/s of KV read, prefill in GFLOP/s of the products under the causal
// mask.
//   bench_cpu_attention [--threads N] [--isa NAME] [--dtype float32|bfloat16|float16] [--dim D]
//   [--heads Hq] [--kv-heads Hkv]
// Layers take turns, so that KV comes from where it lies in a model. Each figure is the median of
// samples of about 20 ms, with the best in brackets; with one thread in its own processor time.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "backend/cpu/attention.h"
#include "cpu_timing.h"

namespace octavo::cpu {
namespace {

using bench::Seconds;

struct Options {
  int threads = 1, dim = 64, heads = 32, kv_heads = 8;
  std::string isa;
  DType dtype = DType::kBF16;
};

// `rows` sequences of `length` positions of which the last `queries` are this step's.
struct Bench {
  Bench(const Options& options, int rows, int length, int queries)
      : o(options),
        rows(rows),
        length(length),
        queries(queries),
        blocks_per_row((length + 15) / 16) {
    const KvCacheSpec one{1, o.kv_heads, o.dim, 16, rows * blocks_per_row, 0, o.dtype};
    const auto layer_bytes = static_cast<int64_t>(kv_block_bytes(one)) * one.num_blocks;
    layers = static_cast<int>(std::clamp<int64_t>((400 << 20) / layer_bytes, 1, 32));
    KvCacheSpec spec = one;
    spec.num_layers = layers;
    cache = make_cpu_kv_cache(spec);
    const int tokens = rows * queries;
    row_begin.resize(rows + 1);
    for (int r = 0; r <= rows; ++r) row_begin[r] = r * queries;
    for (int r = 0; r <= rows; ++r) block_begin.push_back(r * blocks_per_row);
    kv_len.assign(rows, length);
    for (int t = 0; t < tokens; ++t) positions.push_back(length - queries + t % queries);
    table.resize(rows * blocks_per_row);
    std::iota(table.begin(), table.end(), 0);
    for (size_t i = 0; i < table.size(); ++i) std::swap(table[i], table[i * 7919 % table.size()]);
    q.assign(static_cast<size_t>(tokens) * o.heads * o.dim, 0.1f);
    out = q;
    fill();
  }

  AttentionBatch batch() {
    AttentionBatch b;
    b.num_rows = rows;
    b.num_tokens = rows * queries;
    b.row_begin = {row_begin.data(), DType::kI32, {rows + 1}};
    b.kv_len = {kv_len.data(), DType::kI32, {rows}};
    b.positions = {positions.data(), DType::kI32, {b.num_tokens}};
    b.block_begin = {block_begin.data(), DType::kI32, {rows + 1}};
    b.blocks = {table.data(), DType::kI32, {int64_t{rows} * blocks_per_row}};
    b.slot_mapping = {slots.data(), DType::kI64, {b.num_tokens}};
    return b;
  }

  // Gives every page of the cache memory of its own.
  void fill() {
    ThreadPool pool(1);
    const int count = rows * blocks_per_row * 16, size = (o.heads + 2 * o.kv_heads) * o.dim;
    std::vector<float> qkv(static_cast<size_t>(size));
    for (size_t i = 0; i < qkv.size(); ++i)
      qkv[i] = static_cast<float>(i * 37 % 101) * 0.02f - 1.0f;
    std::vector<float> q_out(static_cast<size_t>(o.heads) * o.dim);
    for (int layer = 0; layer < layers; ++layer) {
      for (int64_t slot = 0; slot < count; ++slot) {
        AttentionBatch b;
        int32_t position = 0;
        b.num_tokens = 1;
        b.positions = {&position, DType::kI32, {1}};
        b.slot_mapping = {&slot, DType::kI64, {1}};
        RopeAndCacheArgs args;
        args.qkv = {qkv.data(), DType::kF32, {1, size}};
        args.num_q_heads = o.heads;
        args.cache = cache.get();
        args.layer = layer;
        args.batch = &b;
        args.q_out = {q_out.data(), DType::kF32, {1, o.heads * o.dim}};
        rope_and_cache(machine_isas().back(), pool, args);
      }
    }
  }

  Seconds run(Isa isa, ThreadPool& pool) {
    const AttentionBatch b = batch();
    AttentionArgs args;
    args.q = {q.data(), DType::kF32, {b.num_tokens, o.heads * o.dim}};
    args.num_q_heads = o.heads;
    args.cache = cache.get();
    args.batch = &b;
    args.scale = 1 / std::sqrt(static_cast<float>(o.dim));
    args.out = {out.data(), DType::kF32, {b.num_tokens, o.heads * o.dim}};
    int turn = 0;
    return bench::measure([&] {
      args.layer = turn++ % layers;
      attention(isa, pool, args);
    });
  }

  const Options o;
  const int rows, length, queries, blocks_per_row;
  int layers = 1;
  std::unique_ptr<KvCache> cache;
  std::vector<int32_t> row_begin, kv_len, positions, block_begin, table;
  std::vector<int64_t> slots;
  std::vector<float> q, out;
};

void run(const Options& o) {
  ThreadPool pool(o.threads);
  if (o.threads == 1) bench::clock_id = CLOCK_THREAD_CPUTIME_ID;
  const struct {
    int rows, length, queries;
  } kCases[] = {{1, 512, 1},  {1, 4096, 1},  {1, 16384, 1}, {16, 512, 1},
                {64, 512, 1}, {1, 512, 512}, {1, 2048, 512}};
  for (const auto& c : kCases) {
    Bench bench(o, c.rows, c.length, c.queries);
    for (const Isa isa : machine_isas()) {
      if (!o.isa.empty() && o.isa != to_string(isa)) continue;
      const Seconds t = bench.run(isa, pool);
      const double seen =
          c.rows * (c.queries * (c.length - c.queries) + 0.5 * c.queries * (c.queries + 1));
      const double bytes = 2.0 * c.rows * c.length * o.kv_heads * o.dim * size_of(o.dtype);
      const double flop = 4 * seen * o.heads * o.dim;
      std::printf(
          "%-8s %d/%d heads of %d, %2d x %3d queries at %5d: %9.3f ms (%.3f)  %6.1f GB/s (%.1f)  "
          "%7.1f GFLOP/s (%.1f)\n",
          std::string(to_string(isa)).c_str(), o.heads, o.kv_heads, o.dim, c.rows, c.queries,
          c.length, t.median * 1e3, t.best * 1e3, bytes / t.median * 1e-9, bytes / t.best * 1e-9,
          flop / t.median * 1e-9, flop / t.best * 1e-9);
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace octavo::cpu

int main(int argc, char** argv) {
  octavo::cpu::Options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--threads") o.threads = std::atoi(value.c_str());
    if (flag == "--isa") o.isa = value;
    if (flag == "--dim") o.dim = std::atoi(value.c_str());
    if (flag == "--heads") o.heads = std::atoi(value.c_str());
    if (flag == "--kv-heads") o.kv_heads = std::atoi(value.c_str());
    if (flag == "--dtype") o.dtype = octavo::parse_dtype(value).value();
  }
  octavo::cpu::run(o);
}
