/// \file
/// What vlp's wrappers of PTX instructions call here instead: matrix fragments and asynchronous copies. Lane
/// layouts are those of the PTX ISA, "Matrix Fragments for mma.m16n8k16" and "ldmatrix".
#pragma once

#include <cstdint>

namespace cuda_emulation {

/// mma.sync.aligned.m16n8k16.row.col.f32.T.T.f32: d += a b, of a [16, 16], b [16, 8], d [16, 8], by a whole
/// warp. Exact products, summed in double and rounded once.
void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);
void mma_m16n8k16_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);

/// ldmatrix.sync.aligned.m8n8.x4(.trans).shared.b16: lane 8i + j passes the address of row j of matrix i.
void ldmatrix_x4(std::uint32_t (&r)[4], const void* row);
void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row);

/// cp.async.cg.shared.global of 16 bytes, of which `source_bytes` are read and the rest is zero. The copy
/// happens when the thread waits for its group, under a random order perhaps at once: a missing wait, or a
/// copy begun too early, shows.
void cp_async_16(void* shared, const void* global, int source_bytes = 16);
void cp_async_commit();
void cp_async_wait(int groups_left);

}  // namespace cuda_emulation
