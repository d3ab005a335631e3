// wgmma: the warpgroup matrix product of Hopper, D[64, N] += A[64, 16] B[16, N], fp32 sums. Called
// by the 128 threads of a warpgroup together. Thread t holds of D, for each 8 columns j: d[4j],
// d[4j+1] at row 16 (t / 32) + (t % 32) / 4, columns 8j + 2 (t % 4) and the next; d[4j+2], d[4j+3]
// eight rows below. `accumulate` 0 overwrites D. B is [N][K] with K contiguous in shared memory (A
// too), except where the name says transposed.
//
// Each width is an instruction of its own, which names all registers of D one by one. Macros write
// these lists; at the end there is a line for each width.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace octavo::cuda::sm90 {

template <int N, typename T>
struct Wgmma;

// clang-format off
// f(1) to f(count - 1), one after the other.
#define OCTAVO_REST_4(f) f(1) f(2) f(3)
#define OCTAVO_REST_8(f) OCTAVO_REST_4(f) f(4) f(5) f(6) f(7)
#define OCTAVO_REST_16(f) OCTAVO_REST_8(f) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define OCTAVO_REST_32(f) \
  OCTAVO_REST_16(f) f(16) f(17) f(18) f(19) f(20) f(21) f(22) f(23) f(24) f(25) f(26) f(27) \
  f(28) f(29) f(30) f(31)
#define OCTAVO_REST_36(f) OCTAVO_REST_32(f) f(32) f(33) f(34) f(35)
#define OCTAVO_REST_48(f) \
  OCTAVO_REST_36(f) f(36) f(37) f(38) f(39) f(40) f(41) f(42) f(43) f(44) f(45) f(46) f(47)
#define OCTAVO_REST_56(f) OCTAVO_REST_48(f) f(48) f(49) f(50) f(51) f(52) f(53) f(54) f(55)
#define OCTAVO_REST_64(f) OCTAVO_REST_56(f) f(56) f(57) f(58) f(59) f(60) f(61) f(62) f(63)
#define OCTAVO_REST_72(f) OCTAVO_REST_64(f) f(64) f(65) f(66) f(67) f(68) f(69) f(70) f(71)
#define OCTAVO_REST_96(f) \
  OCTAVO_REST_72(f) f(72) f(73) f(74) f(75) f(76) f(77) f(78) f(79) f(80) f(81) f(82) f(83) \
  f(84) f(85) f(86) f(87) f(88) f(89) f(90) f(91) f(92) f(93) f(94) f(95)
#define OCTAVO_REST_112(f) \
  OCTAVO_REST_96(f) f(96) f(97) f(98) f(99) f(100) f(101) f(102) f(103) f(104) f(105) f(106) \
  f(107) f(108) f(109) f(110) f(111)
#define OCTAVO_REST_128(f) \
  OCTAVO_REST_112(f) f(112) f(113) f(114) f(115) f(116) f(117) f(118) f(119) f(120) f(121) \
  f(122) f(123) f(124) f(125) f(126) f(127)
#define OCTAVO_NAME(i) ", %" #i
#define OCTAVO_OPERAND(i) , "+f"(d[i])
#define OCTAVO_SUMS(count) "+f"(d[0]) OCTAVO_REST_##count(OCTAVO_OPERAND)
#define OCTAVO_PRODUCT(N, type, count, accumulate)                                                 \
  "{ .reg .pred p; setp.ne.b32 p, %" #accumulate ", 0;"                                            \
  " wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type                                 \
  " {%0" OCTAVO_REST_##count(OCTAVO_NAME) "}, "

// The operands of an instruction are numbered: D's 0 to count - 1, those behind it count, p1 to p5.
#define OCTAVO_WGMMA_OF(N, T, type, count, p1, p2, p3, p4, p5)                                     \
  static_assert(count == N / 2 && p1 == count + 1 && p2 == count + 2 && p3 == count + 3 &&         \
                p4 == count + 4 && p5 == count + 5);                                               \
  template <>                                                                                      \
  struct Wgmma<N, T> {                                                                             \
    static __device__ __forceinline__ void shared_a(float (&d)[count], uint64_t a, uint64_t b,     \
                                                    int accumulate) {                              \
      asm volatile(OCTAVO_PRODUCT(N, type, count, p2) "%" #count ", %" #p1 ", p, 1, 1, 0, 0; }"    \
                   : OCTAVO_SUMS(count) : "l"(a), "l"(b), "r"(accumulate));                        \
    }                                                                                              \
    static __device__ __forceinline__ void register_a(float (&d)[count], const uint32_t (&a)[4],   \
                                                      uint64_t b, int accumulate) {                \
      asm volatile(OCTAVO_PRODUCT(N, type, count, p5)                                              \
                   "{%" #count ", %" #p1 ", %" #p2 ", %" #p3 "}, %" #p4 ", p, 1, 1, 0; }"          \
                   : OCTAVO_SUMS(count)                                                            \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));         \
    }                                                                                              \
    /* B stored with N contiguous (a transposed V tile). */                                        \
    static __device__ __forceinline__ void register_a_b_transposed(                                \
        float (&d)[count], const uint32_t (&a)[4], uint64_t b, int accumulate) {                   \
      asm volatile(OCTAVO_PRODUCT(N, type, count, p5)                                              \
                   "{%" #count ", %" #p1 ", %" #p2 ", %" #p3 "}, %" #p4 ", p, 1, 1, 1; }"          \
                   : OCTAVO_SUMS(count)                                                            \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));         \
    }                                                                                              \
  };
#define OCTAVO_WGMMA(N, ...)                             \
  OCTAVO_WGMMA_OF(N, __nv_bfloat16, "bf16", __VA_ARGS__) \
  OCTAVO_WGMMA_OF(N, __half, "f16", __VA_ARGS__)

// N, the number of sums (N / 2), and the numbers behind that.
OCTAVO_WGMMA(8, 4, 5, 6, 7, 8, 9)
OCTAVO_WGMMA(16, 8, 9, 10, 11, 12, 13)
OCTAVO_WGMMA(32, 16, 17, 18, 19, 20, 21)
OCTAVO_WGMMA(64, 32, 33, 34, 35, 36, 37)
OCTAVO_WGMMA(72, 36, 37, 38, 39, 40, 41)
OCTAVO_WGMMA(96, 48, 49, 50, 51, 52, 53)
OCTAVO_WGMMA(112, 56, 57, 58, 59, 60, 61)
OCTAVO_WGMMA(128, 64, 65, 66, 67, 68, 69)
OCTAVO_WGMMA(144, 72, 73, 74, 75, 76, 77)
OCTAVO_WGMMA(192, 96, 97, 98, 99, 100, 101)
OCTAVO_WGMMA(224, 112, 113, 114, 115, 116, 117)
OCTAVO_WGMMA(256, 128, 129, 130, 131, 132, 133)

#undef OCTAVO_REST_4
#undef OCTAVO_REST_8
#undef OCTAVO_REST_16
#undef OCTAVO_REST_32
#undef OCTAVO_REST_36
#undef OCTAVO_REST_48
#undef OCTAVO_REST_56
#undef OCTAVO_REST_64
#undef OCTAVO_REST_72
#undef OCTAVO_REST_96
#undef OCTAVO_REST_112
#undef OCTAVO_REST_128
#undef OCTAVO_NAME
#undef OCTAVO_OPERAND
#undef OCTAVO_WGMMA_OF
#undef OCTAVO_PRODUCT
#undef OCTAVO_SUMS
#undef OCTAVO_WGMMA
// clang-format on

}  // namespace octavo::cuda::sm90
