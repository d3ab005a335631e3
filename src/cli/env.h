// What `octavo env` says of this machine: for bug reports, and to see why a fast path is not taken.
// Main thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace octavo::cli {

struct CpuReport {
  std::string model;
  std::vector<std::string>
      features;  // those that Octavo's kernels ask for, as the kernel lets us use them
  int cores_present = 0;
  int cores_allowed = 0;   // by affinity
  double cores_quota = 0;  // by cgroup; 0: no limit
};

struct GpuReport {
  std::string error;        // why there is none
  std::string driver_cuda;  // newest CUDA that the driver runs: "13.0"
  struct Gpu {
    std::string name;
    int64_t memory_bytes = 0;
    std::string compute_capability;  // "9.0"
  };
  std::vector<Gpu> gpus;
};

struct MemoryReport {
  int64_t total = 0, available = 0;  // bytes
  int64_t cgroup_limit = 0;          // 0: none
};

CpuReport inspect_cpu();
GpuReport inspect_gpus();
MemoryReport inspect_memory();
std::string operating_system();  // "Debian GNU/Linux 12 (bookworm), Linux 6.1.0 x86_64, glibc 2.36"
// All of it as lines of text.
std::string environment_report(const std::string& version);

// The `flags` words of a /proc/cpuinfo that Octavo has a use for.
std::vector<std::string> useful_features(const std::string& cpuinfo);

}  // namespace octavo::cli
