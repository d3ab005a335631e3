#include "backend/cuda/skinny_choice.cuh"

namespace octavo::cuda::skinny {

template void launch_for_type<__nv_bfloat16>(const Launch&, const LinearCall&, void*);

}  // namespace octavo::cuda::skinny
