/// \file
/// The matrix units and the copies that feed them: thin names for PTX instructions of sm_80 and later.
///
/// Lanes of a warp hold 16-bit fragments as the PTX ISA lays them out. With g = lane / 4 and t = lane % 4:
///   A [16, 16]: registers (g, 2t..), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t + 8..), two columns each
///   B [16, 8], held by columns: (2t.., g), (2t + 8.., g), two rows each
///   D [16, 8] of float: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
#pragma once

#include <cuda_runtime.h>

#include <vlp/cuda/core/scalar.cuh>

#include <cstdint>
#include <type_traits>

namespace vlp::cuda {

#ifdef VLP_CUDA_EMULATION

__device__ inline void load_matrices(std::uint32_t (&out)[4], const void* row) {
  cuda_emulation::ldmatrix_x4(out, row);
}
template <class Scalar>
__device__ inline void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<Scalar, BFloat16>)
    cuda_emulation::mma_m16n8k16_bf16(d, a, b);
  else
    cuda_emulation::mma_m16n8k16_f16(d, a, b);
}
__device__ inline void copy_async(void* shared, const void* global, int bytes) {
  cuda_emulation::cp_async_16(shared, global, bytes);
}
__device__ inline void copy_async(void* shared, const void* global) {
  cuda_emulation::cp_async_16(shared, global);
}
__device__ inline void commit_copies() {
  cuda_emulation::cp_async_commit();
}
template <int Left>
__device__ inline void wait_for_copies() {
  cuda_emulation::cp_async_wait(Left);
}

#else

/// Four 8 x 8 matrices from shared memory. Lane l gives the address, a multiple of 16 bytes, of row l % 8 of
/// matrix l / 8, and gets elements 2t, 2t + 1 of row g of each.
__device__ inline void load_matrices(std::uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

/// D += A B, products of 16-bit numbers summed in float.
template <class Scalar>
__device__ inline void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  static_assert(is_16_bit<Scalar>);
  if constexpr (std::is_same_v<Scalar, BFloat16>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Starts a copy of 16 bytes, both addresses multiples of 16; of these only `bytes` are read, the rest are 0.
__device__ inline void copy_async(void* shared, const void* global, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(shared))), "l"(global), "r"(bytes)
               : "memory");
}

/// Starts a copy of all 16 bytes. A count, even a constant one, would cost instructions for each copy.
__device__ inline void copy_async(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
               :
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(shared))), "l"(global)
               : "memory");
}

/// Closes the group of copies that this thread has started since the last.
__device__ inline void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until all of this thread's groups but the last `Left` are there. Other threads see them after a
/// barrier.
template <int Left>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

#endif

}  // namespace vlp::cuda
