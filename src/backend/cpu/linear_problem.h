// What one linear op looks like to its kernels: plain structs over raw pointers, shared by the
// files that are compiled once per instruction set (see vec.h) and by linear.cc, which fills
// them.
//
// Packed weight. Output features are cut into panels of 16, the inner dimension of every layout,
// so that a vector holds neighbouring outputs and one broadcast of x serves it:
//   float32   [N/16][K][16]
//   bfloat16  [N/16][K/2][16][2]  pairs of neighbours in k: each 32 k are one 1 KiB AMX tile, and
//                                 the same bytes widen to two float vectors by a shift and a mask
//   float16   [N/16][K][16]
// K is padded with zeros to a multiple of 32, the number of panels to an even one. Kernels work
// on pairs of panels. In a gated weight panel 2i holds 16 gate rows, panel 2i+1 the up rows that
// belong to them.
//
// Order of summation, the same for every M, split and thread count: the vector kernels keep one
// chain of multiply-adds per output, k ascending; AMX adds one tile product (32 k) after the
// other.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace octavo::cpu {

enum class WeightFormat { kF32, kBF16, kF16 };
enum class Epilogue { kNone, kGelu, kGeluTanh, kSwiGlu };

constexpr int kPanel = 16;
constexpr int kPairColumns = 2 * kPanel;
constexpr int kTileK = 32;  // bf16 values of k in one tile

struct PackedWeight {
  const char* data = nullptr;
  WeightFormat format = WeightFormat::kF32;
  int64_t k = 0;
  int64_t padded_k = 0;
  int64_t pairs = 0;  // of panels
  int64_t panel_bytes = 0;
};

struct LinearProblem {
  PackedWeight weight;
  const float* x = nullptr;  // [m, k]
  int64_t m = 0;
  const float* bias = nullptr;      // [columns]; gated: gate's, then up's; or null
  const float* residual = nullptr;  // [m, columns] or null
  float* out = nullptr;             // [m, columns]
  int64_t columns = 0;              // outputs: N, or N / 2 if gated
  Epilogue epilogue = Epilogue::kNone;
  const uint16_t* tiles_of_x =
      nullptr;  // AMX: x as bf16 tiles; null: the kernel packs its rows itself
};

// Part of the output: rows [m_begin, m_end) of the panel pairs [pair_begin, pair_end).
struct LinearPart {
  int64_t m_begin = 0, m_end = 0;
  int64_t pair_begin = 0, pair_end = 0;
};

struct LinearKernels {
  // Bytes of scratch, 64-byte aligned, that multiply() needs of a thread for this problem.
  size_t (*scratch_bytes)(const LinearProblem&);
  void (*multiply)(const LinearProblem&, const LinearPart&, void* scratch);
  // AMX: writes rows [m_begin, m_end), m_begin a multiple of 16, into tiles_of_x, whose size is
  // tiles_of_x_bytes(). Others: null.
  size_t (*tiles_of_x_bytes)(const LinearProblem&);
  void (*pack_x)(const LinearProblem&, int64_t m_begin, int64_t m_end, uint16_t* tiles);
};

// Copies 16 rows of k values, already in the weight's format, into the panel at `panel`. `rows` are
// the row starts; rows of a 2-byte format need no alignment.
using PackPanel = void (*)(WeightFormat format, const char* const rows[kPanel], int64_t k,
                           char* panel);

// Defined in linear_<isa>.cc.
namespace portable {
extern const LinearKernels kLinearKernels;
void pack_panel(WeightFormat, const char* const rows[kPanel], int64_t k, char* panel);
}  // namespace portable
namespace avx2 {
extern const LinearKernels kLinearKernels;
void pack_panel(WeightFormat, const char* const rows[kPanel], int64_t k, char* panel);
}  // namespace avx2
namespace avx512 {
extern const LinearKernels kLinearKernels;
void pack_panel(WeightFormat, const char* const rows[kPanel], int64_t k, char* panel);
}  // namespace avx512
namespace amx {
extern const LinearKernels kLinearKernels;  // bfloat16 weights only
}  // namespace amx
namespace emulated {
extern const LinearKernels
    kLinearKernels;  // the same over emulated tiles; linked into the tests only
}  // namespace emulated

}  // namespace octavo::cpu
