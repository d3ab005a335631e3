#include "backend/cuda/cluster_choice.cuh"

namespace octavo::cuda::cluster {

template void launch_for_type<__nv_bfloat16>(const Launch&, const LinearCall&, int, const Grid&,
                                             const Problem&);

}  // namespace octavo::cuda::cluster
