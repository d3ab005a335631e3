// Which tile each class of m uses, and the instances of one type. Included by skinny_bf16.cu and
// skinny_f16.cu only: two files, for the sake of compile time.
#pragma once

#include "backend/cuda/skinny_kernel.cuh"

namespace octavo::cuda::skinny {

template <typename T>
void launch_for_type(const Launch& on, const LinearCall& call, void* workspace) {
  // rows of x, warpgroups, 64-row blocks of each, k of a stage, stages, cluster, norm
  if (call.norm_weight != nullptr) {
    return launch_skinny<T, Tile<8, 1, 1, 128, 5, 1, true>>(on, call, workspace);
  }
  if (call.m <= 8) return launch_skinny<T, Tile<8, 1, 1, 128, 5>>(on, call, workspace);
  if (call.m <= 16) return launch_skinny<T, Tile<16, 1, 1, 128, 5>>(on, call, workspace);
  if (call.m <= 32) return launch_skinny<T, Tile<32, 1, 1, 128, 4>>(on, call, workspace);
  if (call.m <= 64) return launch_skinny<T, Tile<64, 2, 1, 64, 9>>(on, call, workspace);
  if (call.m <= 128) return launch_skinny<T, Tile<128, 2, 1, 64, 7>>(on, call, workspace);
  return launch_skinny<T, Tile<256, 2, 1, 64, 4, 2>>(on, call, workspace);
}

}  // namespace octavo::cuda::skinny
