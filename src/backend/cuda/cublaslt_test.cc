#include "backend/cuda/cublaslt.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "backend/cuda/large_linear.h"
#include "backend/cuda/testing_device.h"
#include "base/testing_directory.h"

namespace octavo::cuda {
namespace {

using testing::DeviceArray;
using testing::random_values;

// A fresh cache folder for each test.
class CublasLtTest : public ::testing::Test {
 protected:
  void SetUp() override { setenv("OCTAVO_CACHE_DIR", folder_.c_str(), 1); }
  void TearDown() override { unsetenv("OCTAVO_CACHE_DIR"); }
  std::vector<std::filesystem::path> cached() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      files.push_back(entry.path());
    return files;
  }
  const octavo::testing::TemporaryDirectory temporary_;
  const std::filesystem::path& folder_ = temporary_.path();
};

#define OPEN_OR_SKIP(name)                                             \
  SKIP_WITHOUT_GPU();                                                  \
  auto name##_or = CublasLt::open();                                   \
  if (!name##_or.ok()) GTEST_SKIP() << name##_or.status().to_string(); \
  std::unique_ptr<CublasLt> name = std::move(name##_or).value()

// One product, by the library and by large_linear.
struct Product {
  Product(int m, int n, int k, DType dtype, bool residual, bool bias, bool out_is_float)
      : random(1),
        x(dtype, {m, k}, random_values(random, int64_t{m} * k, dtype)),
        weight(dtype, {n, k}, random_values(random, int64_t{n} * k, dtype, 0.05f)),
        added(dtype, {m, n}, random_values(random, int64_t{m} * n, dtype)),
        bias_values(DType::kF32, {n}, random_values(random, n, DType::kF32)),
        out(out_is_float ? DType::kF32 : dtype, {m, n}),
        expected(out_is_float ? DType::kF32 : dtype, {m, n}),
        workspace(DType::kU8, {static_cast<int64_t>(CublasLt::kWorkspaceBytes)}) {
    call.dtype = dtype;
    call.m = m;
    call.n = n;
    call.k = k;
    call.x = x.data();
    call.weight = weight.data();
    call.residual = residual ? added.data() : nullptr;
    call.bias = bias ? bias_values.as<float>() : nullptr;
    call.out = out.data();
    call.out_is_float = out_is_float;
  }
  void run(CublasLt& lt) { lt.run({}, call, workspace.data(), CublasLt::kWorkspaceBytes); }
  double error() {
    LinearCall own = call;
    own.out = expected.data();
    large_linear({}, own);
    EXPECT_EQ(take_error().code, cudaSuccess);
    return testing::relative_error(out.read(), expected.read());
  }

  std::mt19937 random;
  DeviceArray x, weight, added, bias_values, out, expected, workspace;
  LinearCall call;
};

TEST_F(CublasLtTest, AgreesWithOurKernel) {
  OPEN_OR_SKIP(lt);
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    for (int m : {1, 257, 300, 512}) {
      for (int variant = 0; variant < 4; ++variant) {
        const bool residual = variant == 1, out_is_float = variant >= 2, bias = variant == 3;
        Product p(m, 1000, 520, dtype, residual, bias, out_is_float);
        ASSERT_TRUE(lt->takes(p.call));
        p.run(*lt);
        EXPECT_LT(p.error(), out_is_float ? 1e-4 : 4e-3)
            << "m " << m << " variant " << variant << " dtype " << static_cast<int>(dtype);
      }
    }
  }
}

TEST_F(CublasLtTest, CanBeCaptured) {
  OPEN_OR_SKIP(lt);
  Product p(512, 1024, 1024, DType::kBF16, true, false, false);
  p.run(*lt);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  p.out.poison();
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t ready;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  lt->run({stream}, p.call, p.workspace.data(), CublasLt::kWorkspaceBytes);
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&ready, graph, 0), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(ready, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_LT(p.error(), 4e-3);
  cudaGraphExecDestroy(ready);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

TEST_F(CublasLtTest, KeepsItsChoicesInAFile) {
  OPEN_OR_SKIP(lt);
  Product p(512, 1024, 1024, DType::kBF16, false, false, false);
  const Status tuned = lt->tune({}, p.call, p.workspace.data(), CublasLt::kWorkspaceBytes);
  EXPECT_TRUE(tuned.ok()) << tuned.to_string();
  ASSERT_EQ(cached().size(), 1u);
  const auto size = std::filesystem::file_size(cached()[0]);
  lt.reset();

  auto again = CublasLt::open();
  ASSERT_TRUE(again.ok());
  p.out.poison();
  p.run(**again);
  EXPECT_LT(p.error(), 4e-3);
  Product other(300, 512, 256, DType::kBF16, false, false, false);
  other.run(**again);
  EXPECT_LT(other.error(), 4e-3);
  again->reset();
  ASSERT_EQ(cached().size(), 1u);
  EXPECT_GT(std::filesystem::file_size(cached()[0]), size) << "the first shape was dropped";
}

TEST_F(CublasLtTest, IgnoresABrokenFile) {
  OPEN_OR_SKIP(lt);
  Product p(512, 1024, 1024, DType::kBF16, false, false, false);
  p.run(*lt);
  lt.reset();
  ASSERT_EQ(cached().size(), 1u);
  const auto file = cached()[0];
  const auto size = std::filesystem::file_size(file);
  for (uintmax_t cut : {size - 1, uintmax_t{20}, uintmax_t{0}}) {
    std::filesystem::resize_file(file, cut);
    auto again = CublasLt::open();
    ASSERT_TRUE(again.ok());
    p.out.poison();
    p.run(**again);
    EXPECT_LT(p.error(), 4e-3) << cut;
  }
  ASSERT_EQ(std::filesystem::file_size(file), size) << "not written anew";
  std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(60).put('?');
  auto again = CublasLt::open();
  ASSERT_TRUE(again.ok());
  p.out.poison();
  p.run(**again);
  EXPECT_LT(p.error(), 4e-3);
}

TEST_F(CublasLtTest, RefusesWhatTheLibraryCannotDo) {
  OPEN_OR_SKIP(lt);
  LinearCall call;
  call.m = call.n = call.k = 64;
  EXPECT_TRUE(lt->takes(call));
  const float value = 1;
  call.next_gain = &value;
  EXPECT_FALSE(lt->takes(call));
  call.next_gain = nullptr;
  call.squares = &value;
  EXPECT_FALSE(lt->takes(call));
  call.squares = nullptr;
  call.activation = Activation::kSwiGlu;
  EXPECT_FALSE(lt->takes(call));
  call.activation = Activation::kNone;
  const float bias = 0;
  call.bias = &bias;
  EXPECT_FALSE(lt->takes(call));
  call.out_is_float = true;
  EXPECT_TRUE(lt->takes(call));
}

}  // namespace
}  // namespace octavo::cuda
