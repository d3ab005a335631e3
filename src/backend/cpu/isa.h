// The instruction sets that the CPU kernels are written for, and which of them this machine can
// run. Kernels of one set live in files named *_<isa>.cc, over the vector type of vec.h; a
// dispatching function picks one by an Isa value. Any thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "octavo/status.h"

namespace octavo::cpu {

// Each one includes those before it.
enum class Isa {
  kPortable,  // what every x86-64 has
  kAvx2,      // with FMA and F16C
  kAvx512,    // F, BW, VL, DQ
  kAmx,       // tiles and bf16, with AVX-512 BF16
};

std::string_view to_string(Isa isa);  // "portable", "avx2", "avx512", "amx"
StatusOr<Isa> parse_isa(std::string_view name);

// Whether processor and operating system both allow it. The first question about AMX asks the
// kernel for the process's permission to use tiles.
bool machine_has(Isa isa);
// All that the machine has, weakest first.
std::vector<Isa> machine_isas();

// The Isa to run: `wanted`, or the environment variable OCTAVO_CPU_ISA, or the best one. Fails if
// the machine lacks the one asked for or the name is unknown.
StatusOr<Isa> select_isa(std::optional<Isa> wanted = {});

// The set whose vector kernels go with `isa`: AMX has tiles for matrix products only.
inline Isa vector_isa(Isa isa) {
  return isa == Isa::kAmx ? Isa::kAvx512 : isa;
}

}  // namespace octavo::cpu
