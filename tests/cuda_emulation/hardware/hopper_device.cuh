/// \file
/// What groups of the hardware probe on sm_90 have in common.
#pragma once

#include "../hopper.hpp"
#include "device.cuh"
#include "hopper_inputs.hpp"
#include "hopper_ptx.cuh"

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace hardware {

inline constexpr unsigned threads = 128;
inline constexpr std::uint32_t ran = 1, timed_out = 2;

/// Kernels write `ran` where they were compiled for what they need.
inline void check_ran(const Array<std::uint32_t>& state) {
  const std::uint32_t value = state.host()[0];
  if (value == 0) throw std::runtime_error("the kernel was not compiled for this architecture");
  if (value == timed_out) throw std::runtime_error("waiting for an mbarrier took too long");
}

/// The block's shared memory from a multiple of 1024 on: a launch asks for 1024 bytes more than it uses.
__device__ inline unsigned char* aligned_shared_memory() {
  extern __shared__ __align__(1024) unsigned char probe_shared_memory[];
  return probe_shared_memory + (1024 - __cvta_generic_to_shared(probe_shared_memory) % 1024) % 1024;
}
inline constexpr std::size_t slack = 1024;

/// Bits of a descriptor but for the address.
inline std::uint64_t fixed_bits(const Descriptor& of) {
  return cuda_emulation::matrix_descriptor(0, of.leading, of.stride, of.swizzle, of.base_offset);
}

/// Of operands whose rows have 128 bytes, swizzled.
inline constexpr Descriptor k_major{0, 16, 1024, 1, 0}, mn_major{0, 8192, 1024, 1, 0};

/// Operands and results of a product by one warpgroup. `a` and `b` are regions of shared memory,
/// [region_elements]; `a_registers` [128, 4 steps]; the descriptors are those of `fixed_bits`, step i adds i
/// steps to the starts. d [128, N / 2].
struct Product {
  const std::uint16_t *a, *b;
  const std::uint32_t* a_registers;
  std::uint64_t a_bits, b_bits;
  std::uint32_t a_start, b_start, a_step, b_step;
  int steps;
  float* d;
  std::uint32_t* state;
};

#ifdef VLP_PROBE_SM_90A
__device__ inline std::uint64_t descriptor(std::uint64_t bits, std::uint32_t address) {
  return bits | (address & 0x3ffffU) >> 4;
}
template <int Registers>
__device__ inline void show(const float (&d)[Registers], float* out) {
  for (int i = 0; i < Registers; ++i) out[Registers * threadIdx.x + i] = d[i];
}
#endif

}  // namespace hardware
