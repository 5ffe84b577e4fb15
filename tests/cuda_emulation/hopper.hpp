/// \file
/// What instructions of sm_90 do with memory: swizzles, operands of wgmma, tiles of TMA, phases of an
/// mbarrier. A model in plain functions, which hardware_test.cpp compares with a card. Source: PTX ISA 8.8,
/// "Asynchronous Warpgroup Level Matrix Shared Memory Layout", "Tensors", "mbarrier".
#pragma once

#include <cstdint>

namespace cuda_emulation {

/// Where the byte at address `at` of shared memory is under a swizzle of 0, 32, 64 or 128 bytes: each piece
/// of 16 bytes changes places with another of its row of so many bytes; which, the address's bits from 7 on
/// say.
constexpr std::uint32_t swizzled(std::uint32_t at, int swizzle_bytes) {
  const std::uint32_t pieces = swizzle_bytes == 0 ? 1 : static_cast<std::uint32_t>(swizzle_bytes) / 16;
  return at ^ (at >> 3 & (pieces - 1) << 4);
}

/// A matrix descriptor of wgmma.
constexpr std::uint64_t matrix_descriptor(std::uint32_t address, std::uint32_t leading, std::uint32_t stride,
                                          std::uint32_t swizzle, std::uint32_t base_offset = 0) {
  return (address & 0x3ffffU) >> 4 | static_cast<std::uint64_t>(leading >> 4 & 0x3fffU) << 16 |
         static_cast<std::uint64_t>(stride >> 4 & 0x3fffU) << 32 |
         static_cast<std::uint64_t>(base_offset & 7U) << 49 | static_cast<std::uint64_t>(swizzle & 3U) << 62;
}

}  // namespace cuda_emulation
