// Rates of the CPU's linear op beside the machine's limits, per instruction set, over the shapes of
// octavo-tiny and of a 1B Llama, bf16 weights unless said otherwise.
//   bench_cpu_linear [--threads N] [--isa NAME] [--dtype float32|bfloat16|float16] [--shape
//   tiny|1b] [--m M]
// Weights take turns so that they come from where they lie in a model: 1b from RAM (800 MB in all),
// tiny from the last-level cache (24 MB in all). Each figure is the median of samples of about 20
// ms, with the best in brackets; `read` and `fma` are the limits, measured in between.
#include <immintrin.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/linear.h"
#include "backend/cpu/linear_weight.h"
#include "cpu_timing.h"

namespace octavo::cpu {
namespace {

using bench::measure;
using bench::Seconds;

__attribute__((target("avx2"))) uint64_t read_all(const std::byte* p, int64_t n) {
  __m256i s[4] = {};
  for (int64_t i = 0; i + 128 <= n; i += 128) {
    __builtin_prefetch(p + i + 4096);
    __builtin_prefetch(p + i + 4160);
    for (int j = 0; j < 4; ++j) {
      s[j] = _mm256_xor_si256(s[j], _mm256_load_si256(reinterpret_cast<const __m256i*>(p + i) + j));
    }
  }
  uint64_t lanes[4];
  const __m256i all = _mm256_xor_si256(_mm256_xor_si256(s[0], s[1]), _mm256_xor_si256(s[2], s[3]));
  memcpy(lanes, &all, sizeof lanes);
  return lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3];
}

// Of one byte, read by all threads together: `bytes` of memory, round and round in pieces of 32
// MiB.
Seconds read_seconds_per_byte(ThreadPool& pool, const std::byte* memory, int64_t bytes) {
  const int64_t piece = std::min<int64_t>(bytes, 32 << 20);
  int64_t at = 0;
  volatile uint64_t sink = 0;
  Seconds r = measure([&] {
    if (at + piece > bytes) at = 0;
    pool.parallel_for(piece, 4096, [&](int64_t begin, int64_t end, int) {
      sink = sink ^ read_all(memory + at + begin, end - begin);
    });
    at += piece;
  });
  return {r.median / piece, r.best / piece};
}

// Twelve sums, so that none waits for the one before it.
__attribute__((target("avx512f"))) void fma512(int64_t n) {
  __m512 s[12], a = _mm512_set1_ps(1.5f), b = _mm512_set1_ps(0.25f);
  for (int i = 0; i < 12; ++i) s[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int64_t i = 0; i < n; ++i) {
    for (auto& v : s) v = _mm512_fmadd_ps(a, b, v);
    asm volatile("" : "+v"(a), "+v"(b));
  }
  for (auto& v : s) asm volatile("" ::"v"(v));
}
__attribute__((target("avx2,fma"))) void fma256(int64_t n) {
  __m256 s[12], a = _mm256_set1_ps(1.5f), b = _mm256_set1_ps(0.25f);
  for (int i = 0; i < 12; ++i) s[i] = _mm256_set1_ps(static_cast<float>(i));
  for (int64_t i = 0; i < n; ++i) {
    for (auto& v : s) v = _mm256_fmadd_ps(a, b, v);
    asm volatile("" : "+x"(a), "+x"(b));
  }
  for (auto& v : s) asm volatile("" ::"x"(v));
}

double gflops_peak(ThreadPool& pool, Isa isa) {
  const int64_t n = 500'000;
  if (isa == Isa::kPortable) return 0;
  const bool wide = vector_isa(isa) == Isa::kAvx512;
  Seconds r = measure([&] { pool.run([&](int) { wide ? fma512(n) : fma256(n); }); });
  return pool.size() * n * 12.0 * (wide ? 32 : 16) / r.median * 1e-9;
}

struct BenchShape {
  const char* model;
  int64_t n, k;
  bool gated;
};
constexpr BenchShape kShapes[] = {
    {"tiny", 640, 384, false},  {"tiny", 384, 384, false},  {"tiny", 2048, 384, true},
    {"tiny", 384, 1024, false}, {"tiny", 8192, 384, false}, {"1b", 3072, 2048, false},
    {"1b", 2048, 2048, false},  {"1b", 16384, 2048, true},  {"1b", 2048, 8192, false},
    {"1b", 32000, 2048, false},
};

struct Options {
  int threads = 1;
  std::string isa, shape;
  DType dtype = DType::kBF16;
  int64_t m = 0;
};

void bench_shape(const Options& o, Isa isa, const BenchShape& s, ThreadPool& pool) {
  const int64_t bytes = s.n * s.k * static_cast<int64_t>(size_of(o.dtype));
  const int64_t total = std::strcmp(s.model, "1b") == 0 ? int64_t{800} << 20 : int64_t{24} << 20;
  const int64_t copies = std::max<int64_t>(1, total / bytes);
  WeightMemory memory;
  std::vector<std::unique_ptr<CpuLinearWeight>> weights;
  std::vector<float> row(static_cast<size_t>(64 * s.k));
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i * 37 % 101) * 0.01f - 0.5f;
  Tensor source{row.data(), DType::kF32, {64, s.k}};
  for (int64_t i = 0; i < copies; ++i) {
    weights.push_back(
        std::make_unique<CpuLinearWeight>(isa, memory, LinearSpec{s.n, s.k, o.dtype, s.gated}));
    // Real values in the first rows; the rest is zero, but written, so that it has pages of its
    // own.
    auto* data = const_cast<char*>(weights.back()->packed().data);
    std::memset(data, 0, weights.back()->bytes());
    weights.back()->load_rows(0, source);
  }
  const Seconds read = read_seconds_per_byte(
      pool, reinterpret_cast<const std::byte*>(weights[0]->packed().data), copies * bytes);
  const double peak = gflops_peak(pool, isa);
  LinearScratch scratch;
  for (int64_t m : {1, 4, 16, 64, 512}) {
    if (o.m != 0 && m != o.m) continue;
    const int64_t columns = s.gated ? s.n / 2 : s.n;
    std::vector<float> x(static_cast<size_t>(m * s.k), 0.5f), out(static_cast<size_t>(m * columns));
    LinearArgs args;
    args.x = Tensor{x.data(), DType::kF32, {m, s.k}};
    args.out = Tensor{out.data(), DType::kF32, {m, columns}};
    args.activation = s.gated ? Activation::kSwiGlu : Activation::kNone;
    size_t turn = 0;
    const Seconds r = measure([&] {
      args.weight = weights[turn++ % weights.size()].get();
      linear(isa, pool, scratch, args);
    });
    const double flop = 2.0 * m * s.n * s.k;
    std::printf(
        "%-8s %-4s %5ldx%-5ld%s m %3ld  %9.3f ms  %6.1f GB/s (%5.1f; %3.0f%% of read %5.1f)  %7.1f "
        "GFLOP/s (%.1f; %3.0f%% of fma %.0f)\n",
        std::string(to_string(isa)).c_str(), s.model, s.n, s.k, s.gated ? "g" : " ", m,
        r.median * 1e3, bytes / r.median * 1e-9, bytes / r.best * 1e-9,
        100 * bytes * read.median / r.median, 1e-9 / read.median, flop / r.median * 1e-9,
        flop / r.best * 1e-9, peak > 0 ? 100 * flop / r.median * 1e-9 / peak : 0, peak);
    std::fflush(stdout);
  }
}

int run(const Options& o) {
  ThreadPool pool(o.threads);
  if (o.threads == 1) bench::clock_id = CLOCK_THREAD_CPUTIME_ID;
  for (Isa isa : machine_isas()) {
    if (!o.isa.empty() && o.isa != to_string(isa)) continue;
    for (const BenchShape& s : kShapes) {
      if (o.shape.empty() || o.shape == s.model) bench_shape(o, isa, s, pool);
    }
  }
  return 0;
}

}  // namespace
}  // namespace octavo::cpu

int main(int argc, char** argv) {
  octavo::cpu::Options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--threads") o.threads = std::atoi(value.c_str());
    if (flag == "--isa") o.isa = value;
    if (flag == "--shape") o.shape = value;
    if (flag == "--m") o.m = std::atoi(value.c_str());
    if (flag == "--dtype") {
      auto dtype = octavo::parse_dtype(value);
      if (!dtype.ok()) return std::fprintf(stderr, "%s\n", dtype.status().message().c_str()), 2;
      o.dtype = *dtype;
    }
  }
  return octavo::cpu::run(o);
}
