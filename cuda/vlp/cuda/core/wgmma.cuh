/// \file
/// The matrix units of Hopper as warpgroups use them, four warps that follow each other: thin names for PTX
/// instructions of sm_90a. Such code runs on compute capability 9.0 only.
///
/// Products are asynchronous. From multiply_group_add on, until wait_for_groups has waited for its group, its
/// operands in shared memory are read at any time and its sums must not be used in between.
#pragma once

#include <cuda_runtime.h>

#include <vlp/cuda/core/scalar.cuh>

#include <cstdint>
#include <type_traits>

namespace vlp::cuda {

/// Says whether the code that is compiled here may use them.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(VLP_CUDA_EMULATION_WGMMA)
inline constexpr bool has_group_products = true;
#else
inline constexpr bool has_group_products = false;
#endif

/// The descriptor of a matrix of 16-bit numbers in shared memory, at a multiple of 1024 bytes: rows of 64
/// numbers, 128 bytes, follow each other, and piece c of 16 bytes of row r lies at piece c ^ (r % 8) of it.
/// The matrix of 16 columns that begins n bytes further, a multiple of 32 below 128, has the descriptor
/// plus n / 16.
__device__ inline std::uint64_t group_operand(const void* matrix) {
#ifdef VLP_CUDA_EMULATION
  const std::uint32_t address = cuda_emulation::shared_address(matrix);
#else
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(matrix));
#endif
  constexpr std::uint64_t swizzle_of_128 = 1, eight_rows = 1024, unused = 16;
  return swizzle_of_128 << 62 | eight_rows / 16 << 32 | unused / 16 << 16 | (address & 0x3ffffU) / 16;
}

#ifdef VLP_CUDA_EMULATION

__device__ inline void publish_shared_memory() {
  cuda_emulation::fence_proxy_async();
}
__device__ inline void begin_group() {
  cuda_emulation::wgmma_fence();
}
template <class Scalar>
__device__ inline void multiply_group_add(float (&d)[16][4], std::uint64_t a, std::uint64_t b) {
  if constexpr (std::is_same_v<Scalar, BFloat16>)
    cuda_emulation::wgmma_m64n128k16_bf16(&d[0][0], a, b);
  else
    cuda_emulation::wgmma_m64n128k16_f16(&d[0][0], a, b);
}
__device__ inline void end_group() {
  cuda_emulation::wgmma_commit();
}
__device__ inline void wait_for_groups(float (&)[16][4]) {
  cuda_emulation::wgmma_wait();
}

#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Lets products that are started behind a barrier read what this thread has written to shared memory, by
/// copies too that it has waited for.
__device__ inline void publish_shared_memory() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// Lets the products that follow add to sums which this thread has written.
__device__ inline void begin_group() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

#define VLP_CUDA_SUMS(i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define VLP_CUDA_ALL_SUMS                                                                            \
  VLP_CUDA_SUMS(0), VLP_CUDA_SUMS(1), VLP_CUDA_SUMS(2), VLP_CUDA_SUMS(3), VLP_CUDA_SUMS(4),          \
      VLP_CUDA_SUMS(5), VLP_CUDA_SUMS(6), VLP_CUDA_SUMS(7), VLP_CUDA_SUMS(8), VLP_CUDA_SUMS(9),      \
      VLP_CUDA_SUMS(10), VLP_CUDA_SUMS(11), VLP_CUDA_SUMS(12), VLP_CUDA_SUMS(13), VLP_CUDA_SUMS(14), \
      VLP_CUDA_SUMS(15)
#define VLP_CUDA_MULTIPLY_GROUP(type)                                                                    \
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                              \
               " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
               "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "   \
               "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, "   \
               "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, %64, %65, 1, 1, 1, 0, 0;"        \
               : VLP_CUDA_ALL_SUMS                                                                       \
               : "l"(a), "l"(b)                                                                          \
               : "memory")

/// D += A B^T by a warpgroup, of 16-bit numbers in shared memory, summed in float: A [64, 16] and B [128, 16]
/// by their descriptors, D [64, 128]. Warp w of the four has rows [16 w, 16 w + 16) of D, in the layout of
/// mma.cuh: d[n] is D of columns [8 n, 8 n + 8).
template <class Scalar>
__device__ inline void multiply_group_add(float (&d)[16][4], std::uint64_t a, std::uint64_t b) {
  static_assert(is_16_bit<Scalar>);
  if constexpr (std::is_same_v<Scalar, BFloat16>)
    VLP_CUDA_MULTIPLY_GROUP("bf16");
  else
    VLP_CUDA_MULTIPLY_GROUP("f16");
}

/// Closes the group of products that the warpgroup has started since the last.
__device__ inline void end_group() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/// Waits until all groups are done, which added to `d`.
__device__ inline void wait_for_groups(float (&d)[16][4]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  asm volatile("" : VLP_CUDA_ALL_SUMS::"memory");  // what reads the sums comes after this
}

#undef VLP_CUDA_MULTIPLY_GROUP
#undef VLP_CUDA_ALL_SUMS
#undef VLP_CUDA_SUMS

#else

// Other devices have none of this; their code names it in templates that they do not instantiate.
__device__ void publish_shared_memory();
__device__ void begin_group();
template <class Scalar>
__device__ void multiply_group_add(float (&d)[16][4], std::uint64_t a, std::uint64_t b);
__device__ void end_group();
__device__ void wait_for_groups(float (&d)[16][4]);

#endif

}  // namespace vlp::cuda
