// A float is not finite when all bits of its exponent are set: when its magnitude, read as an
// integer, is at least that of infinity. So one maximum over integers decides, in a loop that
// compilers vectorise.
#include "weights/finite.h"

#include <algorithm>

namespace octavo {
namespace {

// `Bits` is signed, as SSE2 has no unsigned 16-bit maximum; the sign bit is masked out.
template <typename Bits>
bool below(const Bits* values, int64_t count, Bits mask, Bits infinity) {
  constexpr int64_t kBlock = 1 << 14;  // leave early from a bad tensor
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(count, begin + kBlock);
    Bits most = 0;
    for (int64_t i = begin; i < end; ++i) {
      const auto magnitude = static_cast<Bits>(values[i] & mask);
      most = magnitude > most ? magnitude : most;
    }
    if (most >= infinity) return false;
  }
  return true;
}

}  // namespace

bool all_finite(const Tensor& t) {
  switch (t.dtype) {
    case DType::kF32:
      return below<int32_t>(static_cast<const int32_t*>(t.data), t.count(), 0x7FFFFFFF, 0x7F800000);
    case DType::kBF16:
      return below<int16_t>(static_cast<const int16_t*>(t.data), t.count(), 0x7FFF, 0x7F80);
    case DType::kF16:
      return below<int16_t>(static_cast<const int16_t*>(t.data), t.count(), 0x7FFF, 0x7C00);
    default:
      CHECK(false && "all_finite of an integer tensor");
  }
}

}  // namespace octavo
