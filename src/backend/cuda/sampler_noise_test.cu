// The noise on the device: the bits of the host's, and a bound that holds.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "backend/cuda/sampler_row.cuh"
#include "backend/cuda/testing_device.h"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;

__global__ void noise_kernel(const uint32_t* words, int count, float* noise, float* bound,
                             uint32_t* from, uint32_t* from_more) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  noise[i] = noise_of(words[i]);
  bound[i] = noise_bound(words[i]);
  from[i] = noise_from(noise[i]);
  from_more[i] = noise_from(noise[i] + 0.1f);
}

__global__ void words_kernel(uint64_t seed, uint32_t position, int count, uint32_t* words) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (4 * i >= count) return;
  reinterpret_cast<uint4*>(words)[i] = words_of_four(seed, position, static_cast<uint32_t>(i));
}

template <typename T>
std::vector<T> bits_of(const DeviceArray& array) {
  std::vector<T> values(array.bytes() / sizeof(T));
  EXPECT_EQ(cudaMemcpy(values.data(), array.data(), array.bytes(), cudaMemcpyDeviceToHost),
            cudaSuccess);
  return values;
}

TEST(CudaNoise, HasTheBitsOfTheHostAndStaysWithinItsBounds) {
  SKIP_WITHOUT_GPU();
  std::mt19937 random(1);
  std::vector<uint32_t> words;
  for (uint32_t i = 0; i < 50000; ++i) {
    words.insert(words.end(), {i, ~i, (1u << 31) + i, (1u << 31) - i, i * 85899u});
  }
  while (words.size() < (1u << 22)) words.push_back(static_cast<uint32_t>(random()));
  const int count = static_cast<int>(words.size());
  const DeviceArray in = DeviceArray::of_integers(DType::kI32, words);
  const DeviceArray noise(DType::kF32, {count}), bound(DType::kF32, {count});
  const DeviceArray from(DType::kI32, {count}), from_more(DType::kI32, {count});
  noise_kernel<<<(count + 255) / 256, 256>>>(in.as<uint32_t>(), count, noise.as<float>(),
                                             bound.as<float>(), from.as<uint32_t>(),
                                             from_more.as<uint32_t>());
  const auto noises = bits_of<float>(noise), bounds = bits_of<float>(bound);
  const auto froms = bits_of<uint32_t>(from), froms_more = bits_of<uint32_t>(from_more);
  for (size_t i = 0; i < words.size(); ++i) {
    const float expected = gumbel_noise(words[i], Fused());
    ASSERT_EQ(std::bit_cast<uint32_t>(noises[i]), std::bit_cast<uint32_t>(expected)) << words[i];
    ASSERT_GE(bounds[i], expected) << words[i];
    ASSERT_LE(froms[i], words[i]);
    if (expected > 4 && ~words[i] > 1000) {  // and are of use
      ASSERT_LT(bounds[i], expected + 0.1f) << words[i];
      ASSERT_GT(froms_more[i], words[i]);
    }
  }
}

TEST(CudaNoise, PhiloxGivesTheWordsOfTheHost) {
  SKIP_WITHOUT_GPU();
  constexpr int kCount = 100000;
  constexpr uint64_t kSeed = 0x0123456789ABCDEF;
  const DeviceArray words(DType::kI32, {kCount});
  words_kernel<<<(kCount + 255) / 256, 256>>>(kSeed, 77, kCount, words.as<uint32_t>());
  const auto found = bits_of<uint32_t>(words);
  for (uint32_t i = 0; i < kCount; ++i) ASSERT_EQ(found[i], token_word(kSeed, 77, i));
}

}  // namespace
}  // namespace octavo::cuda
