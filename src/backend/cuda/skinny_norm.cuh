// A norm carried from one product to the next (linear_call.h), as skinny_kernel.cuh does it: what
// its consumers keep in shared memory for that, and when.
#pragma once

#include "backend/cuda/skinny_tile.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/warp.cuh"

namespace octavo::cuda::skinny {

// The columns of out whose squares are added to one part: those of a warpgroup's tile.
inline constexpr int kPartColumns = 64;

// What it needs of shared memory, behind the ring's barriers.
template <typename C>
struct NormMemory {
  uint64_t scaled;  // barrier, of a warp's threads: `scale` is there
  uint64_t unused;
  float scale[C::kN];                // 1 / rms of the rows of x
  float sums[2][C::kWarps * C::kN];  // of squares, over each warp's 16 columns of a tile; tiles
                                     // take turns with the two, so that one barrier a tile will do
};

// One warp, while the consumers multiply.
template <typename C>
__device__ __forceinline__ void compute_scales(const Args& args, NormMemory<C>& memory) {
  constexpr int kLanes = C::kN < 16 ? 32 / C::kN : 2;  // of a row
  const int lane = threadIdx.x % 32;
#pragma unroll 1
  for (int row = lane / kLanes; row < C::kN; row += 32 / kLanes) {
    float sum = 0;
    if (row < args.m) {
      const float* const parts = args.squares + static_cast<int64_t>(row) * args.square_parts;
      if (args.square_parts % 4 == 0) {
#pragma unroll 8
        for (int i = lane % kLanes; i < args.square_parts / 4; i += kLanes) {
          const float4 v = __ldcg(reinterpret_cast<const float4*>(parts) + i);
          sum += (v.x + v.y) + (v.z + v.w);
        }
      } else {
        for (int i = lane % kLanes; i < args.square_parts; i += kLanes) sum += __ldcg(parts + i);
      }
    }
    sum = warp_sum<kLanes>(sum);
    if (lane % kLanes == 0) {
      memory.scale[row] = rsqrtf(sum / static_cast<float>(args.k) + args.norm_eps);
    }
  }
  sm90::arrive(&memory.scaled);
}

// The consumers' side. All null, and known to the compiler to be, where the kernel carries nothing.
template <typename C>
struct CarriedNorm {
  NormMemory<C>* memory = nullptr;
  bool scales = false, sums = false;  // the second product, the first

  __device__ __forceinline__ CarriedNorm(const Args& args, NormMemory<C>* shared) {
    if constexpr (C::kCarries) {
      memory = shared;
      scales = args.squares != nullptr;
      sums = args.next_gain != nullptr;
    }
  }
  // By row of x; null: nothing to scale.
  __device__ __forceinline__ const float* scale() const {
    if (!scales) return nullptr;
    sm90::wait(&memory->scaled, 0);
    return memory->scale;
  }
  // Where this warp puts its sums of the `count`th tile that it finishes, by row of x; null: no
  // sums are wanted.
  __device__ float* sums_of(int count) const {
    return sums ? memory->sums[count % 2] + threadIdx.x / 32 * C::kN : nullptr;
  }
  // A warpgroup, when it has finished rows [begin, end) of x in its 64 columns from `column`.
  __device__ __forceinline__ void publish(const Args& args, int count, int column, int begin,
                                          int end) const {
    if (!sums) return;
    const int warpgroup = threadIdx.x / 128, row = threadIdx.x % 128;
    if (warpgroup == 0) {  // numbers known to the compiler, which otherwise reserves all barriers
      sm90::named_barrier(2, 128);
    } else {
      sm90::named_barrier(3, 128);
    }
    if (row < begin || row >= min(end, args.m) || column >= args.n) return;
    const float* const mine = memory->sums[count % 2] + 4 * warpgroup * C::kN + row;
    args.squares_out[static_cast<int64_t>(row) * args.parts_out + column / kPartColumns] =
        (mine[0] + mine[C::kN]) + (mine[2 * C::kN] + mine[3 * C::kN]);
  }
};

}  // namespace octavo::cuda::skinny
