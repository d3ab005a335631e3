// Profiler: what each kind of op costs on the GPU, for `octavo bench latency --profile`. Every
// launch is timed alone between two events, so gaps and overlap between kernels do not show: the
// sum is what the kernels need, and the time of an ordinary step beside it shows the rest. Worker
// thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/launch.h"

namespace octavo::cuda {

class Profiler final : public LaunchObserver {
 public:
  explicit Profiler(const Device& device);
  ~Profiler() override;

  // The next launches belong to a step of this kind ("decode, 32 rows").
  void begin_step(std::string kind);
  // The next launches together are one op: bytes that it must move and operations that it must do.
  // Launches without a label are named after themselves.
  void label(std::string op, double bytes, double flops);
  void end_label();

  void before_launch(const char* op, cudaStream_t stream) override;
  void after_launch(cudaStream_t stream) override;

  // A table for each kind of step. Waits for the device.
  std::string report();

 private:
  struct Total {
    int64_t launches = 0;
    double seconds = 0, bytes = 0, flops = 0;
  };
  struct Step {
    int64_t count = 0;
    std::map<std::string, Total> ops;
  };
  struct Timed {
    Total* total;
    cudaEvent_t begin, end;
  };
  void settle();

  double bandwidth_;  // bytes/s that a read stream reaches
  double rate_;       // bf16 operations/s of the matrix units, as the data sheet has it
  std::string device_;
  std::map<std::string, Step> steps_;
  Step* step_ = nullptr;
  Total* labelled_ = nullptr;
  std::vector<Timed> timed_;
  std::vector<cudaEvent_t> spare_;
};

}  // namespace octavo::cuda
