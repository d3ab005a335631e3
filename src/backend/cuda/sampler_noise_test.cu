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

__global__ void noise_kernel(const uint32_t* words, int count, float* noise, float* bound) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  noise[i] = noise_of(words[i]);
  bound[i] = noise_bound(words[i]);
}

__global__ void words_kernel(uint64_t seed, uint32_t position, int count, uint32_t* words) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) words[i] = token_word(seed, position, static_cast<uint32_t>(i));
}

TEST(CudaNoise, HasTheBitsOfTheHostAndStaysBelowItsBound) {
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
  noise_kernel<<<(count + 255) / 256, 256>>>(in.as<uint32_t>(), count, noise.as<float>(),
                                             bound.as<float>());
  const std::vector<float> noises = noise.read(), bounds = bound.read();
  for (int i = 0; i < count; ++i) {
    const float expected = gumbel_noise(words[static_cast<size_t>(i)], Fused());
    const float on_device = noises[static_cast<size_t>(i)];
    ASSERT_EQ(std::bit_cast<uint32_t>(on_device), std::bit_cast<uint32_t>(expected)) << i;
    ASSERT_GE(bounds[static_cast<size_t>(i)], expected) << words[static_cast<size_t>(i)];
    if (expected > 4) ASSERT_LT(bounds[static_cast<size_t>(i)], expected + 0.08f);
  }
}

TEST(CudaNoise, PhiloxGivesTheWordsOfTheHost) {
  SKIP_WITHOUT_GPU();
  constexpr int kCount = 100000;
  constexpr uint64_t kSeed = 0x0123456789ABCDEF;
  const DeviceArray words(DType::kI32, {kCount});
  words_kernel<<<(kCount + 255) / 256, 256>>>(kSeed, 77, kCount, words.as<uint32_t>());
  std::vector<uint32_t> found(kCount);
  ASSERT_EQ(cudaMemcpy(found.data(), words.data(), words.bytes(), cudaMemcpyDeviceToHost),
            cudaSuccess);
  for (uint32_t i = 0; i < kCount; ++i) ASSERT_EQ(found[i], token_word(kSeed, 77, i));
}

}  // namespace
}  // namespace octavo::cuda
