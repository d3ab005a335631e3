#include "backend/cuda/step_graphs.h"

#include <gtest/gtest.h>

#include "backend/cuda/testing_device.h"

namespace octavo::cuda {
namespace {

// A step that sets one byte a run, to see whether it was made, or recorded and launched.
class StepGraphsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_GPU();
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaMalloc(&byte_, 1), cudaSuccess);
  }
  void TearDown() override {
    if (stream_) cudaStreamDestroy(stream_);
    cudaFree(byte_);
  }
  // Whether the calls were being recorded.
  bool run(StepGraphs& graphs, uint64_t key, bool postponed = false) {
    graphs.begin_recording(key);
    const bool recorded = graphs.recording();
    cudaMemsetAsync(byte_, 1, 1, stream_);
    if (postponed) graphs.postpone();
    graphs.end_recording();
    EXPECT_TRUE(was_launched()) << "in any case";
    return recorded;
  }
  bool was_launched() {
    unsigned char byte = 0;
    EXPECT_EQ(cudaMemcpyAsync(&byte, byte_, 1, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(byte_, 0, 1, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    return byte == 1;
  }

  cudaStream_t stream_ = nullptr;
  void* byte_ = nullptr;
};

TEST_F(StepGraphsTest, RecordTheSecondStepOfAKey) {
  StepGraphs graphs(stream_, true);
  EXPECT_TRUE(graphs.wants(7));
  EXPECT_FALSE(run(graphs, 7));
  EXPECT_FALSE(run(graphs, 8));
  EXPECT_TRUE(graphs.wants(7));
  EXPECT_FALSE(graphs.replay(7));
  EXPECT_TRUE(run(graphs, 7));
  EXPECT_FALSE(graphs.wants(7));
  EXPECT_TRUE(graphs.wants(8));
  EXPECT_TRUE(graphs.replay(7));
  EXPECT_TRUE(was_launched());
}

TEST_F(StepGraphsTest, DoNotCountAPostponedStep) {
  StepGraphs graphs(stream_, true);
  EXPECT_FALSE(run(graphs, 7, true));
  EXPECT_FALSE(run(graphs, 7, true));
  EXPECT_FALSE(run(graphs, 7));
  EXPECT_TRUE(run(graphs, 7));
}

TEST_F(StepGraphsTest, DoNotCountAStepThatWasNotMadeToItsEnd) {
  StepGraphs graphs(stream_, true);
  graphs.begin_recording(7);  // and no end: an op had no memory
  EXPECT_FALSE(run(graphs, 7));
  EXPECT_TRUE(run(graphs, 7));
}

TEST_F(StepGraphsTest, WantNothingWhereTheyAreOff) {
  StepGraphs graphs(stream_, false);
  EXPECT_FALSE(graphs.wants(7));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(run(graphs, 7));
  EXPECT_FALSE(graphs.replay(7));
}

}  // namespace
}  // namespace octavo::cuda
