// A ring of stages in shared memory, as every kernel here has that lets the copy engine run ahead
// of those who compute. A stage has two barriers (sm90.cuh): `full`, at which the copies arrive,
// and `empty`, at which its readers do when they are done with it.
#pragma once

#include <cstdint>

namespace octavo::cuda {

// Where a thread stands in the ring: the stage that comes next, and the parity of the phase of its
// barrier that is waited for. Whoever reads begins with parity 0. Whoever fills needs the parity of
// the round before: 1 in the first, which a fresh barrier counts as past.
struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;

  __device__ __forceinline__ void advance(int stages) {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

}  // namespace octavo::cuda
