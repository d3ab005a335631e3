// Takes the tensors of the norms apart and hands rows to the kernels of one instruction set.
#include "backend/cpu/norm.h"

#include <algorithm>

#include "backend/cpu/norm_kernels.h"
#include "base/check.h"

namespace octavo::cpu {
namespace {

// Rows that are worth a task.
constexpr int64_t kElementsPerTask = 1 << 14;

const NormKernels& kernels(Isa isa) {
  switch (vector_isa(isa)) {
    case Isa::kAvx2:
      return avx2::kNormKernels;
    case Isa::kAvx512:
      return avx512::kNormKernels;
    default:
      return portable::kNormKernels;
  }
}

// Calls fn(first_row, rows) for all rows of x.
template <typename F>
void for_rows(ThreadPool& pool, const Tensor& x, F&& fn) {
  const int64_t rows = x.dim(0), size = x.dim(1);
  const int64_t grain = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, size));
  pool.parallel_for(rows, grain, [&](int64_t begin, int64_t end, int) { fn(begin, end - begin); });
}

}  // namespace

void rms_norm(Isa isa, ThreadPool& pool, const RmsNormArgs& args) {
  DCHECK(args.x.dtype == DType::kF32 && args.out.shape == args.x.shape);
  const int64_t size = args.x.dim(1);
  const float* weight = args.weight->tensor().as<float>();
  for_rows(pool, args.x, [&](int64_t first, int64_t rows) {
    kernels(isa).rms_norm(args.x.as<float>() + first * size, weight, args.eps, rows, size,
                          args.out.as<float>() + first * size);
  });
}

void layer_norm(Isa isa, ThreadPool& pool, const LayerNormArgs& args) {
  DCHECK(args.x.dtype == DType::kF32 && args.out.shape == args.x.shape);
  const int64_t size = args.x.dim(1);
  const float* weight = args.weight->tensor().as<float>();
  const float* bias = args.bias ? args.bias->tensor().as<float>() : nullptr;
  for_rows(pool, args.x, [&](int64_t first, int64_t rows) {
    kernels(isa).layer_norm(args.x.as<float>() + first * size, weight, bias, args.eps, rows, size,
                            args.out.as<float>() + first * size);
  });
}

}  // namespace octavo::cpu
