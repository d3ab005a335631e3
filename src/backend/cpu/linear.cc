#include "backend/cpu/linear.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "backend/cpu/linear_weight.h"
#include "base/rounding.h"

namespace octavo::cpu {
namespace {

Epilogue epilogue_of(Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return Epilogue::kNone;
    case Activation::kGelu:
      return Epilogue::kGelu;
    case Activation::kGeluTanh:
      return Epilogue::kGeluTanh;
    case Activation::kSwiGlu:
      return Epilogue::kSwiGlu;
  }
  return Epilogue::kNone;
}

LinearProblem problem_of(const LinearArgs& args) {
  const auto& weight = static_cast<const CpuLinearWeight&>(*args.weight);
  const LinearSpec& spec = weight.spec();
  LinearProblem p;
  p.weight = weight.packed();
  p.m = args.x.dim(0);
  p.columns = spec.gated ? spec.out_features / 2 : spec.out_features;
  p.epilogue = epilogue_of(args.activation);
  CHECK(spec.gated == (args.activation == Activation::kSwiGlu));
  CHECK(args.x.dim(1) == spec.in_features && args.x.dtype == DType::kF32);
  CHECK(args.out.dtype == DType::kF32 && args.out.count() == p.m * p.columns);
  p.x = args.x.as<float>();
  p.out = args.out.as<float>();
  if (args.bias != nullptr) {
    CHECK(args.bias->tensor().count() == spec.out_features);
    p.bias = args.bias->tensor().as<float>();
  }
  if (args.residual.defined()) {
    CHECK(args.residual.dtype == DType::kF32 && args.residual.count() == args.out.count());
    p.residual = args.residual.as<float>();
  }
  return p;
}

// How the output is cut: into `m_parts` by `pair_parts`, one part a thread. Columns are cut first,
// because then each thread reads its own share of the weight; rows where there are too few pairs to
// go round evenly.
struct Cut {
  int m_parts = 1;
  int pair_parts = 1;
};

constexpr int64_t kRowGrain = 16;
constexpr int64_t kMinRowsToCut = 64;

Cut cut(const LinearProblem& p, int threads) {
  const int64_t row_units = p.m < kMinRowsToCut ? 1 : p.m / kRowGrain;
  Cut best;
  int64_t best_cost = INT64_MAX;
  for (int m_parts = 1; m_parts <= threads && m_parts <= row_units; ++m_parts) {
    const int pair_parts = static_cast<int>(std::min<int64_t>(threads / m_parts, p.weight.pairs));
    // The work of the busiest thread.
    const int64_t cost =
        divide_up<int64_t>(row_units, m_parts) * divide_up<int64_t>(p.weight.pairs, pair_parts);
    if (cost < best_cost) {
      best = {m_parts, pair_parts};
      best_cost = cost;
    }
  }
  return best;
}

LinearPart part_of(const LinearProblem& p, const Cut& cut, int index) {
  const int64_t row_units = divide_up(p.m, kRowGrain);
  const int64_t i = index % cut.m_parts, j = index / cut.m_parts;
  LinearPart part;
  part.m_begin = row_units * i / cut.m_parts * kRowGrain;
  part.m_end = std::min(p.m, row_units * (i + 1) / cut.m_parts * kRowGrain);
  part.pair_begin = p.weight.pairs * j / cut.pair_parts;
  part.pair_end = p.weight.pairs * (j + 1) / cut.pair_parts;
  return part;
}

}  // namespace

void LinearScratch::Free::operator()(std::byte* p) const {
  std::free(p);
}

std::byte* LinearScratch::reserve(size_t bytes) {
  if (bytes > size_) {
    data_.reset();
    size_ = 0;
    bytes = round_up<size_t>(bytes + bytes / 4, 4096);
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, bytes)));
    if (!data_) throw std::bad_alloc();
    size_ = bytes;
  }
  return data_.get();
}

const LinearKernels& linear_kernels(Isa isa, WeightFormat format) {
  if (isa == Isa::kAmx && format == WeightFormat::kBF16) return amx::kLinearKernels;
  switch (vector_isa(isa)) {
    case Isa::kAvx512:
      return avx512::kLinearKernels;
    case Isa::kAvx2:
      return avx2::kLinearKernels;
    default:
      return portable::kLinearKernels;
  }
}

void linear(Isa isa, ThreadPool& pool, LinearScratch& scratch, const LinearArgs& args) {
  const auto& weight = static_cast<const CpuLinearWeight&>(*args.weight);
  linear(linear_kernels(isa, weight.packed().format), pool, scratch, args);
}

void linear(const LinearKernels& kernels, ThreadPool& pool, LinearScratch& scratch,
            const LinearArgs& args) {
  LinearProblem p = problem_of(args);
  if (p.m == 0) return;
  const Cut parts = cut(p, pool.size());
  const int count = parts.m_parts * parts.pair_parts;
  const size_t tiles_bytes =
      kernels.pack_x == nullptr ? 0 : round_up<size_t>(kernels.tiles_of_x_bytes(p), 4096);
  const size_t thread_bytes = round_up<size_t>(kernels.scratch_bytes(p), 4096);
  std::byte* memory = scratch.reserve(tiles_bytes + thread_bytes * static_cast<size_t>(count));
  if (tiles_bytes > 0) {
    auto* tiles = reinterpret_cast<uint16_t*>(memory);
    pool.parallel_for(p.m, kRowGrain, [&](int64_t begin, int64_t end, int) {
      kernels.pack_x(p, begin, end, tiles);
    });
    p.tiles_of_x = tiles;
  }
  pool.parallel_for(count, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      kernels.multiply(p, part_of(p, parts, static_cast<int>(i)),
                       memory + tiles_bytes + static_cast<size_t>(i) * thread_bytes);
    }
  });
}

}  // namespace octavo::cpu
