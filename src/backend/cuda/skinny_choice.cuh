// Which tile each class of m uses, and the instances of one type. Included by skinny_bf16.cu and
// skinny_f16.cu only: two files, for the sake of compile time.
#pragma once

#include "backend/cuda/skinny_kernel.cuh"

namespace octavo::cuda::skinny {

template <typename T>
void launch_for_type(const Launch& on, const LinearCall& call, void* workspace) {
  // Wide tiles have more bytes of the weight on their way, but two warpgroups take longer to finish
  // one: they are for matrices whose CTAs finish most tiles in the middle of their runs.
  const bool wide = call.n >= 128 * multiprocessors();
  // rows of x, warpgroups, 64-row blocks of each, k of a stage, stages
  if (call.m <= 8) {
    return wide ? launch_skinny<T, Tile<8, 2, 1, 64, 6>>(on, call, workspace)
                : launch_skinny<T, Tile<8, 1, 1, 128, 5>>(on, call, workspace);
  }
  if (call.m <= 16) return launch_skinny<T, Tile<16, 1, 1, 128, 5>>(on, call, workspace);
  if (call.m <= 32) {
    return wide ? launch_skinny<T, Tile<32, 2, 1, 64, 5>>(on, call, workspace)
                : launch_skinny<T, Tile<32, 1, 1, 128, 4>>(on, call, workspace);
  }
  if (call.m <= 64) return launch_skinny<T, Tile<64, 2, 1, 64, 9>>(on, call, workspace);
  return launch_skinny<T, Tile<128, 2, 1, 64, 7>>(on, call, workspace);
}

}  // namespace octavo::cuda::skinny
