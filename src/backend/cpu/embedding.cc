// Both move rows only. A table row is read from the packed weight that a tied head multiplies by:
// one value, or one pair of values, from each cache line, which costs far less than the layers that
// follow.
#include "backend/cpu/embedding.h"

#include <cstring>

#include "backend/cpu/linear_weight.h"

namespace octavo::cpu {
namespace {
constexpr int64_t kEmbeddingGrain = 4;
constexpr int64_t kGatherGrain = 32;
}  // namespace

void embedding(ThreadPool& pool, const EmbeddingArgs& args) {
  const auto& table = static_cast<const CpuLinearWeight&>(*args.table);
  const auto* positions = static_cast<const CpuLinearWeight*>(args.position_table);
  const int64_t width = table.spec().in_features;
  CHECK(args.out.dtype == DType::kF32 && args.out.count() == args.tokens.count() * width);
  pool.parallel_for(args.tokens.count(), kEmbeddingGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      float* out = args.out.as<float>() + t * width;
      table.read_row(args.tokens.as<int32_t>()[t], out);
      if (positions != nullptr) positions->add_row(args.positions.as<int32_t>()[t], out);
    }
  });
}

void gather_rows(ThreadPool& pool, const GatherRowsArgs& args) {
  const int64_t count = args.rows.count();
  if (count == 0) return;
  const size_t row_bytes = args.out.bytes() / static_cast<size_t>(count);
  const auto* from = static_cast<const char*>(args.x.data);
  auto* to = static_cast<char*>(args.out.data);
  pool.parallel_for(count, kGatherGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(to + static_cast<size_t>(i) * row_bytes,
                  from + static_cast<size_t>(args.rows.as<int32_t>()[i]) * row_bytes, row_bytes);
    }
  });
}

}  // namespace octavo::cpu
