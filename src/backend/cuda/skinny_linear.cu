#include "backend/cuda/skinny_linear.h"

#include "backend/cuda/skinny_kernel.cuh"
#include "base/rounding.h"

namespace octavo::cuda {
namespace skinny {

template <typename T>
void launch_for_type(const Launch& on, const LinearCall& call, void* workspace);
extern template void launch_for_type<__nv_bfloat16>(const Launch&, const LinearCall&, void*);
extern template void launch_for_type<__half>(const Launch&, const LinearCall&, void*);

}  // namespace skinny

bool skinny_linear_takes(const LinearCall& call) {
  if (call.dtype != DType::kBF16 && call.dtype != DType::kF16) return false;
  if (call.m < 1 || call.m > 128 || call.n < 1 || call.k < 8 || call.k % 8 != 0) return false;
  if (call.activation == Activation::kSwiGlu && (call.n % 16 != 0 || call.residual != nullptr)) {
    return false;
  }
  if (call.n % 2 != 0 && (!call.out_is_float || call.residual != nullptr)) return false;
  if (call.next_gain == nullptr && call.squares == nullptr) return true;
  return call.m <= skinny::kMostCarried && norms_fit(call);
}

int skinny_linear_square_parts(const LinearCall& call) {
  return divide_up(call.n, skinny::kPartColumns);
}

void skinny_linear(const Launch& on, const LinearCall& call, void* workspace) {
  if (call.dtype == DType::kBF16) {
    skinny::launch_for_type<__nv_bfloat16>(on, call, workspace);
  } else {
    skinny::launch_for_type<__half>(on, call, workspace);
  }
}

size_t skinny_linear_workspace_bytes() {
  const size_t slots = 2 * static_cast<size_t>(multiprocessors());
  return skinny::kArrivalBytes + skinny::mail_bytes() + slots * skinny::kMaxPartial * sizeof(float);
}

}  // namespace octavo::cuda
