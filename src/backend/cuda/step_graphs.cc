#include "backend/cuda/step_graphs.h"

#include "backend/cuda/launch.h"

namespace octavo::cuda {

StepGraphs::~StepGraphs() {
  for (auto& [key, step] : steps_) {
    if (step.graph) cudaGraphExecDestroy(step.graph);
  }
}

bool StepGraphs::replay(uint64_t key) {
  const auto step = steps_.find(key);
  if (step == steps_.end() || step->second.graph == nullptr) return false;
  const cudaError_t error = cudaGraphLaunch(step->second.graph, stream_);
  if (error != cudaSuccess) note_error("a recorded step", error);
  return true;
}

void StepGraphs::begin_recording(uint64_t key) {
  Step& step = steps_[key];
  running_ = &step;
  if (!enabled_ || !step.was_made) return;
  const cudaError_t error = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal);
  if (error == cudaSuccess) {
    recording_ = &step;
  } else {
    enabled_ = false;
    cudaGetLastError();
  }
}

void StepGraphs::postpone() {
  running_ = nullptr;
}

bool StepGraphs::wants(uint64_t key) const {
  const auto step = steps_.find(key);
  return enabled_ && (step == steps_.end() || step->second.graph == nullptr);
}

void StepGraphs::end_recording() {
  if (running_) running_->was_made = true;
  running_ = nullptr;
  if (recording_ == nullptr) return;
  Step& step = *recording_;
  recording_ = nullptr;
  cudaGraph_t graph = nullptr;
  cudaError_t error = cudaStreamEndCapture(stream_, &graph);
  if (error == cudaSuccess) error = cudaGraphInstantiate(&step.graph, graph, 0);
  if (graph) cudaGraphDestroy(graph);
  if (error == cudaSuccess) error = cudaGraphLaunch(step.graph, stream_);
  if (error != cudaSuccess) {  // this step is lost; those after it run plainly
    step.graph = nullptr;
    enabled_ = false;
    note_error("recording a step", error);
  }
}

}  // namespace octavo::cuda
