// Detection by CPUID (what the processor has) and XGETBV (which registers the operating system
// saves), as Intel's Software Developer's Manual vol. 1 §13.2-13.3 and §18.3 ask.
#include "backend/cpu/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

namespace octavo::cpu {
namespace {

constexpr std::string_view kNames[] = {"portable", "avx2", "avx512", "amx"};
constexpr int kNumIsas = 4;

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

bool bit(uint32_t word, int i) {
  return (word >> i) & 1;
}

uint64_t xcr0() {
  if (!bit(cpuid(1, 0).ecx, 27)) return 0;  // OSXSAVE
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

bool detect_avx2() {
  const Registers one = cpuid(1, 0);
  return (xcr0() & 0x6) == 0x6 && bit(one.ecx, 12) /*FMA*/ && bit(one.ecx, 28) /*AVX*/ &&
         bit(one.ecx, 29) /*F16C*/ && bit(cpuid(7, 0).ebx, 5) /*AVX2*/;
}

bool detect_avx512() {
  const uint32_t b = cpuid(7, 0).ebx;
  return detect_avx2() && (xcr0() & 0xE6) == 0xE6 && bit(b, 16) /*F*/ && bit(b, 17) /*DQ*/ &&
         bit(b, 30) /*BW*/ && bit(b, 31) /*VL*/;
}

bool detect_amx() {
  constexpr int kArchReqXcompPerm = 0x1023;  // asm/prctl.h, absent from older headers
  constexpr int kTileData = 18;
  const uint32_t d = cpuid(7, 0).edx;
  return detect_avx512() && (xcr0() & 0x60000) == 0x60000 && bit(d, 22) /*AMX-BF16*/ &&
         bit(d, 24) /*AMX-TILE*/ && bit(cpuid(7, 1).eax, 5) /*AVX512-BF16*/ &&
         syscall(SYS_arch_prctl, kArchReqXcompPerm, kTileData) == 0;
}

}  // namespace

std::string_view to_string(Isa isa) {
  return kNames[static_cast<int>(isa)];
}

StatusOr<Isa> parse_isa(std::string_view name) {
  for (int i = 0; i < kNumIsas; ++i) {
    if (name == kNames[i]) return static_cast<Isa>(i);
  }
  return invalid_argument("unknown CPU instruction set '" + std::string(name) +
                          "' (portable, avx2, avx512 or amx)");
}

bool machine_has(Isa isa) {
  static const bool avx2 = detect_avx2(), avx512 = detect_avx512(), amx = detect_amx();
  switch (isa) {
    case Isa::kPortable:
      return true;
    case Isa::kAvx2:
      return avx2;
    case Isa::kAvx512:
      return avx512;
    case Isa::kAmx:
      return amx;
  }
  return false;
}

std::vector<Isa> machine_isas() {
  std::vector<Isa> isas;
  for (int i = 0; i < kNumIsas; ++i) {
    if (machine_has(static_cast<Isa>(i))) isas.push_back(static_cast<Isa>(i));
  }
  return isas;
}

StatusOr<Isa> select_isa(std::optional<Isa> wanted) {
  if (!wanted) {
    const char* name = std::getenv("OCTAVO_CPU_ISA");
    if (name == nullptr || *name == '\0') return machine_isas().back();
    StatusOr<Isa> parsed = parse_isa(name);
    if (!parsed.ok()) return parsed.status().with_context("OCTAVO_CPU_ISA");
    wanted = *parsed;
  }
  if (!machine_has(*wanted)) {
    return failed_precondition("this machine cannot run the CPU kernels for " +
                               std::string(to_string(*wanted)));
  }
  return *wanted;
}

}  // namespace octavo::cpu
