/// \file
/// What vlp's wrappers of wgmma call here instead: products of a warpgroup out of shared memory.
///
/// They are asynchronous as on a card. Until they have been waited for, their sums are NaN, and under a
/// random order their operands are read at any time from their start on. Faults that are reported: operands
/// outside of shared memory; operands that a cp.async has written without fence.proxy.async by its thread
/// since it waited for it (plain stores are not watched); sums without wgmma.fence; lanes that differ.
#pragma once

#include <cstdint>

namespace cuda_emulation {

/// The 32-bit address of shared memory that a descriptor is made of.
std::uint32_t shared_address(const void* pointer);

/// fence.proxy.async.shared::cta.
void fence_proxy_async();

/// wgmma.fence.sync.aligned.
void wgmma_fence();

/// wgmma.mma_async.sync.aligned.m64n128k16.f32.T.T: d += a b^T of K-major operands by descriptors; d [64] are
/// the thread's registers. Exact products, summed in double and rounded once for each instruction.
void wgmma_m64n128k16_bf16(float* d, std::uint64_t a, std::uint64_t b);
void wgmma_m64n128k16_f16(float* d, std::uint64_t a, std::uint64_t b);

/// wgmma.commit_group.sync.aligned.
void wgmma_commit();

/// wgmma.wait_group.sync.aligned 0.
void wgmma_wait();

}  // namespace cuda_emulation
