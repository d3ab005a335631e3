// StepGraphs: steps recorded as CUDA graphs. A step of a key is made plainly at first (so that all
// memory it needs is there), recorded the second time, and launched as a graph from then on. One
// that an exception ended before end_recording() does not count. Worker thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <unordered_map>

namespace octavo::cuda {

class StepGraphs {
 public:
  explicit StepGraphs(cudaStream_t stream, bool enabled) : stream_(stream), enabled_(enabled) {}
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  bool replay(uint64_t key);
  void begin_recording(uint64_t key);
  // Launches what was recorded.
  void end_recording();
  // Between the two, if the calls are being recorded and not made.
  bool recording() const { return recording_ != nullptr; }
  // Between the two: the calls are not yet what they will be, so this step does not count. No
  // effect while recording.
  void postpone();
  // Whether a step of this key is still to be recorded.
  bool wants(uint64_t key) const;

 private:
  struct Step {
    bool was_made = false;  // plainly, to its end
    cudaGraphExec_t graph = nullptr;
  };
  cudaStream_t stream_;
  bool enabled_;
  Step* running_ = nullptr;    // between the two, of a step that counts
  Step* recording_ = nullptr;  // between the two, while recording
  std::unordered_map<uint64_t, Step> steps_;
};

}  // namespace octavo::cuda
