// Tests of tensor: number formats and the two allocators.
#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tensor/arena.h"

namespace octavo {
namespace {

TEST(NumberFormats, EveryF16ValueSurvivesARoundTrip) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float f = f16_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(f)) continue;
    EXPECT_EQ(float_to_f16(f), bits);
  }
}

TEST(NumberFormats, EveryBf16ValueSurvivesARoundTrip) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float f = bf16_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(f)) continue;
    EXPECT_EQ(float_to_bf16(f), bits);
  }
}

TEST(NumberFormats, RoundToNearestEven) {
  EXPECT_EQ(bf16_to_float(float_to_bf16(1.00390625f)), 1.0f);       // half way, down to even
  EXPECT_EQ(bf16_to_float(float_to_bf16(1.01171875f)), 1.015625f);  // half way, up to even
  EXPECT_EQ(f16_to_float(float_to_f16(65519.f)), 65504.f);
  EXPECT_TRUE(std::isinf(f16_to_float(float_to_f16(65520.f))));
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(NAN))));
}

TEST(NumberFormats, AWholeTensorIsReadInOrderWhateverItsType) {
  const std::vector<float> expected = {1, -2, 0.5f, 4, 8, -0.25f};
  std::vector<float> f32 = expected;
  std::vector<uint16_t> bf16, f16;
  for (const float value : expected) {
    bf16.push_back(float_to_bf16(value));
    f16.push_back(float_to_f16(value));
  }
  EXPECT_EQ(read_floats({f32.data(), DType::kF32, {2, 3}}), expected);
  EXPECT_EQ(read_floats({bf16.data(), DType::kBF16, {3, 2}}), expected);
  EXPECT_EQ(read_floats({f16.data(), DType::kF16, {6}}), expected);
  EXPECT_TRUE(read_floats({f32.data(), DType::kF32, {0, 3}}).empty());
}

TEST(Arena, CostsNoMemoryUntilTouchedAndReadsZero) {
  auto arena = Arena::reserve(MemoryTag::kKvCache, size_t{1} << 38);
  ASSERT_TRUE(arena.ok()) << arena.status().to_string();
  EXPECT_EQ((*arena)->data()[12345], std::byte{0});
  (*arena)->data()[12345] = std::byte{7};
  (*arena)->release_pages();
  EXPECT_EQ((*arena)->data()[12345], std::byte{0});
}

TEST(Workspace, KeepsEarlierTensorsWhenItGrowsAndReusesMemoryAfterReset) {
  Workspace w;
  Tensor a = w.allocate(DType::kF32, {1000});
  std::memset(a.data, 1, a.bytes());
  Tensor b = w.allocate(DType::kF32, {4 << 20});
  std::memset(b.data, 2, b.bytes());
  EXPECT_EQ(static_cast<char*>(a.data)[3999], 1);
  w.reset();
  Tensor c = w.allocate(DType::kF32, {1000});
  Tensor d = w.allocate(DType::kF32, {4 << 20});
  EXPECT_EQ(static_cast<char*>(c.data) + 4032, static_cast<char*>(d.data));
}

}  // namespace
}  // namespace octavo
