// Instances of prefill_mma.cuh for bfloat16.
#include "backend/cuda/prefill_mma.cuh"

namespace octavo::cuda::prefill {
template void mma_attention<__nv_bfloat16>(const Launch&, const Params&, int);
}
