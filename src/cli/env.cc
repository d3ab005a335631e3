// Looks at the machine through /proc, cgroups and, for GPUs, libcuda by dlopen: nothing is linked,
// so a machine without a driver only says so. CPU features come from the kernel's list, which
// leaves out what it does not allow.
#include "cli/env.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace octavo::cli {
namespace {

std::string read_file(const char* path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The rest of the first line that begins with `name`, after ':' or '=' and blanks.
std::string field(const std::string& text, const std::string& name) {
  for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
    if (at > 0 && text[at - 1] != '\n') continue;
    const size_t end = std::min(text.find('\n', at), text.size());
    const size_t sign = text.find_first_of(":=", at);
    if (sign >= end) continue;
    const size_t begin = text.find_first_not_of(" \t\"", sign + 1);
    if (begin >= end) return "";
    return text.substr(begin, text.find_last_not_of("\" \t", end - 1) + 1 - begin);
  }
  return "";
}

double cgroup_cores() {
  double quota = 0, period = 0;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  if (v2 >> quota >> period && period > 0) return quota / period;
  std::ifstream v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
      v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (v1 >> quota && v1_period >> period && quota > 0 && period > 0) return quota / period;
  return 0;
}

std::string gib(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out.empty() ? "none of those that Octavo uses" : out;
}

std::string major_minor(int major, int minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace

std::vector<std::string> useful_features(const std::string& cpuinfo) {
  static constexpr std::array kUseful = {"avx2",     "fma",         "f16c",        "avx512f",
                                         "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16",
                                         "amx_tile", "amx_bf16",    "amx_int8",    "amx_fp16",
                                         "asimd",    "bf16",        "i8mm",        "sve"};
  const std::string x86 = field(cpuinfo, "flags");
  std::istringstream flags(x86.empty() ? field(cpuinfo, "Features") : x86);
  std::vector<std::string> out;
  for (std::string word; flags >> word;) {
    if (std::find(kUseful.begin(), kUseful.end(), word) != kUseful.end()) out.push_back(word);
  }
  return out;
}

CpuReport inspect_cpu() {
  const std::string cpuinfo = read_file("/proc/cpuinfo");
  CpuReport report;
  report.model = field(cpuinfo, "model name");
  report.features = useful_features(cpuinfo);
  report.cores_present = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    report.cores_allowed = CPU_COUNT(&allowed);
  report.cores_quota = cgroup_cores();
  return report;
}

MemoryReport inspect_memory() {
  const std::string meminfo = read_file("/proc/meminfo");
  const auto kib = [&meminfo](const char* name) {
    return std::atoll(field(meminfo, name).c_str()) * 1024;
  };
  MemoryReport report{kib("MemTotal"), kib("MemAvailable"), 0};
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    const int64_t limit = std::atoll(read_file(path).c_str());
    if (limit > 0 && limit < report.total) report.cgroup_limit = limit;
  }
  return report;
}

GpuReport inspect_gpus() {
  GpuReport report;
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    report.error = "no NVIDIA driver (libcuda.so.1 is not there)";
    return report;
  }
  const auto find = [driver](const char* name) { return dlsym(driver, name); };
  const auto init = reinterpret_cast<int (*)(unsigned)>(find("cuInit"));
  const auto version = reinterpret_cast<int (*)(int*)>(find("cuDriverGetVersion"));
  const auto count = reinterpret_cast<int (*)(int*)>(find("cuDeviceGetCount"));
  const auto name = reinterpret_cast<int (*)(char*, int, int)>(find("cuDeviceGetName"));
  const auto memory = reinterpret_cast<int (*)(size_t*, int)>(find("cuDeviceTotalMem_v2"));
  const auto attribute = reinterpret_cast<int (*)(int*, int, int)>(find("cuDeviceGetAttribute"));
  if (!init || !version || !count || !name || !memory || !attribute) {
    report.error = "libcuda.so.1 lacks functions of the driver API";
    return report;
  }
  int number = 0, gpus = 0;
  if (const int code = init(0); code != 0) {
    report.error = "the NVIDIA driver does not start (cuInit: " + std::to_string(code) + ")";
    return report;
  }
  if (version(&number) == 0) report.driver_cuda = major_minor(number / 1000, number % 1000 / 10);
  count(&gpus);
  for (int i = 0; i < gpus; ++i) {
    // A CUdevice is the ordinal itself in every driver there is; attributes 75 and 76 are the
    // capability.
    char text[256] = "";
    size_t bytes = 0;
    int major = 0, minor = 0;
    name(text, sizeof text, i);
    memory(&bytes, i);
    attribute(&major, 75, i);
    attribute(&minor, 76, i);
    report.gpus.push_back({text, static_cast<int64_t>(bytes), major_minor(major, minor)});
  }
  if (gpus == 0) report.error = "the NVIDIA driver shows no GPU";
  return report;
}

std::string operating_system() {
  utsname kernel{};
  uname(&kernel);
  const std::string name = field(read_file("/etc/os-release"), "PRETTY_NAME");
  return (name.empty() ? "unknown" : name) + ", " + kernel.sysname + " " + kernel.release + " " +
         kernel.machine + ", glibc " + gnu_get_libc_version();
}

std::string environment_report(const std::string& version) {
  const CpuReport cpu = inspect_cpu();
  const MemoryReport memory = inspect_memory();
  const GpuReport gpus = inspect_gpus();
  std::string out = "octavo:    " + version + "\n";
  out += std::string("compiler:  ") + __VERSION__ + "\n";
  out += "system:    " + operating_system() + "\n";
  out += "cpu:       " + (cpu.model.empty() ? "unknown" : cpu.model) + "\n";
  out += "features:  " + joined(cpu.features) + "\n";
  out += "cores:     " + std::to_string(cpu.cores_present) + " online, " +
         std::to_string(cpu.cores_allowed) + " allowed by affinity";
  char quota[64] = ", no cgroup limit";
  if (cpu.cores_quota > 0)
    std::snprintf(quota, sizeof quota, ", %.2f allowed by cgroup", cpu.cores_quota);
  out += std::string(quota) + "\n";
  out += "memory:    " + gib(memory.total) + ", " + gib(memory.available) + " available";
  if (memory.cgroup_limit > 0) out += ", " + gib(memory.cgroup_limit) + " allowed by cgroup";
  out += "\n";
  if (!gpus.driver_cuda.empty()) out += "driver:    runs CUDA " + gpus.driver_cuda + "\n";
  if (!gpus.error.empty()) out += "gpus:      " + gpus.error + "\n";
  for (size_t i = 0; i < gpus.gpus.size(); ++i) {
    const auto& gpu = gpus.gpus[i];
    out += "gpu " + std::to_string(i) + ":     " + gpu.name + ", " + gib(gpu.memory_bytes) +
           ", compute capability " + gpu.compute_capability + "\n";
  }
  return out;
}

}  // namespace octavo::cli
