// What the host gives to a step arrives between the kernels of the step before and those of its
// own, however these overlap.
#include "backend/cuda/step_inputs.h"

#include "backend/cuda/sm90.cuh"
#include "backend/cuda/testing_device.h"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;

// Lets the next kernel start at once, and reads when that one has had time to run.
__global__ void read_late(const int32_t* from, int64_t count, int32_t* to) {
  sm90::let_next_start();
  sm90::wait_for_previous();
  for (const int64_t begin = clock64(); clock64() - begin < 40'000;) {
  }
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) to[i] = from[i];
}

// Reads as soon as it runs, like decode attention.
__global__ void read_early(const int32_t* from, int64_t count, int32_t* to) {
  __threadfence();
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) to[i] = from[i];
  sm90::let_next_start();
  sm90::wait_for_previous();
}

std::vector<int32_t> integers_of(const DeviceArray& array) {
  std::vector<int32_t> values(array.bytes() / 4);
  cudaMemcpy(values.data(), array.data(), array.bytes(), cudaMemcpyDeviceToHost);
  return values;
}

TEST(StepInputs, ReplaceThoseOfTheLastStepWhenItHasReadThemAndBeforeTheirOwnStarts) {
  SKIP_WITHOUT_GPU();
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  {
    StatusOr<std::unique_ptr<StepInputs>> inputs = StepInputs::create({stream});
    ASSERT_TRUE(inputs.ok()) << inputs.status().message();
    for (const int64_t count :
         {1, 5, 1000, 300'000}) {  // the last is more than a slot holds at first
      SCOPED_TRACE(count);
      constexpr int kSteps = 9;
      std::vector<DeviceArray> early, late;
      for (int step = 0; step < kSteps; ++step) {
        early.emplace_back(DType::kI32, Shape{count});
        late.emplace_back(DType::kI32, Shape{count});
        (*inputs)->begin_step();
        (*inputs)->stage(DType::kI32, {3});
        const Backend::Staged staged = (*inputs)->stage(DType::kI32, {count});
        auto* host = staged.host.as<int32_t>();
        for (int64_t i = 0; i < count; ++i) host[i] = static_cast<int32_t>(1000 * i + step);
        (*inputs)->send();
        const auto* from = static_cast<const int32_t*>(staged.device.data);
        const auto read = [&](const char* name, auto kernel, const DeviceArray& to) {
          launch(name, {stream}, {dim3(1), dim3(256)}, kernel, from, count, to.as<int32_t>());
        };
        read("read_early", read_early, early.back());
        read("read_late", read_late, late.back());
      }
      ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
      ASSERT_EQ(take_error().code, cudaSuccess);
      for (int step = 0; step < kSteps; ++step) {
        std::vector<int32_t> expected;
        for (int64_t i = 0; i < count; ++i)
          expected.push_back(static_cast<int32_t>(1000 * i + step));
        EXPECT_EQ(integers_of(early[static_cast<size_t>(step)]), expected) << "step " << step;
        EXPECT_EQ(integers_of(late[static_cast<size_t>(step)]), expected) << "step " << step;
      }
    }
  }
  cudaStreamDestroy(stream);
}

}  // namespace
}  // namespace octavo::cuda
