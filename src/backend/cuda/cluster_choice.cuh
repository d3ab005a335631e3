// The instances of the kernel for one type. Included by cluster_bf16.cu and cluster_f16.cu only.
#pragma once

#include "backend/cuda/cluster_kernel.cuh"

namespace octavo::cuda::cluster {

template <typename T, int kColumns>
void launch_width(const Launch& on, const LinearCall& call, const Grid& grid, const Problem& p) {
  constexpr size_t kBytes = sizeof(Shared) + 1024;
  static_assert(kBytes <= 232448);
  auto* const kernel = cluster_linear_kernel<T, kColumns>;
  static const bool allowed [[maybe_unused]] = allow_shared_bytes("cluster_linear", kernel, kBytes);
  const CUtensorMap x = make_tensor_map(call.x, call.dtype, call.m, call.k, call.k, p.x_rows);
  const CUtensorMap weight =
      make_tensor_map(call.weight, call.dtype, call.n, call.k, call.k, kColumns);
  Grid full = grid;
  full.shared_bytes = kBytes;
  launch("cluster_linear", on, full, kernel, x, weight, p);
}

template <typename T>
void launch_for_type(const Launch& on, const LinearCall& call, int columns, const Grid& grid,
                     const Problem& p) {
  switch (columns) {
    case 64:
      return launch_width<T, 64>(on, call, grid, p);
    case 72:
      return launch_width<T, 72>(on, call, grid, p);
    case 96:
      return launch_width<T, 96>(on, call, grid, p);
    case 112:
      return launch_width<T, 112>(on, call, grid, p);
    case 128:
      return launch_width<T, 128>(on, call, grid, p);
    case 144:
      return launch_width<T, 144>(on, call, grid, p);
    case 192:
      return launch_width<T, 192>(on, call, grid, p);
    default:
      return launch_width<T, 224>(on, call, grid, p);
  }
}

}  // namespace octavo::cuda::cluster
