// Instances of prefill_mma.cuh for float16.
#include "backend/cuda/prefill_mma.cuh"

namespace octavo::cuda::prefill {
template void mma_attention<__half>(const Launch&, const Params&, int);
}
