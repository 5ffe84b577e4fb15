/// \file
/// Sums over all blocks of a kernel without a second launch.
#pragma once

#include <cuda_runtime.h>

namespace vlp::cuda {

/// Room for last_block.
struct LastBlockRoom {
  bool is_last;
};

/// True in all threads of one block: the one that gets here last, which then sees everything that the others
/// wrote before they called this. All threads of all blocks call it once. `arrived` is 0 before, and after.
__device__ inline bool last_block(unsigned* arrived, LastBlockRoom& room) {
  __syncthreads();
  if (threadIdx.x == 0) {
    // Fences on both sides by the thread that counts: with the barriers they order what all threads of all
    // blocks wrote before what all threads of the last one read.
    __threadfence();
    room.is_last = atomicAdd(arrived, 1U) == gridDim.x - 1;
    if (room.is_last) *arrived = 0;
    __threadfence();
  }
  __syncthreads();
  return room.is_last;
}

}  // namespace vlp::cuda
