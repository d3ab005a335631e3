#include "backend/cuda/profiler.h"

#include <algorithm>
#include <cstdio>

namespace octavo::cuda {
namespace {

constexpr size_t kTimedAtOnce = 20000;

}  // namespace

Profiler::Profiler(const Device& device) : rate_(989e12), device_(device.name) {
  // Measured streams (docs/benchmarks.md); for a card we have not measured, the usual share of what
  // its clock and bus allow.
  if (device.name.find("H200") != std::string::npos) {
    bandwidth_ = 4.55e12;
  } else if (device.name.find("H100") != std::string::npos) {
    bandwidth_ = 3.09e12;
  } else {
    int clock_khz = 0, bus_bits = 0;
    cudaDeviceGetAttribute(&clock_khz, cudaDevAttrMemoryClockRate, 0);
    cudaDeviceGetAttribute(&bus_bits, cudaDevAttrGlobalMemoryBusWidth, 0);
    bandwidth_ = 0.93 * 2e3 * clock_khz * bus_bits / 8;
  }
  launch_observer = this;
}

Profiler::~Profiler() {
  launch_observer = nullptr;
  settle();
  for (cudaEvent_t event : spare_) cudaEventDestroy(event);
}

void Profiler::begin_step(std::string kind) {
  if (timed_.size() > kTimedAtOnce) settle();
  step_ = &steps_[std::move(kind)];
  ++step_->count;
  labelled_ = nullptr;
}

void Profiler::label(std::string op, double bytes, double flops) {
  if (step_ == nullptr) return;
  labelled_ = &step_->ops[std::move(op)];
  labelled_->bytes += bytes;
  labelled_->flops += flops;
}

void Profiler::end_label() {
  labelled_ = nullptr;
}

void Profiler::before_launch(const char* op, cudaStream_t stream) {
  Timed timed{};
  for (cudaEvent_t* event : {&timed.begin, &timed.end}) {
    if (spare_.empty()) {
      cudaEventCreate(event);
    } else {
      *event = spare_.back();
      spare_.pop_back();
    }
  }
  static Total outside;  // launches before the first step
  timed.total = labelled_ ? labelled_ : step_ ? &step_->ops[op] : &outside;
  ++timed.total->launches;
  cudaEventRecord(timed.begin, stream);
  timed_.push_back(timed);
}

void Profiler::after_launch(cudaStream_t stream) {
  cudaEventRecord(timed_.back().end, stream);
}

void Profiler::settle() {
  cudaDeviceSynchronize();
  for (const Timed& timed : timed_) {
    float milliseconds = 0;
    if (cudaEventElapsedTime(&milliseconds, timed.begin, timed.end) == cudaSuccess)
      timed.total->seconds += milliseconds * 1e-3;
    spare_.push_back(timed.begin);
    spare_.push_back(timed.end);
  }
  timed_.clear();
}

std::string Profiler::report() {
  settle();
  std::string text;
  char line[256];
  for (const auto& [kind, step] : steps_) {
    const auto steps = static_cast<double>(step.count);
    double sum = 0;
    std::vector<std::pair<std::string, Total>> ops(step.ops.begin(), step.ops.end());
    for (const auto& [op, total] : ops) sum += total.seconds;
    std::sort(ops.begin(), ops.end(),
              [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
    snprintf(line, sizeof line,
             "%s: %lld steps of %s; kernels %.3f ms a step, each timed alone\n"
             "  %-34s %8s %10s %6s %9s %6s %8s %6s\n",
             device_.c_str(), static_cast<long long>(step.count), kind.c_str(), 1e3 * sum / steps,
             "op", "launches", "us", "share", "MB", "of bw", "GFLOP", "of mm");
    text += line;
    for (const auto& [op, total] : ops) {
      snprintf(line, sizeof line, "  %-34s %8.1f %10.1f %5.1f%% %9.1f %5.0f%% %8.1f %5.0f%%\n",
               op.c_str(), static_cast<double>(total.launches) / steps, 1e6 * total.seconds / steps,
               100 * total.seconds / sum, total.bytes / steps * 1e-6,
               100 * total.bytes / total.seconds / bandwidth_, total.flops / steps * 1e-9,
               100 * total.flops / total.seconds / rate_);
      text += line;
    }
  }
  return text;
}

}  // namespace octavo::cuda
