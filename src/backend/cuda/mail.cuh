// Floats on their way from one CTA to another through memory. Their place is zero while nothing is
// there, so that the data is its own flag, and one trip through L2 is all it costs: +0 is sent as
// -0, which adds nothing either. Who has received clears the place.
#pragma once

#include <cuda_runtime.h>

namespace octavo::cuda {

__device__ __forceinline__ float nonzero(float v) {
  return v == 0 ? -0.f : v;
}
__device__ __forceinline__ void send_mail(float4* to, const float4& v) {
  asm volatile("st.relaxed.gpu.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(nonzero(v.x)),
               "f"(nonzero(v.y)), "f"(nonzero(v.z)), "f"(nonzero(v.w))
               : "memory");
}
__device__ __forceinline__ void send_mail(float2* to, const float2& v) {
  asm volatile("st.relaxed.gpu.global.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(nonzero(v.x)),
               "f"(nonzero(v.y))
               : "memory");
}

// What is there now, and whether all of it has arrived.
__device__ __forceinline__ float4 peek_mail(const float4* from) {
  float4 v;
  asm volatile("ld.relaxed.gpu.global.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(from)
               : "memory");
  return v;
}
__device__ __forceinline__ float2 peek_mail(const float2* from) {
  float2 v;
  asm volatile("ld.relaxed.gpu.global.v2.f32 {%0, %1}, [%2];"
               : "=f"(v.x), "=f"(v.y)
               : "l"(from)
               : "memory");
  return v;
}
__device__ __forceinline__ bool has_arrived(const float2& v) {
  return __float_as_uint(v.x) != 0 && __float_as_uint(v.y) != 0;
}
__device__ __forceinline__ bool has_arrived(const float4& v) {
  return __float_as_uint(v.x) != 0 && __float_as_uint(v.y) != 0 && __float_as_uint(v.z) != 0 &&
         __float_as_uint(v.w) != 0;
}

}  // namespace octavo::cuda
