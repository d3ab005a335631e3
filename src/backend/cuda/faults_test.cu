// What a failed launch and a broken device look like from outside: an error that names the op, and
// one that says that the device is lost.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "backend/cuda/sampler.h"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/testing_device.h"
#include "ops/testing_sampler.h"

namespace octavo::cuda {
namespace {

__global__ void write_kernel(int* where) {
  sm90::let_next_start();
  sm90::wait_for_previous();
  *where = 1;
}

TEST(CudaFaults, ARefusedLaunchNamesItsOpAndHarmsNothing) {
  SKIP_WITHOUT_GPU();
  int* memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, sizeof(int)), cudaSuccess);
  launch("too_many_threads", Launch{}, {dim3(1), dim3(4096)}, write_kernel, memory);
  launch("follower", Launch{}, {dim3(1), dim3(1)}, write_kernel, memory);
  const DeviceError error = take_error();
  EXPECT_NE(error.code, cudaSuccess);
  EXPECT_STREQ(error.op, "too_many_threads");
  EXPECT_EQ(take_error().code, cudaSuccess) << "an error is told once";
  int value = 0;
  EXPECT_EQ(cudaMemcpy(&value, memory, sizeof(int), cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(value, 1);
  cudaGetLastError();
  cudaFree(memory);
}

// Breaks this process's device, then draws tokens behind it; ends the process.
[[noreturn]] void draw_on_a_broken_device() {
  constexpr int kSize = 1000;
  Launch on;
  cudaStreamCreateWithFlags(&on.stream, cudaStreamNonBlocking);
  const auto sampler = make_cuda_sampler({1, kSize, 100}, on, 64);
  sampler->set_slot(octavo::testing::setup_of(0, {}));
  const testing::DeviceArray logits(DType::kF32, {1, kSize}, std::vector<float>(kSize));
  launch("broken", on, {dim3(1), dim3(1)}, write_kernel, reinterpret_cast<int*>(8));
  const SampleRow row{SlotId(0), 0, {}, -1};
  SampledToken result;
  const Status status = sampler->sample(logits.tensor(), {&row, 1})->read({&result, 1});
  std::fprintf(stderr, "%s: %s\n", status.code() == StatusCode::kUnavailable ? "lost" : "not lost",
               status.to_string().c_str());
  std::_Exit(3);  // nothing of this context can be destroyed in order
}

TEST(CudaFaultsDeathTest, AKernelThatBreaksTheDeviceIsToldAsItsLoss) {
  SKIP_WITHOUT_GPU();
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a context does not outlive a fork
  EXPECT_EXIT(draw_on_a_broken_device(), ::testing::ExitedWithCode(3),
              "^lost: .*CUDA: .*illegal memory access");
}

}  // namespace
}  // namespace octavo::cuda
